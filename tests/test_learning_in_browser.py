"""What learns on the page, held against PyTorch in Chromium.

The same weights, batches and noise go to `learning.js` and to the models of
the package with `torch.optim.Adam`.
"""

import sys
from base64 import b64decode, b64encode
from itertools import chain

import numpy as np
import pytest
import torch
from conftest import ROOT
from sklearn.datasets import load_digits as load_small
from sklearn.neighbors import KNeighborsClassifier
from torch.nn.utils import parameters_to_vector

from minivae import CVAE, VAE, Autoencoder
from minivae.engine.run import BETAS
from minivae.objective import gaussian_kl
from minivae.train import TrainConfig

sys.path.insert(0, str(ROOT / "minivae" / "explorer"))
from scripts import joined

ENGINE = ROOT / "minivae" / "explorer" / "learning.js"
HIDDEN, N_LATENT, N_ROWS, N_STEPS = (100,), 2, 64, 200
LR = 0.005
KINDS = {"autoencoder": Autoencoder, "vae": VAE, "cvae": CVAE}
kinds = pytest.mark.parametrize("kind", KINDS)

# numbers travel as bytes: as text they would be ten times as many
BYTES = """
window.floats = text => new Float32Array(
  Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer)
window.text = array => {
  const bytes = new Uint8Array(array.buffer, array.byteOffset,
    array.byteLength)
  let all = ""
  for (const byte of bytes) all += String.fromCharCode(byte)
  return btoa(all)
}
window.made = (kind, hidden) => plan(kind, { nValues: 64, hidden, nLatent: 2 })
"""


def packed(values):
    return b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()


def unpacked(text):
    return np.frombuffer(b64decode(text), "<f4")


@pytest.fixture(scope="module")
def engine(browser):
    """A page that holds the engine and nothing else."""
    page = browser.new_page()
    page.add_script_tag(content=joined(ENGINE))
    page.add_script_tag(content=BYTES)
    yield page
    page.close()


@pytest.fixture(scope="module")
def rows():
    """All digits as grey pixels (1797, 64), and their labels."""
    small = load_small()
    x = torch.from_numpy(small.images).float().flatten(1) / 16
    return x, torch.from_numpy(small.target)


@pytest.fixture(scope="module")
def lesson(rows):
    """Batches for some steps: grey and drawn pixels, labels, noise."""
    x, y = rows
    random = torch.Generator().manual_seed(5)
    size = (N_STEPS, N_ROWS)
    order = torch.randint(len(x), size, generator=random)
    return {
        "grey": x[order],
        "drawn": torch.bernoulli(x[order], generator=random),
        "labels": y[order],
        "noise": torch.randn(*size, N_LATENT, generator=random),
    }


def made(kind, hidden=HIDDEN, beta=1.0, seed=3):
    options = {} if kind == "autoencoder" else {"beta": beta}
    model = KINDS[kind](N_LATENT, hidden, shape=(64,), seed=seed, **options)
    with torch.no_grad():  # biases that matter
        for name, weights in model.named_parameters():
            if name.endswith("bias"):
                weights.copy_(torch.linspace(-0.2, 0.2, len(weights)))
    return model


def flat(model):
    return parameters_to_vector(model.parameters()).detach().numpy()


TRAIN = """([kind, hidden, weights, x, labels, noise, nRows, beta, lr]) => {
  const model = made(kind, hidden)
  const [w, gradient] = [floats(weights), new Float32Array(model.size)]
  if (w.length !== model.size) throw new Error(`${model.size} weights`)
  const [xs, eps] = [floats(x), floats(noise)]
  const adam = new Adam(model.size)
  const terms = []
  for (let step = 0; step < labels.length; step++) {
    const batch = {
      x: xs.subarray(step * nRows * 64, (step + 1) * nRows * 64),
      labels: labels[step],
      n: nRows,
    }
    const e = eps.subarray(step * nRows * 2, (step + 1) * nRows * 2)
    terms.push(lossAndGradient(model, w, batch, e, beta, gradient))
    adam.step(w, gradient, lr * warmup(step))
  }
  return { terms, weights: text(w), gradient: text(gradient) }
}"""


