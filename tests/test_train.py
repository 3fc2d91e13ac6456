"""A run is a function of its options, however often it is stopped."""

import inspect
import math
import subprocess
import sys
import time
from dataclasses import replace
from types import MethodType, SimpleNamespace

import pytest
import torch
from conftest import ROOT, close, digest, refused, same, untouched_rng

from minivae import (
    CVAE,
    VAE,
    Autoencoder,
    CheckpointError,
    TrainConfig,
    batches,
    checkpoint,
    engine,
    fit,
    fit_once,
    load_model,
    train,
)
from minivae.data import Table

pytestmark = pytest.mark.usefixtures("ends")
KINDS = {"ae": Autoencoder, "vae": VAE, "cvae": CVAE}
every = pytest.mark.parametrize("kind", KINDS)
CONFIG = TrainConfig(epochs=4, batch_size=64, lr=0.002, warmup=5, device="cpu")


def build(kind="vae", **options):
    return KINDS[kind](**{"n_latent": 2, "hidden": (16,)} | options)


def go(model, digits, path=None, **options):
    return fit(model, digits, replace(CONFIG, **options), path, False)


def spoil(model):
    """A model whose weights a resume has to replace."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_()
    return model


@every
def test_resume_is_bit_identical(kind, small, tmp_path):
    whole, halves = build(kind), build(kind)
    history = go(whole, small, tmp_path / "whole.pt")
    go(halves, small, tmp_path / "halves.pt", epochs=2)
    half = checkpoint.load(tmp_path / "halves.pt")
    assert (half["epoch"], half["step"]) == (2, 8)
    again = spoil(build(kind))
    resumed = go(again, small, tmp_path / "halves.pt")
    states = [
        checkpoint.load(tmp_path / f"{n}.pt") for n in ("whole", "halves")
    ]
    assert same(*states)
    assert (states[0]["epoch"], states[0]["step"]) == (4, 16)
    assert same(whole.state_dict(), again.state_dict())
    assert same(vars(history), vars(resumed))
    assert len(resumed.loss) == len(resumed.digits_per_second) == 4
    # the comparison sees moments of Adam, moving and averaged weights
    parts = (half["moving"], half["weights"], half["optimizer"]["mean"])
    assert all(len(part) == len(whole.state_dict()) for part in parts)


def test_a_killed_run_resumes_bit_for_bit(digits, tmp_path):
    path, whole = tmp_path / "killed.pt", tmp_path / "whole.pt"
    words = "-m minivae train --model cvae --data builtin --epochs 100000 "
    words += "--hidden 16 --n-latent 2 --batch-size 64 --lr 0.002 --warmup 5 "
    words += "--device cpu"
    process = subprocess.Popen(
        [sys.executable, *words.split(), "--checkpoint", str(path)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(6000):
            # a file that exists is a whole one, also while it is replaced
            if path.exists() and checkpoint.load(path)["epoch"]:
                break
            assert process.poll() is None, "it ended by itself"
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    assert process.returncode in (-9, 1)  # 1 where there are no signals
    done = checkpoint.load(path)["epoch"]
    assert 1 <= done < 100000
    go(build("cvae"), digits, path, epochs=done + 2)
    go(build("cvae"), digits, whole, epochs=done + 2)
    assert same(checkpoint.load(path), checkpoint.load(whole))
    assert sorted(f.name for f in tmp_path.iterdir()) == [
        path.name,
        whole.name,
    ]


@every
def test_the_loss_falls(kind, small):
    history = go(build(kind), small, epochs=8, lr=5e-3)
    assert history.loss[-1] < 0.8 * history.loss[0]
    assert (len(history.kl) == 0) == (kind == "ae")
    assert min(history.digits_per_second) > 0


def spy_on_steps(monkeypatch):
    """Record the weights and the step size after each step."""
    seen, update = [], train.Run.update

    def spy(run):
        update(run)
        size = run.optimizer.lr
        weights = [w.detach().double().clone() for w in run.weights]
        seen.append((size, weights))

    monkeypatch.setattr(train.Run, "update", spy)
    return seen


def polynomial_decay(steps):
    """Shamir & Zhang 2013, eta = 8: step t weighs t (t + 1) ... (t + 7)."""
    shares = [float(math.perm(t + 7, 8)) for t in range(1, len(steps) + 1)]
    return sum(s * w for s, w in zip(shares, steps)) / sum(shares)


# of 67 batches, so that the longer two end between two steps that count
@pytest.mark.parametrize("epochs", [1, 8, 9])
def test_fit_leaves_the_polynomial_decay_average(
    epochs, monkeypatch, small, tmp_path
):
    seen, model = spy_on_steps(monkeypatch), build()
    path = tmp_path / "run.pt"
    go(model, small, path, epochs=epochs, batch_size=3)
    moving = checkpoint.load(path)["moving"]
    for i, (name, weight) in enumerate(model.named_parameters()):
        steps = [weights[i] for _, weights in seen]
        mean = polynomial_decay(steps[:500])
        assert len(steps) == 67 * epochs
        if epochs > 1:  # it stands for the first hundred fifths
            mean = polynomial_decay([mean] * 100 + steps[504::5])
        torch.testing.assert_close(weight.double(), mean, rtol=1e-5, atol=1e-7)
        assert torch.equal(moving[name].double(), steps[-1])
        assert not torch.allclose(weight.double(), steps[-1], rtol=1e-5)


@pytest.mark.parametrize("beta", [1.0, 3.0])
def test_the_kl_reaches_its_weight_step_by_step(monkeypatch, small, beta):
    whole, trained = [], []
    weighted = train.Run.weighted

    def spy(run, terms):
        whole.append({k: v.detach() for k, v in terms.items()})
        trained.append(weighted(run, terms))
        return trained[-1]

    monkeypatch.setattr(train.Run, "weighted", spy)
    history = go(build(beta=beta), small, epochs=2, kl_warmup=5)
    shares = [0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0, 1.0]  # Bowman et al. 2016
    assert len(trained) == 8
    for share, loss, parts in zip(shares, trained, whole):
        expected = parts["reconstruction"] + share * beta * parts["kl"]
        close(loss.detach(), expected, 1e-6)
        assert loss.grad_fn is not None
    # what is written down is the whole loss, and comparable
    close(
        history.loss,
        torch.tensor(history.reconstruction) + beta * torch.tensor(history.kl),
    )
    close(history.loss[0], torch.cat([p["loss"] for p in whole[:4]]).mean())


def test_warming_the_kl_up_changes_the_run_and_resumes(small, tmp_path):
    plain, warmed, halves = build(), build(), build()
    go(plain, small)
    go(warmed, small, kl_warmup=6)
    assert not same(plain.state_dict(), warmed.state_dict())
    go(halves, small, tmp_path / "a.pt", epochs=1, kl_warmup=6)
    again = spoil(build())
    go(again, small, tmp_path / "a.pt", kl_warmup=6)
    assert same(warmed.state_dict(), again.state_dict())
    # an autoencoder has no KL to warm up
    first, second = build("ae"), build("ae")
    go(first, small, epochs=1), go(second, small, epochs=1, kl_warmup=6)
    assert same(first.state_dict(), second.state_dict())


def test_the_step_size_warms_up(monkeypatch, small):
    seen = spy_on_steps(monkeypatch)
    go(build(), small, epochs=2, lr=0.01)
    close(
        [size for size, _ in seen], [0.002, 0.004, 0.006, 0.008] + [0.01] * 4
    )


@every
def test_history_is_the_mean_over_the_digits(kind, small):
    # with so small a step the weights stay as they are
    model, kept = build(kind), build(kind)
    history = go(model, small, epochs=2, lr=1e-30)
    for name, weight in kept.state_dict().items():
        assert (model.state_dict()[name] - weight).abs().max() < 1e-20, name
    for epoch in range(2):
        parts = batches(small, 64, 0, epoch, binarize=kind != "ae")
        terms = [kept.terms(*part) for part in parts]
        assert len(terms[-1]["loss"]) == 8  # a short last batch
        name = "loss" if kind == "ae" else "kl"  # neither has noise
        values = torch.cat([t[name] for t in terms]).detach().double()
        wrong = sum(t[name].mean().item() for t in terms) / len(terms)
        close(getattr(history, name)[epoch], values.mean(), 1e-6)
        assert abs(wrong / values.mean() - 1) > 1e-5
    if kind == "ae":
        assert history.reconstruction == history.loss
    else:
        sums = torch.tensor(history.reconstruction) + torch.tensor(history.kl)
        close(history.loss, sums)


def test_order_and_noise_are_functions_of_the_seed(small, tmp_path):
    def record(path=None, model=None, **options):
        model, seen = model or build(), []
        terms = model.terms

        def spy(self, x, y=None, generator=None):
            seen.append((generator.initial_seed(), y.tolist(), x.sum().item()))
            return terms(x, y, generator)

        model.terms = MethodType(spy, model)
        with untouched_rng():
            go(model, small, path, **options)
        return seen

    first = record()
    torch.manual_seed(7)
    assert record() == first
    noise = {seed for seed, _, _ in first}
    assert len(noise) == len(first) == 16  # new noise in each step
    epochs = [[y for _, y, _ in first[i : i + 4]] for i in range(0, 16, 4)]
    assert all(a != b for a in epochs for b in epochs if a is not b)
    other = record(seed=1)
    assert noise.isdisjoint(seed for seed, _, _ in other)
    assert [y for _, y, _ in other] != [y for _, y, _ in first]
    halves = record(tmp_path / "a.pt", epochs=2) + record(tmp_path / "a.pt")
    assert halves == first


def test_a_run_is_the_same_bits_twice_and_other_bits_by_seed(small):
    a, b, c = build(), build(), build()
    go(a, small), go(b, small), go(c, small, seed=1)
    assert same(a.state_dict(), b.state_dict())
    assert not same(a.state_dict(), c.state_dict())


@pytest.mark.parametrize(
    "name, mine, theirs, config",
    [
        ("lr", 0.002, 0.001, {"lr": 0.001}),
        ("batch_size", 64, 32, {"batch_size": 32}),
        ("warmup", 5, 6, {"warmup": 6}),
        ("seed", 0, 1, {"seed": 1}),
        ("n_latent", 2, 3, {}),
        ("hidden", "(16,)", "(17,)", {}),
        ("beta", 1.0, 2.0, {}),
        ("class", "VAE", "CVAE", {}),
        ("n", 200, 199, {}),
        ("split", "train", "test", {}),
        ("source", "builtin", "mnist", {}),
        ("kl_warmup", 0, 7, {"kl_warmup": 7}),
        ("digest", "", "", {}),
    ],
)
def test_other_settings_are_refused(
    name, mine, theirs, config, small, tmp_path
):
    path = tmp_path / "a.pt"
    go(build(), small, path, epochs=1)
    before = digest(path)
    model = build("cvae" if theirs == "CVAE" else "vae")
    if name in ("n_latent", "beta"):
        model = build(**{name: theirs})
    if name == "hidden":
        model = build(hidden=(17,))
    digits = small[:199] if name == "n" else small
    if name == "digest":  # as many digits, but others
        digits = replace(small, images=small.images.flip(0))
    if name in ("split", "source"):
        digits = replace(small, **{name: theirs})
    kept = {k: v.clone() for k, v in model.state_dict().items()}
    with refused(path, CheckpointError) as caught:
        go(model, digits, path, **config)
    for value in (f" {name} = ", mine, theirs):
        assert str(value) in str(caught.value)
    assert digest(path) == before
    assert same(model.state_dict(), kept)


def test_a_checkpoint_that_lacks_parts_is_refused(small, tmp_path):
    path = tmp_path / "a.pt"
    go(build(), small, path, epochs=1)
    whole = checkpoint.load(path)
    for part in ("model", "data", "optimizer", "moving", "weights", "step"):
        checkpoint.save(path, {k: v for k, v in whole.items() if k != part})
        with refused(path, CheckpointError):
            go(build(), small, path)


def test_a_complete_run_says_so(small, tmp_path, capsys):
    path, model, again = tmp_path / "a.pt", build(), spoil(build())
    history = go(model, small, path, epochs=2)
    assert capsys.readouterr().out == ""
    for epochs in (2, 1):
        resumed = fit(again, small, replace(CONFIG, epochs=epochs), path)
        out = capsys.readouterr().out
        assert f"already at epoch 2 of {epochs}" in out
        assert same(model.state_dict(), again.state_dict())
        assert vars(resumed) == vars(history)


@every
def test_a_loss_of_nan_updates_nothing(kind, small, tmp_path):
    model, path = build(kind), tmp_path / "a.pt"
    go(model, small, path, epochs=1)
    state = checkpoint.load(path)
    state["moving"]["decoder.0.bias"].data[0] = float("nan")
    checkpoint.save(path, state)
    with refused("the loss is NaN"):
        go(model, small, path)
    for name, weight in model.state_dict().items():
        kept = state["moving"][name]  # NaN is not equal to itself
        assert torch.equal(weight.nan_to_num(7), kept.nan_to_num(7))
    now = checkpoint.load(path)
    assert same(now["weights"], state["weights"])
    assert same(now["optimizer"], state["optimizer"])


def test_the_diagnosis_says_where_it_happened(small):
    model = build()
    with torch.no_grad():
        model.decoder[0].bias[0] = float("inf")
    with pytest.raises(ValueError, match=r"step 0 .*x in \[0, 1\].*logvar"):
        go(model, small)


@pytest.mark.parametrize(
    "name, value",
    [
        (name, value)
        for name in ("epochs", "batch_size", "warmup", "seed")
        for value in (-1, 2.5, None, "3", True, 0)
        if (name, value) not in [("seed", 0), ("batch_size", None)]
    ]
    + [("lr", v) for v in (0, -1, float("nan"), float("inf"), "1")]
    + [("decay", v) for v in (-0.1, 1.1, float("nan"), "1", None)]
    + [("precision", v) for v in ("half", "", None, 16)]
    + [("compile", v) for v in ("maybe", True, None)]
    + [("kl_warmup", v) for v in (-1, 2.5, None, "3", True)],
)
def test_bad_options_are_refused(name, value):
    with refused(f"{name}:", ValueError):
        TrainConfig(**{name: value})


@pytest.mark.parametrize(
    "name", ["gpu", "cuda:99", "", "cpu1", "meta", None, 5.5]
)
def test_unknown_devices_are_refused(name, small):
    with refused("device:", ValueError):
        engine.find_device(name)
    model = build()
    with refused("device:", ValueError):
        go(model, small, device=name)
    assert same(model.state_dict(), build().state_dict())


def test_auto_finds_a_device():
    assert engine.find_device().type in ("cpu", "cuda", "mps")
    assert engine.find_device("cpu") == torch.device("cpu")


def test_digits_that_do_not_fit_the_model_are_refused(small):
    with refused("digits:", ValueError):
        go(build(n_pixels=100), small)
    with refused("y:", ValueError):
        go(build("cvae", n_classes=9), small)


@pytest.mark.parametrize("model", [None, VAE, torch.nn.Linear(784, 2)])
def test_what_is_no_model_is_refused(model, small):
    with refused("model:", TypeError):
        go(model, small)


def test_an_unusable_folder_is_found_before_the_work(small, tmp_path):
    tmp_path.joinpath("file").write_text("in the way")
    model = build()
    with refused(tmp_path, CheckpointError):
        go(model, small, tmp_path / "file" / "a.pt")
    assert same(model.state_dict(), build().state_dict())


def test_a_batch_may_be_larger_than_the_data(small):
    history = go(build(), small, batch_size=10_000, epochs=1)
    assert len(history.loss) == 1


def test_fit_once_trains_once_for_each_setting(
    monkeypatch, small, tmp_path, capsys
):
    monkeypatch.setenv("MINIVAE_CACHE", str(tmp_path))
    seen, config = spy_on_steps(monkeypatch), replace(CONFIG, epochs=1)
    model, again = build(), spoil(build())
    history = fit_once(model, small, config)
    assert (len(seen), len(list(tmp_path.iterdir()))) == (4, 1)
    capsys.readouterr()
    assert vars(fit_once(again, small, config)) == vars(history)
    assert same(model.state_dict(), again.state_dict())
    assert len(seen) == 4
    assert capsys.readouterr() == ("", "")
    others = [
        (build(), small[:100], config),
        (build(), small, replace(config, seed=1)),
        (build(beta=2), small, config),
        (build("cvae"), small, config),
        (build(), replace(small, images=small.images.flip(0)), config),
        (build(), replace(small, split="test"), config),
        (build(), small, replace(config, kl_warmup=3)),
    ]
    for i, other in enumerate(others):
        fit_once(*other)
        assert len(list(tmp_path.iterdir())) == 2 + i
    assert len(seen) == 4 + 2 + 6 * 4
    # another version of the code trains anew
    monkeypatch.setattr(inspect, "getsource", repr)
    fit_once(model, small, config)
    assert len(list(tmp_path.iterdir())) == 3 + i


def test_fit_once_makes_a_damaged_file_again(monkeypatch, small, tmp_path):
    monkeypatch.setenv("MINIVAE_CACHE", str(tmp_path))
    config = replace(CONFIG, epochs=1)
    model, again = build(), build()
    fit_once(model, small, config)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-100])
    fit_once(again, small, config)
    assert same(model.state_dict(), again.state_dict())
    assert list(tmp_path.iterdir()) == [path]
    assert checkpoint.load(path)["epoch"] == 1


def test_a_run_may_go_on_where_another_device_is_asked_for(small, tmp_path):
    path = tmp_path / "a.pt"
    go(build(), small, path, epochs=1)
    assert len(go(build(), small, path, epochs=2, device="auto").loss) == 2


def test_the_bar_shows_the_terms(small, capsys):
    config = replace(CONFIG, batch_size=4, epochs=1)
    fit(build(), small, config)
    err = capsys.readouterr().err
    assert all(word in err for word in ("loss=", "kl=", "digits/s"))
    go(build(), small)
    assert capsys.readouterr().err == ""


# --- conditions and tables


def conditioned(digits):
    """Digits that are told by class and by how much ink they have."""
    ink = digits.images.float().mean((1, 2)) / 40
    y = torch.stack([digits.labels.float(), ink], 1)
    return replace(digits, conditions=y)


def chosen(**options):
    return build("cvae", conditions=(10, 1), **options)


def recorded(model, digits, path=None, **options):
    """The conditions that each step is told, in turn."""
    seen, terms = [], model.terms

    def spy(self, x, y=None, generator=None):
        seen.append(y)
        return terms(x, y, generator)

    model.terms = MethodType(spy, model)
    with untouched_rng():
        go(model, digits, path, **options)
    return seen


def test_training_withholds_conditions_anew_in_each_epoch(small, tmp_path):
    digits = conditioned(small)
    steps = recorded(chosen(withhold=0.3), digits)
    hidden = torch.cat(steps).isnan()
    assert hidden.shape == (4 * 200, 2)
    error = (0.3 * 0.7 / 800) ** 0.5
    assert ((hidden.double().mean(0) - 0.3).abs() < 3.5 * error).all()
    epochs = hidden.view(4, 200, 2)
    assert len(epochs.flatten(1).unique(dim=0)) == 4
    # the same in a second run, however often it is stopped
    halves = recorded(
        chosen(withhold=0.3), digits, tmp_path / "a.pt", epochs=2
    )
    halves += recorded(chosen(withhold=0.3), digits, tmp_path / "a.pt")
    again = torch.cat(halves)
    assert torch.equal(again.isnan(), hidden)
    assert torch.equal(again.nan_to_num(), torch.cat(steps).nan_to_num())


def test_nothing_is_withheld_from_those_who_do_not_ask(small):
    assert (
        not torch.cat(recorded(chosen(withhold=0.0), conditioned(small)))
        .isnan()
        .any()
    )
    (first, *_) = recorded(build("cvae"), small, epochs=1)
    assert first.dtype == torch.int64


def test_a_model_with_conditions_comes_back_as_it_was(small, tmp_path):
    digits, path = conditioned(small), tmp_path / "a.pt"
    whole, halves, again = chosen(), chosen(), spoil(chosen())
    history = go(whole, digits, tmp_path / "whole.pt")
    go(halves, digits, path, epochs=2)
    resumed = go(again, digits, path)
    assert same(vars(history), vars(resumed))
    assert same(whole.state_dict(), again.state_dict())
    loaded = load_model(path)
    assert type(loaded) is CVAE
    assert loaded.options == whole.options
    x = digits.binarized().x(torch.arange(200))
    y = digits.y.clone()
    y[:50, 0] = y[25:75, 1] = float("nan")
    noise = [torch.Generator().manual_seed(0) for _ in range(2)]
    with torch.no_grad():
        a, b = whole.terms(x, y, noise[0]), loaded.terms(x, y, noise[1])
    assert same(a, b)


def test_other_conditions_or_shares_are_another_run(small, tmp_path):
    digits, path = conditioned(small), tmp_path / "a.pt"
    go(chosen(), digits, path, epochs=1)
    other = replace(digits, conditions=digits.conditions.flip(0))
    for model, data in (
        (chosen(), other),
        (chosen(withhold=0.4), digits),
        (build("cvae", conditions=(11, 1)), digits),
    ):
        with refused(path, CheckpointError):
            go(model, data, path)


def test_conditions_that_do_not_fit_the_model_are_refused(small):
    digits = conditioned(small)
    for model, data, hint in (
        (chosen(), small, "stack the conditions"),
        (build("cvae", conditions=(10,)), digits, "stack the conditions"),
        (build("cvae", conditions=(9, 1)), digits, "class from 0 to 8"),
        (build("cvae"), digits, "one label"),
        (chosen(), Table(small.x(torch.arange(200))), "NaN where"),
    ):
        with refused("y:") as caught:
            go(model, data)
        assert hint in str(caught.value)
        assert same(
            model.state_dict(), type(model)(**model.options).state_dict()
        )


def points(n=300, n_dims=3):
    draw = torch.Generator().manual_seed(0)
    z = torch.randn(n, 1, generator=draw)
    noise = 0.1 * torch.randn(n, n_dims, generator=draw)
    return Table(z * torch.tensor([2.0, -1.0, 0.0]) + noise)


def test_a_table_trains_as_digits_do(tmp_path):
    table, path = points(), tmp_path / "a.pt"
    sizes = {"n_pixels": 3, "hidden": (), "n_latent": 1}
    a, b = (build(likelihood="gaussian", **sizes) for _ in range(2))
    history = go(a, table, epochs=20, lr=0.02)
    go(b, table, path, epochs=10, lr=0.02)
    go(spoil(b), table, path, epochs=20, lr=0.02)
    assert same(a.state_dict(), b.state_dict())
    # better than any normal distribution with one sigma and no code
    variance = table.values.var(0).mean().item()
    alone = 1.5 * math.log(2 * math.pi * math.e * variance)
    assert history.loss[-1] < 0.8 * alone
    with refused(path, CheckpointError):
        go(b, points(299), path, epochs=20)
    with refused("digits:"):
        go(build(n_pixels=2, likelihood="gaussian"), table)


@every
def test_a_table_must_lie_in_the_range_of_the_model(kind):
    labels = torch.arange(300) % 10
    table = Table(points().values, labels)
    model = build(kind, n_pixels=3)
    with refused("values:"):
        go(model, table)
    unit = Table(points().values.sigmoid(), labels)
    assert len(go(model, unit, epochs=1).loss) == 1


def spy_on_losses(monkeypatch):
    """Record (mean of the batch, what is lowered) at each step."""
    seen, weighted, refuse = [], train.Run.weighted, train.Run.refuse_nan

    def first(run, terms):
        found = weighted(run, terms)
        seen.append([found.detach(), run.workers.n])
        return found

    def second(run, loss=None):
        if loss is not None:
            seen[-1].append(loss.detach())
        return refuse(run, loss)

    monkeypatch.setattr(train.Run, "weighted", first)
    monkeypatch.setattr(train.Run, "refuse_nan", second)
    return seen


def test_what_is_lowered_is_the_mean_of_a_batch_also_of_a_short_one(
    monkeypatch, small
):
    seen = spy_on_losses(monkeypatch)
    go(build(), small, epochs=1)
    assert [len(values) for values, _, _ in seen] == [64, 64, 64, 8]
    for values, _, loss in seen:
        close(loss, values.mean())


class OneOfTwo(engine.Workers):
    """A process whose twin is silent."""

    def __init__(self, rank):
        self.rank, self.n = rank, 2

    def total(self, values):
        return values.detach().cpu().double()


def test_two_processes_lower_the_mean_of_the_whole_batch(monkeypatch, small):
    seen, bar = spy_on_losses(monkeypatch), SimpleNamespace()
    bar.update = bar.set_postfix = lambda what: None
    for rank in (0, 1):
        run = train.Run(build(), small, CONFIG)
        run.workers = OneOfTwo(rank)
        with engine.Stop() as stop:
            run.one_epoch(bar, stop)
    # the first step of each, when both have the same weights
    (a, _, one), (b, _, other) = seen[0], seen[len(seen) // 2]
    assert len(a) == len(b) == 32
    close((one + other) / 2, torch.cat([a, b]).mean())


def test_noise_is_new_at_every_step_and_in_every_process(monkeypatch, small):
    seeds, call = [], engine.Network.__call__

    def spy(network, x, y, noise):
        seeds.append(noise.initial_seed())
        return call(network, x, y, noise)

    monkeypatch.setattr(engine.Network, "__call__", spy)
    go(build(), small, epochs=3)
    monkeypatch.setattr(engine.Workers, "key", (2, 1))
    go(build(), small, epochs=3)
    assert len(seeds) == len(set(seeds)) == 24


def test_an_infinite_loss_updates_nothing_either(small):
    model = build("ae")
    with torch.no_grad():
        model.decoder[-1].bias.fill_(1e30)
    kept = {k: v.clone() for k, v in model.state_dict().items()}
    with refused("the loss is NaN or infinite at step 0", ValueError):
        go(model, small)
    assert same(model.state_dict(), kept)


def test_adam_remembers_ten_steps_and_a_hundred_squares(monkeypatch, small):
    found, update = [], train.Run.update

    def spy(run):
        update(run)
        found.append((run.weights[0].grad, run.optimizer.state))

    monkeypatch.setattr(train.Run, "update", spy)
    go(build(), small[:64], epochs=1)
    ((gradient, state),) = found
    torch.testing.assert_close(state["mean"][0], 0.1 * gradient)
    torch.testing.assert_close(state["square"][0], 0.01 * gradient**2)
