"""Each patient has the fault in its name, and the check-up finds it."""

import pytest
import torch
from conftest import close, same, untouched_rng

from minivae import CVAE, VAE, TrainConfig, clinic, evaluate, fit
from minivae.clinic import PATIENTS, check_up
from minivae.objective import reparameterize

SIZES = {"n_latent": 2, "hidden": (16,)}
KL = "the KL is that of torch.distributions"
LOSS = "the loss is reconstruction plus beta KL"
DRAWN = "the reconstruction is that of a code drawn from q"
GRADIENT = "pixels send a gradient to the encoder"
PICTURE = "a picture is the mean of p(x|z)"
ZERO = "the zero network pays 784 ln 2"
FAULTS = {
    "MeanOverPixels": {LOSS, ZERO},
    "MissingHalf": {KL},
    "WrongSign": {LOSS},
    "LogSigmaForLogVariance": {DRAWN},
    "NoSampling": {DRAWN},
    "SharedNoise": {DRAWN},
    "DetachedNoise": {GRADIENT},
    "SigmoidTwice": {DRAWN, PICTURE, ZERO},
    "SigmoidForgotten": {PICTURE},
    "KLOverBatch": {LOSS},
}
every = pytest.mark.parametrize("kind", PATIENTS, ids=lambda k: k.__name__)
CONFIG = TrainConfig(epochs=1, batch_size=32, warmup=5, device="cpu")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def x(small):
    return small.binarized().x(torch.arange(40))


def failed(model, x, seed=0):
    found = check_up(model, x, generator(seed))
    assert list(found) == [KL, LOSS, DRAWN, GRADIENT, PICTURE, ZERO]
    return {name for name, passed in found.items() if not passed}


def test_every_patient_is_in_the_table():
    assert {p.__name__ for p in PATIENTS} == FAULTS.keys()
    assert len(PATIENTS) == len(set(PATIENTS)) == 10


@pytest.mark.parametrize("options", [{}, {"beta": 4.0}, {"n_latent": 1}])
def test_a_healthy_model_passes(options, x, small):
    for seed in range(3):
        model = VAE(**SIZES | options, seed=seed)
        assert failed(model, x, seed) == set()
        assert failed(VAE(**options, seed=seed), x[:2]) == set()
    fit(model, small, CONFIG, progress=False)
    assert failed(model, x) == set()


@every
@pytest.mark.parametrize(
    "sizes", [SIZES, {"n_latent": 2}, {}], ids=["small", "map", "default"]
)
def test_a_patient_fails_where_its_fault_is_and_nowhere_else(kind, sizes, x):
    for seed in range(2):
        model = kind(**sizes, seed=seed)
        assert failed(model, x, seed) == FAULTS[kind.__name__]


@every
def test_a_trained_patient_is_found_too_and_runs_without_an_error(
    kind, small, x
):
    model = kind(**SIZES)
    history = fit(model, small, CONFIG, progress=False)
    assert torch.tensor(history.loss).isfinite().all()
    assert failed(model, x) == FAULTS[kind.__name__]
    assert evaluate(model, small).keys() == {"reconstruction", "kl", "elbo"}
    assert model.decode_mean(torch.zeros(2, 2)).shape == (2, 1, 28, 28)


@every
def test_one_method_is_wrong_and_the_rest_is_that_of_a_vae(kind):
    assert kind.__mro__[1] is VAE
    own = {name for name in vars(kind) if not name.startswith("__")}
    assert len(own) == 1
    assert own <= {"forward", "decode", "decode_mean"}


@every
def test_a_check_up_is_for_rows_of_any_shape(kind):
    draw = torch.rand(20, 12, generator=generator())
    for shape in ((12,), (1, 3, 4), (3, 2, 2)):
        x = draw.round().view(20, *shape)
        assert failed(kind(**SIZES, shape=shape), x) == FAULTS[kind.__name__]
        assert failed(VAE(**SIZES, shape=shape), x) == set()