def learn(engine, model, kind, lesson, steps=N_STEPS, beta=1.0, told=True):
    """What the page makes of the first steps of a lesson."""
    pixels = "grey" if kind == "autoencoder" else "drawn"
    return engine.evaluate(
        TRAIN,
        [
            kind,
            list(model.options["hidden"]),
            packed(flat(model)),
            packed(lesson[pixels][:steps]),
            lesson["labels"][:steps].tolist() if told else [None] * steps,
            packed(lesson["noise"][:steps]),
            N_ROWS,
            beta,
            LR,
        ],
    )


def terms_of(model, kind, lesson, step):
    pixels = "grey" if kind == "autoencoder" else "drawn"
    labels = lesson["labels"][step] if kind == "cvae" else None
    terms = model(lesson[pixels][step], labels, lesson["noise"][step])
    return {name: nats.mean() for name, nats in terms.items()}


# --- against PyTorch --------------------------------------------------------


@kinds
@pytest.mark.parametrize(
    ("hidden", "beta"), [(HIDDEN, 1.0), ((64, 32), 4.0)], ids=str
)
def test_two_hundred_steps_are_those_of_pytorch(
    engine, lesson, kind, hidden, beta
):
    model = made(kind, hidden, beta)
    before = flat(model).copy()
    ours = learn(engine, model, kind, lesson, beta=beta)
    optimizer = torch.optim.Adam(model.parameters(), LR, BETAS)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda k: min(1.0, (k + 1) / TrainConfig().warmup)
    )
    for step in range(N_STEPS):
        terms = terms_of(model, kind, lesson, step)
        for name, value in terms.items():
            assert ours["terms"][step][name] == pytest.approx(
                value.item(), rel=1e-4, abs=1e-5
            ), (step, name)
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        schedule.step()
    learnt, wanted = unpacked(ours["weights"]), flat(model)
    assert np.abs(wanted - before).max() > 0.1  # there was much to learn
    assert np.abs(learnt - wanted).max() < 1e-3


@kinds
@pytest.mark.parametrize("beta", [0.0, 1.0, 20.0])
def test_gradients_are_those_of_pytorch(engine, lesson, kind, beta):
    model = made(kind, beta=beta)
    ours = learn(engine, model, kind, lesson, steps=1, beta=beta)
    terms_of(model, kind, lesson, 0)["loss"].backward()
    wanted = parameters_to_vector([p.grad for p in model.parameters()])
    gradient = unpacked(ours["gradient"])
    assert np.abs(gradient - wanted.numpy()).max() < (
        1e-6 * (1 + wanted.abs().max().item())
    )


def test_a_label_that_is_withheld_is_told_as_zeros(engine, lesson):
    """So the CVAE is a VAE that has no weights for the label."""
    told, plain = made("cvae"), made("vae")
    with torch.no_grad():
        for mine, its in zip(plain.parameters(), told.parameters()):
            mine.copy_(its[tuple(map(slice, mine.shape))])
    ours = learn(engine, told, "cvae", lesson, steps=1, told=False)
    for name, value in terms_of(plain, "vae", lesson, 0).items():
        assert ours["terms"][0][name] == pytest.approx(value.item(), rel=1e-5)
    with_label = learn(engine, told, "cvae", lesson, steps=1)
    assert with_label["terms"][0]["loss"] != pytest.approx(
        ours["terms"][0]["loss"], rel=1e-3
    )


# --- against what the formulas say ------------------------------------------

# central differences, in the places where they are largest and in others
SLOPES = """([kind, weights, x, labels, noise, beta]) => {
  const model = made(kind, [7, 5])
  const [w, gradient] = [floats(weights), new Float32Array(model.size)]
  const batch = { x: floats(x), labels, n: labels.length }
  const e = floats(noise)
  const other = new Float32Array(model.size)
  lossAndGradient(model, w, batch, e, beta, gradient)
  const places = Array.from(w.keys())
    .sort((i, j) => Math.abs(gradient[j]) - Math.abs(gradient[i]))
    .filter((_, rank) => rank < 60 || rank % 23 === 0)
  return places.map(i => {
    const start = w[i]
    const at = value => {
      w[i] = value
      return [lossAndGradient(model, w, batch, e, beta, other).loss, w[i]]
    }
    const [[up, right], [down, left]] = [at(start + 2e-3), at(start - 2e-3)]
    w[i] = start
    return [gradient[i], (up - down) / (right - left)]
  })
}"""


@kinds
@pytest.mark.parametrize("beta", [0.0, 1.0, 20.0])
def test_gradients_are_the_slopes_of_the_loss(engine, lesson, kind, beta):
    model = made(kind, (7, 5))
    pairs = engine.evaluate(
        SLOPES,
        [
            kind,
            packed(flat(model)),
            packed(lesson["grey"][0, :9]),
            lesson["labels"][0, :9].tolist(),
            packed(lesson["noise"][0, :9]),
            beta,
        ],
    )
    gradient, slope = np.array(pairs).T
    assert len(pairs) > 80
    assert np.abs(slope).max() > 0.5
    # a ReLU has a kink, and float32 has 24 bits
    off = np.abs(gradient - slope) > 0.01 + 0.01 * np.abs(slope)
    assert off.mean() < 0.03


@pytest.mark.parametrize("kind", ["vae", "cvae"])
def test_the_kl_is_the_closed_form_and_zero_at_the_prior(engine, lesson, kind):
    model = made(kind)
    ours = learn(engine, model, kind, lesson, steps=1, beta=7.0)
    labels = lesson["labels"][0] if kind == "cvae" else None
    mu, logvar = model.encode(lesson["drawn"][0], labels)
    kl = gaussian_kl(mu, logvar).mean().item()
    (terms,) = ours["terms"]
    assert terms["kl"] == pytest.approx(kl, rel=1e-5)
    loss = terms["reconstruction"] + 7 * terms["kl"]
    assert terms["loss"] == pytest.approx(loss)
    with torch.no_grad():  # mu = 0 and logvar = 0, whatever x is
        model.encoder[-1].weight.zero_()
        model.encoder[-1].bias.zero_()
    ours = learn(engine, model, kind, lesson, steps=1, beta=7.0)
    assert ours["terms"][0]["kl"] == 0


def test_without_noise_the_code_is_the_mean(engine, lesson):
    model = made("vae")
    still = lesson | {"noise": torch.zeros_like(lesson["noise"])}
    ours = learn(engine, model, "vae", still, steps=1)
    x = lesson["drawn"][0]
    mu, _ = model.encode(x)
    nats = -model.log_likelihood(x, mu).mean().item()
    assert ours["terms"][0]["reconstruction"] == pytest.approx(nats, rel=1e-5)


@kinds
def test_pictures_are_those_that_pytorch_decodes(engine, kind):
    model = made(kind)
    z = torch.randn(6, 2, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 9, 3, 3, 1, 7])
    drawn = engine.evaluate(
        """([kind, weights, z, labels]) => text(decode(made(kind, [100]),
          floats(weights), floats(z), labels, labels.length))""",
        [kind, packed(flat(model)), packed(z), labels.tolist()],
    )
    with torch.no_grad():
        wanted = model.decode_mean(z, labels if kind == "cvae" else None)
    error = np.abs(unpacked(drawn) - wanted.clamp(0, 1).numpy().ravel())
    assert error.max() < 1e-6


# --- chance, and what is measured -------------------------------------------


def test_a_seed_repeats_and_another_differs(engine):
    draw = """seed => {
      const { uniform, normal } = generator(seed)
      return [Array.from({ length: 9 }, uniform),
              Array.from({ length: 20000 }, normal)]
    }"""
    one, again, other = (engine.evaluate(draw, s) for s in (1, 1, 2))
    assert one == again
    assert one[0] != other[0]
    z = np.array(one[1])
    assert abs(z.mean()) < 4 / 20000**0.5
    assert abs(z.var() - 1) < 4 * (2 / 20000) ** 0.5
    assert abs((np.abs(z) < 1.96).mean() - 0.95) < 0.01