@every
def test_a_check_up_changes_nothing(kind, x):
    model = kind(**SIZES)
    kept = {k: v.clone() for k, v in model.state_dict().items()}
    with untouched_rng():
        failed(model, x)
    assert same(kept, model.state_dict())
    assert all(w.grad is None for w in model.parameters())
    assert model.dtype == torch.float32


# --- the faults one by one


def terms(kind, x, **options):
    """Terms of the patient and of a healthy model of the same weights."""
    patient, healthy = kind(**SIZES, **options), VAE(**SIZES, **options)
    return (m(x, noise=generator()) for m in (patient, healthy))


@pytest.mark.parametrize(
    "name, loss",
    [
        ("MeanOverPixels", lambda r, kl, n: r / 784 + kl),
        ("MissingHalf", lambda r, kl, n: r + 2 * kl),
        ("WrongSign", lambda r, kl, n: r - kl),
        ("KLOverBatch", lambda r, kl, n: r + kl / n),
        ("DetachedNoise", lambda r, kl, n: r + kl),
        ("SigmoidForgotten", lambda r, kl, n: r + kl),
    ],
)
def test_the_loss_is_wrong_as_the_name_says(name, loss, x):
    sick, healthy = terms(getattr(clinic, name), x)
    close(sick["reconstruction"], healthy["reconstruction"])
    expected = loss(healthy["reconstruction"], healthy["kl"], 40)
    close(sick["loss"], expected, 1e-6)
    factor = 2 if name == "MissingHalf" else 1
    close(sick["kl"], factor * healthy["kl"], 1e-6)


@pytest.mark.parametrize(
    "name", ["LogSigmaForLogVariance", "NoSampling", "SharedNoise"]
)
def test_the_code_is_drawn_wrongly_as_the_name_says(name, x):
    model = getattr(clinic, name)(**SIZES)
    mu, logvar = model.encode(x)
    if name == "LogSigmaForLogVariance":
        noise = torch.randn(40, 2, generator=generator())
        z = mu + logvar.exp() * noise
    elif name == "NoSampling":
        z = mu
    else:
        noise = torch.randn(40, 1, generator=generator())
        z = mu + (logvar / 2).exp() * noise
    found = model(x, noise=generator())
    close(found["reconstruction"], -model.log_likelihood(x, z))
    sound = reparameterize(mu, logvar, generator())
    honest = -model.log_likelihood(x, sound)
    assert (found["reconstruction"] - honest).abs().max() > 1e-2
    close(found["loss"], found["reconstruction"] + found["kl"])


def test_sigmoids_are_one_too_many_or_one_too_few():
    z, healthy = 3 * torch.randn(20, 2, generator=generator()), VAE(**SIZES)
    twice = clinic.SigmoidTwice(**SIZES)
    logits = healthy.decode(z)
    close(twice.decode(z), logits.sigmoid())
    assert twice.decode_mean(z).min() >= 0.5
    forgotten = clinic.SigmoidForgotten(**SIZES)
    close(forgotten.decode(z), logits)
    assert torch.equal(forgotten.decode_mean(z), logits.clamp(0, 1))


@pytest.mark.parametrize("where", ["Encoder", "Decoder"])
def test_a_label_reaches_one_side_only(where, x):
    patient = getattr(clinic, f"LabelTo{where}Only")(**SIZES)
    healthy = CVAE(**SIZES)
    assert same(patient.state_dict(), healthy.state_dict())
    y, z = torch.arange(10), torch.zeros(10, 2)
    row = x[:1].expand(10, 1, 28, 28)
    codes, pictures = patient.encode(row, y)[0], patient.decode(z, y)
    told, deaf = codes, pictures
    mine, other = healthy.encode(row, y)[0], healthy.decode(z, y)
    if where == "Decoder":
        told, deaf, mine, other = pictures, codes, other, mine
    torch.testing.assert_close(told, mine)
    torch.testing.assert_close(deaf, other[:1].expand_as(deaf))
    assert len(told.unique(dim=0)) == 10
    found = patient(row, y, generator())
    close(found["loss"], found["reconstruction"] + found["kl"])