def test_an_epoch_takes_each_row_once(engine):
    taken = engine.evaluate(
        """() => {
          const source = batches([...Array(20).keys()], 5, generator(4))
          return Array.from({ length: 8 }, () => source.next().value)
        }"""
    )
    first, second = ([*chain(*taken[i : i + 4])] for i in (0, 4))
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second
    assert first != sorted(first)


@kinds
def test_models_start_as_those_of_the_package(engine, kind):
    """Layer by layer the same spread, and no bias."""
    weights = unpacked(
        engine.evaluate(
            """([kind]) => text(startWeights(made(kind, [100]),
              generator(8)))""",
            [kind],
        )
    )
    at = 0
    for wanted in KINDS[kind](2, (100,), shape=(64,)).parameters():
        values = weights[at : at + wanted.numel()]
        at += wanted.numel()
        if wanted.ndim == 1:
            assert (values == 0).all()
            continue
        most = wanted.abs().max().item()
        assert np.abs(values).max() == pytest.approx(most, rel=0.05)
        assert values.std() == pytest.approx(wanted.std().item(), rel=0.2)
    assert at == len(weights)


LESSON = """([images, labels, seed, steps, change]) => {
  const digits = { images: floats(images), labels: Uint8Array.from(labels) }
  const lesson = new Lesson(digits,
    { hidden: [100], nLatent: 2, batchSize: 64, seed })
  const settings = { beta: 1, lr: 0.005, noisy: true, told: true, ...change }
  let terms
  for (let i = 0; i < steps; i++) terms = lesson.step(settings)
  return {
    terms,
    codes: KINDS.map((kind, i) => {
      const n = labels.length
      const { nCode } = lesson.models[i].model
      const out = lesson.encode(i, 0, n, settings.told)
      const codes = new Float32Array(2 * n)
      for (let j = 0; j < 2 * n; j++)
        codes[j] = out[(j >> 1) * nCode + (j & 1)]
      return text(codes)
    }),
  }
}"""


def taught(engine, rows, seed=0, steps=200, **change):
    x, y = rows
    return engine.evaluate(
        LESSON, [packed(x), y.tolist(), seed, steps, change]
    )


def test_a_lesson_is_repeated_by_its_seed(engine, rows):
    one, again = (taught(engine, rows, seed=3, steps=20) for _ in range(2))
    assert one == again
    other = taught(engine, rows, seed=4, steps=20)
    assert other["terms"] != one["terms"]
    # switched off, the noise is still drawn: the batches stay the same
    silent = taught(engine, rows, seed=3, steps=1, noisy=False)
    first = taught(engine, rows, seed=3, steps=1)
    assert silent["terms"][0] == first["terms"][0]
    assert silent["terms"][1] != first["terms"][1]


def test_in_a_lesson_digits_of_a_kind_come_together(engine, rows):
    """And the share that the page states is the one scikit-learn finds."""
    before, after = (taught(engine, rows, steps=n) for n in (0, 400))
    _, y = rows
    held = np.arange(len(y)) % 5 == 4
    shares = []
    for state in (before, after):
        z = unpacked(state["codes"][1]).reshape(-1, 2)
        judge = KNeighborsClassifier(15).fit(z[~held], y[~held])
        shares.append(judge.score(z[held], y[held]))
        stated = engine.evaluate(
            "([codes, labels]) => accuracy(floats(codes), labels)",
            [packed(z), y.tolist()],
        )
        assert stated == pytest.approx(shares[-1], abs=0.5 / held.sum())
    assert shares[1] > max(0.6, shares[0] + 0.2)


def test_a_large_beta_empties_the_code(engine, rows):
    full = taught(engine, rows, steps=300)
    empty = taught(engine, rows, steps=300, beta=20.0)
    for i in (1, 2):
        assert full["terms"][i]["kl"] > 0.5
        assert empty["terms"][i]["kl"] < 0.1
    # an autoencoder has no KL that beta could weigh
    assert empty["terms"][0] == full["terms"][0]
