"""A run is a function of its options, however often it is stopped."""

import ast
import functools
import inspect
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from types import ModuleType

import numpy as np
import pytest
import torch
from conftest import ROOT, close, digest, refused, same, untouched_rng
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from minivae import (
    CVAE,
    M2,
    VAE,
    Autoencoder,
    CheckpointError,
    Classifier,
    History,
    PixelCVAE,
    Table,
    TrainConfig,
    batches,
    checkpoint,
    clinic,
    engine,
    evaluate,
    fit,
    fit_once,
    load_model,
)
from minivae.data import seeded
from minivae.engine.run import Run

pytestmark = pytest.mark.usefixtures("ends")
KINDS = {"ae": Autoencoder, "vae": VAE, "cvae": CVAE}
every = pytest.mark.parametrize("kind", KINDS)
MORE = KINDS | {
    "iwae": functools.partial(VAE, n_samples=3),
    "free": functools.partial(VAE, free_bits=0.5),
    "conv": functools.partial(VAE, network="conv"),
    "mixture": functools.partial(VAE, prior="mixture"),
    "pixels": PixelCVAE,
    "vamp": functools.partial(VAE, prior="vamp"),
    "conditional": functools.partial(CVAE, prior="conditional"),
}
also_more = pytest.mark.parametrize("kind", MORE)
ALL = MORE | {"m2": M2}  # which needs other data
CONFIG = TrainConfig(epochs=4, batch_size=64, lr=0.002, warmup=5, device="cpu")


def build(kind="vae", **options):
    hidden = (4, 4, 8) if kind == "conv" else (16,)
    return ALL[kind](**{"n_latent": 2, "hidden": hidden} | options)


def go(model, digits, path=None, **options):
    return fit(model, digits, replace(CONFIG, **options), path, False)


def textbook(model, data, epochs, size, lr, warmup):
    """Training as a textbook writes it; returns the averaged model."""
    prepare = getattr(getattr(model, "likelihood", None), "prepare", None)
    adam = torch.optim.Adam(model.parameters(), lr, (0.9, 0.99), fused=True)
    rise = LambdaLR(adam, lambda step: min(1.0, (step + 1) / warmup))
    # polynomial decay with eta = 8: the first step is the average
    average = AveragedModel(
        model, avg_fn=lambda a, w, n: a.lerp(w, 9 / (n.item() + 9))
    )
    step = 0
    for epoch in range(epochs):
        for x, y in batches(data, size, 0, epoch, prepare=prepare):
            noise = seeded("cpu", "noise", 0, step)
            loss = model(x, y, noise)["loss"].mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
            rise.step()
            average.update_parameters(model)
            step += 1
    return average.module


@also_more
def test_fit_is_the_loop_of_a_textbook_bit_for_bit(kind, small, tmp_path):
    model, plain, path = build(kind), build(kind), tmp_path / "a.pt"
    assert (CONFIG.epochs, CONFIG.batch_size) == (4, 64)
    go(model, small, path, precision="float32", compile="no")
    average = textbook(plain, small, 4, 64, CONFIG.lr, CONFIG.warmup)
    assert same(model.state_dict(), average.state_dict())
    assert same(checkpoint.load(path)["moving"], plain.state_dict())
    assert not same(model.state_dict(), plain.state_dict())
    assert not same(plain.state_dict(), build(kind).state_dict())


def test_the_loop_is_in_fit_itself_and_on_one_screen():
    (tree,) = ast.parse(inspect.getsource(fit)).body
    docstring, *body = tree.body
    assert ast.get_docstring(tree) == inspect.cleandoc(docstring.value.value)
    assert body[-1].end_lineno - docstring.end_lineno <= 50
    loops = [node for node in ast.walk(tree) if isinstance(node, ast.For)]
    epochs, steps = loops
    assert steps in epochs.body
    calls = [ast.unparse(statement) for statement in steps.body]
    order = ("run.optimizer.zero_grad()", "loss.backward()")
    first, second, third = map(calls.index, (*order, "run.optimizer.step()"))
    assert first < second < third


def spoil(model):
    """A model whose weights a resume has to replace."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_()
    return model


@also_more
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
    parts = (half["moving"], half["weights"], half["optimizer"])
    assert all(part.keys() == whole.state_dict().keys() for part in parts)
    for name, kept in half["optimizer"].items():
        assert kept["step"] == 8
        assert kept["exp_avg"].shape == half["moving"][name].shape
        assert kept["exp_avg_sq"].any()


@pytest.mark.slow
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
        for _ in range(200_000):  # half an hour, to end a hang
            # a file that exists is a whole one, also while it is replaced
            if path.exists() and checkpoint.load(path)["epoch"]:
                break
            assert process.poll() is None, "it ended by itself"
            time.sleep(0.01)
        else:
            pytest.fail("it saved nothing")
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
    seen, update = [], Run.update_average
    lrs, step = [], torch.optim.Adam.step

    def look(adam, *args):
        lrs.append(adam.param_groups[0]["lr"])
        return step(adam, *args)

    def spy(run):
        update(run)
        weights = [w.detach().double().clone() for w in run.model.parameters()]
        seen.append((lrs[-1], weights))

    monkeypatch.setattr(torch.optim.Adam, "step", look)
    monkeypatch.setattr(Run, "update_average", spy)
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
@pytest.mark.parametrize(
    "cycles, shares",
    [
        (1, [0.2, 0.4, 0.6, 0.8] + [1.0] * 8),  # Bowman et al. 2016
        (2, [0.5, 1.0, 1.0, 1.0] * 2 + [1.0] * 4),  # Fu et al. 2019
        (3, [0.5, 1.0, 1.0, 1.0] * 3),
    ],
)
def test_the_kl_reaches_its_weight_step_by_step(
    monkeypatch, small, beta, cycles, shares
):
    whole, trained = [], []
    mean_loss = Run.mean_loss

    def spy(run, terms):
        whole.append({k: v.detach() for k, v in terms.items()})
        trained.append(mean_loss(run, terms))
        return trained[-1]

    monkeypatch.setattr(Run, "mean_loss", spy)
    warmup = {"kl_warmup": 5 if cycles == 1 else 2, "kl_cycles": cycles}
    history = go(build(beta=beta), small, epochs=3, **warmup)
    assert len(trained) == len(shares) == 12
    for share, loss, parts in zip(shares, trained, whole):
        expected = parts["reconstruction"] + share * beta * parts["kl"]
        close(loss.detach(), expected.mean(), 1e-6)
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


def test_a_bound_of_many_samples_has_no_kl_to_warm_up(small):
    with refused("kl_warmup:"):
        go(build("iwae"), small, kl_warmup=3)


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
        prepare = None if kind == "ae" else kept.likelihood.prepare
        parts = batches(small, 64, 0, epoch, prepare=prepare)
        terms = [kept(*part) for part in parts]
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

        def spy(module, inputs):
            x, y, noise = inputs
            seen.append((noise.initial_seed(), y.tolist(), x.sum().item()))

        model.register_forward_pre_hook(spy)
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
    asked = "data" if name == "digest" else name
    for value in (f" {name} = ", mine, theirs, f"use the same {asked}, or"):
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
    with refused("data:", ValueError):
        go(build(shape=(100,)), small)
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
    model, again = build(), build()
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
        (spoil(build()), small, config),  # other weights to begin with
    ]
    for i, other in enumerate(others):
        fit_once(*other)
        assert len(list(tmp_path.iterdir())) == 2 + i
    assert len(seen) == 4 + 2 + 7 * 4
    # another version of the code trains anew
    monkeypatch.setattr(inspect, "getsource", repr)
    fit_once(build(), small, config)
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
    assert all(word in err for word in ("loss=", "kl=", "rows/s"))
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
    seen = []
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    with untouched_rng():
        go(model, digits, path, **options)
    return seen


def test_training_drops_conditions_anew_in_each_epoch(small, tmp_path):
    digits = conditioned(small)
    steps = recorded(chosen(condition_dropout=0.3), digits)
    hidden = torch.cat(steps).isnan()
    assert hidden.shape == (4 * 200, 2)
    error = (0.3 * 0.7 / 800) ** 0.5
    assert ((hidden.double().mean(0) - 0.3).abs() < 3.5 * error).all()
    epochs = hidden.view(4, 200, 2)
    assert len(epochs.flatten(1).unique(dim=0)) == 4
    # the same in a second run, however often it is stopped
    path = tmp_path / "a.pt"
    halves = recorded(chosen(condition_dropout=0.3), digits, path, epochs=2)
    halves += recorded(chosen(condition_dropout=0.3), digits, path)
    again = torch.cat(halves)
    assert torch.equal(again.isnan(), hidden)
    assert torch.equal(again.nan_to_num(), torch.cat(steps).nan_to_num())


def test_nothing_is_withheld_from_those_who_do_not_ask(small):
    steps = recorded(chosen(condition_dropout=0.0), conditioned(small))
    assert not torch.cat(steps).isnan().any()
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
    x = digits.binarized().x()
    y = digits.y.clone()
    y[:50, 0] = y[25:75, 1] = float("nan")
    noise = [torch.Generator().manual_seed(0) for _ in range(2)]
    with torch.no_grad():
        a, b = whole(x, y, noise[0]), loaded(x, y, noise[1])
    assert same(a, b)


def test_other_conditions_or_dropouts_are_another_run(small, tmp_path):
    digits, path = conditioned(small), tmp_path / "a.pt"
    go(chosen(), digits, path, epochs=1)
    other = replace(digits, conditions=digits.conditions.flip(0))
    for model, data in (
        (chosen(), other),
        (chosen(condition_dropout=0.4), digits),
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
        (chosen(), Table(small.x()), "NaN where"),
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
    sizes = {"shape": (3,), "hidden": (), "n_latent": 1}
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
    with refused("data:"):
        go(build(shape=(2,), likelihood="gaussian"), table)


@every
def test_a_table_must_lie_in_the_range_of_the_model(kind):
    labels = torch.arange(300) % 10
    table, model = Table(points().values, labels), build(kind, shape=(3,))
    if kind == "ae":  # a squared error is of numbers of any size
        assert len(go(model, table, epochs=1).loss) == 1
        return
    with refused("values:"):
        go(model, table)
    assert same(model.state_dict(), build(kind, shape=(3,)).state_dict())
    unit = Table(points().values.sigmoid(), labels)
    assert len(go(model, unit, epochs=1).loss) == 1


def spy_on_losses(monkeypatch):
    """Record (loss of each row, processes, what is lowered) of each step."""
    seen, mean_loss = [], Run.mean_loss

    def spy(run, terms):
        found = mean_loss(run, terms)
        n = run.processes.world_size
        seen.append((terms["loss"].detach(), n, found.detach()))
        return found

    monkeypatch.setattr(Run, "mean_loss", spy)
    return seen


def test_what_is_lowered_is_the_mean_of_a_batch_also_of_a_short_one(
    monkeypatch, small
):
    seen = spy_on_losses(monkeypatch)
    go(build(), small, epochs=1)
    assert [len(values) for values, _, _ in seen] == [64, 64, 64, 8]
    for values, _, loss in seen:
        close(loss, values.mean())


def stop_at(monkeypatch, step, number=signal.SIGINT):
    """Send a real signal in the middle of a step."""
    mean_loss = Run.mean_loss

    def spy(run, terms):
        if run.step == step:
            os.kill(os.getpid(), number)
        return mean_loss(run, terms)

    monkeypatch.setattr(Run, "mean_loss", spy)


class OneOfTwo(engine.Processes):
    """A process whose twin is silent."""

    def __init__(self, rank):
        self.rank, self.world_size = rank, 2

    def total(self, values):
        return values.detach().cpu().double()


def one_epoch(run):
    """The loop of `fit` for one epoch, without what comes before or after."""
    with run.stops_between_steps():
        for x, y, noise in run.batches(run.epoch):
            terms = run.forward(x, y, noise)
            loss = run.mean_loss(terms)
            run.optimizer.zero_grad()
            loss.backward()
            run.optimizer.step()
            run.schedule.step()
            run.update_average()
            run.record(terms)
        run.close()


def test_two_processes_lower_the_mean_of_the_whole_batch(monkeypatch, small):
    seen = spy_on_losses(monkeypatch)
    for rank in (0, 1):
        run = Run(build(), small, CONFIG, History())
        run.processes = OneOfTwo(rank)
        one_epoch(run)
    assert [n for _, n, _ in seen] == [2] * 8
    # the first step of each, when both have the same weights
    (a, _, one), (b, _, other) = seen[0], seen[len(seen) // 2]
    assert len(a) == len(b) == 32
    close((one + other) / 2, torch.cat([a, b]).mean())


def test_noise_is_new_at_every_step_and_in_every_process(monkeypatch, small):
    seeds, forward = [], Run.forward

    def spy(run, x, y, noise):
        seeds.append(noise.initial_seed())
        return forward(run, x, y, noise)

    monkeypatch.setattr(Run, "forward", spy)
    go(build(), small, epochs=3)
    monkeypatch.setattr(engine.Processes, "key", (2, 1))
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
    found, update = [], Run.update_average

    def spy(run):
        update(run)
        weight = next(run.model.parameters())
        found.append((weight.grad, run.optimizer.state[weight]))

    monkeypatch.setattr(Run, "update_average", spy)
    go(build(), small[:64], epochs=1)
    ((gradient, state),) = found
    torch.testing.assert_close(state["exp_avg"], 0.1 * gradient)
    torch.testing.assert_close(state["exp_avg_sq"], 0.01 * gradient**2)


# --- numbers of any kind


@pytest.mark.parametrize(
    "make",
    [
        lambda: VAE(2, (8,), beta=np.float64(4)),
        lambda: VAE(np.int64(4), np.array([8])),
        lambda: VAE(torch.tensor(2), (torch.tensor(8),), beta=np.float32(2)),
        lambda: VAE(2, [8], "gaussian", sigma=torch.tensor(0.5)),
        lambda: CVAE(2, (8,), n_classes=np.uint8(10), seed=np.int32(3)),
        lambda: Autoencoder(2, (8,), shape=torch.Size([1, 28, 28])),
        lambda: VAE(2, (8,), np.str_("gaussian"), prior=np.str_("mixture")),
    ],
)
def test_numbers_of_numpy_and_torch_train_save_and_load(make, small, tmp_path):
    config = TrainConfig(
        epochs=np.int64(2),
        batch_size=torch.tensor(64),
        lr=np.float32(0.002),
        warmup=np.uint8(5),
        decay=torch.tensor(0.25),
        kl_warmup=np.int32(3),
        seed=np.int64(1),
        device="cpu",
    )
    plain = (int, float, str, type(None))
    assert all(type(value) in plain for value in asdict(config).values())
    path, model, again = tmp_path / "a.pt", make(), make()
    history = fit(model, small, config, path, False)
    assert len(history.loss) == 2
    loaded = load_model(path)
    assert same(loaded.state_dict(), model.state_dict())
    assert loaded.options == model.options
    # it goes on where Python's own numbers are given
    numbers = {k: v for k, v in asdict(config).items() if v is not None}
    resumed = fit(again, small, TrainConfig(**numbers), path, False)
    assert resumed == history
    assert same(again.state_dict(), model.state_dict())


# --- a look between epochs


def test_on_epoch_gets_the_number_the_averaged_model_and_the_history(
    small, tmp_path
):
    seen, model = [], build()

    def look(epoch, averaged, history):
        assert averaged is not model
        weights = {k: v.clone() for k, v in averaged.state_dict().items()}
        seen.append((epoch, weights, list(history.loss)))

    with untouched_rng():
        history = fit(model, small, CONFIG, None, False, look)
    assert [epoch for epoch, _, _ in seen] == [0, 1, 2, 3]
    for epoch, weights, losses in seen:
        assert losses == history.loss[: epoch + 1]
        shorter = build()
        go(shorter, small, epochs=epoch + 1)
        assert same(weights, shorter.state_dict())
    # to look changes nothing
    plain = build()
    assert same(vars(go(plain, small)), vars(history))
    assert same(plain.state_dict(), model.state_dict())


@pytest.mark.parametrize("yes", [True, np.True_, "enough"])
def test_on_epoch_may_stop_early_and_the_run_may_go_on(yes, small, tmp_path):
    path, whole, model, calls = tmp_path / "a.pt", build(), build(), []

    def enough(epoch, averaged, history):
        calls.append(epoch)
        return yes if epoch == 1 else (None, False, 0, 0)[epoch]

    history = fit(model, small, CONFIG, path, False, enough)
    assert calls == [0, 1]
    assert len(history.loss) == 2
    assert not history.stopped  # that is for signals
    short = build()
    go(short, small, epochs=2)
    assert same(model.state_dict(), short.state_dict())
    assert checkpoint.load(path)["step"] == 8
    again = spoil(build())
    resumed = fit(again, small, CONFIG, path, False, enough)
    assert calls == [0, 1, 2, 3]
    assert same(vars(resumed), vars(go(whole, small)))
    assert same(again.state_dict(), whole.state_dict())


# --- modules of your own


CELL = """
import torch
from torch import nn

class Mine(nn.Module):
    def __init__(self, width=3, scale=1.0, drop=0.0):
        super().__init__()
        self.scale = scale
        self.encode = nn.Sequential(
            nn.Flatten(), nn.Linear(784, width), nn.BatchNorm1d(width)
        )
        self.decode = nn.Sequential(nn.Dropout(drop), nn.Linear(width, 784))

    def forward(self, x, y=None, noise=None, power=2):
        code = self.encode(x)
        error = (self.decode(code) - x.flatten(1)).square().sum(1)
        size = code.abs().pow(power).sum(1)
        return {"loss": error + self.scale * size, "error": error,
                "size": size}
"""


@pytest.fixture
def cell(monkeypatch):
    """Runs code as a cell of a notebook, whose module has no file."""

    def run(code=CELL):
        module = ModuleType("__main__")
        monkeypatch.setitem(sys.modules, "__main__", module)
        exec(code, vars(module))
        assert module.Mine.__module__ == "__main__"
        return module.Mine

    return run


def mine(kind, **options):
    torch.manual_seed(0)
    return kind(**options)


def test_a_module_of_your_own_learns_and_its_terms_are_written_down(
    cell, small
):
    model = mine(cell(), scale=2.0)
    history = go(model, small, epochs=8, lr=5e-3)
    assert history.loss[-1] < 0.8 * history.loss[0]
    error, size = map(torch.tensor, (history.error, history.size))
    assert len(error) == len(size) == len(history) == 8
    close(history.loss, error + 2 * size)
    assert history.kl == history.reconstruction == []
    with pytest.raises(AttributeError, match=r"error.*size.*no entropy"):
        _ = history.entropy


@pytest.mark.parametrize("step", [1, 3, 6])  # inside and between epochs
def test_a_module_of_your_own_goes_on_bit_for_bit(
    step, cell, monkeypatch, small, tmp_path
):
    kind, path = cell(), tmp_path / "a.pt"
    whole, part = mine(kind), mine(kind)
    history = go(whole, small)
    with monkeypatch.context() as patch:
        stop_at(patch, step)
        assert go(part, small, path).stopped
    assert checkpoint.load(path)["step"] == step + 1
    again = mine(kind)
    again.encode[2].running_mean.fill_(7)
    spoil(again)
    resumed = go(again, small, path)
    assert same(vars(resumed), vars(history))
    assert same(again.state_dict(), whole.state_dict())
    # the statistics of the batches are those of all steps
    norm = again.encode[2]
    assert norm.num_batches_tracked == 16
    assert not torch.equal(norm.running_var, torch.ones(3))


def test_a_checkpoint_of_your_own_module_fills_the_one_you_built(
    cell, small, tmp_path
):
    kind, path = cell(), tmp_path / "a.pt"
    model, empty = mine(kind), mine(kind)
    go(model, small, path, epochs=1)
    with refused(path, CheckpointError) as caught:
        load_model(path)
    assert "__main__.Mine" in str(caught.value)
    assert "load_model(path, model=" in str(caught.value)
    assert load_model(path, model=spoil(empty)) is empty
    assert same(empty.state_dict(), model.state_dict())
    # another one is refused, and stays as it is
    fewer, more = mine(kind), mine(kind)
    fewer.encode[2] = torch.nn.Identity()
    more.third = torch.nn.Linear(2, 2)
    for other in (mine(kind, width=4), fewer, more, VAE(2, (8,))):
        before = {k: v.clone() for k, v in other.state_dict().items()}
        with refused(path, CheckpointError):
            load_model(path, model=other)
        assert same(other.state_dict(), before)
    # and so is a class of the same name elsewhere, in a run that goes on
    kind.__module__ = "elsewhere"
    with refused(path, CheckpointError):
        go(mine(kind), small, path)


def test_fit_once_keeps_no_module_of_your_own(
    cell, monkeypatch, small, tmp_path, capsys
):
    monkeypatch.setenv("MINIVAE_CACHE", str(tmp_path))
    monkeypatch.setattr("minivae.engine.device._told", set())
    config = replace(CONFIG, epochs=1)
    history = fit_once(mine(cell()), small, config)
    assert fit_once(mine(cell()), small, config).loss == history.loss
    assert "Mine has parts of your own" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


class Laplace:
    """A likelihood that is no module."""

    n_params, support = 1, None

    def __init__(self, scale):
        self.scale = scale

    def log_prob(self, x, params):
        error = (x - params).abs().flatten(1 - x.ndim).sum(-1)
        return -error / self.scale - x[0].numel() * math.log(2 * self.scale)

    def mean(self, params):
        return params


def with_own_parts(squash=torch.nn.ReLU, scale=1.0):
    torch.manual_seed(0)
    encoder = torch.nn.Sequential(
        torch.nn.Flatten(),
        torch.nn.Linear(784, 8),
        torch.nn.BatchNorm1d(8),
        squash(),
        torch.nn.Linear(8, 4),
    )
    return VAE(2, (8,), Laplace(scale), encoder=encoder)


def test_on_epoch_gets_the_statistics_that_the_run_ends_with(small):
    """Also after step 500, where not every step is averaged."""
    model, last = with_own_parts(), {}

    def keep(epoch, average, history):
        last.update({k: v.clone() for k, v in average.state_dict().items()})

    config = TrainConfig(epochs=43, batch_size=17, device="cpu")
    fit(model, small[:204], config, progress=False, on_epoch=keep)
    assert model.encoder[2].num_batches_tracked == 516  # no multiple of 5
    assert same(last, model.state_dict())


@pytest.mark.parametrize("shape", [[784], (1, 28, 28), torch.Size([784])])
def test_a_module_of_your_own_may_have_a_shape(shape, small, cell):
    model = mine(cell())
    config = TrainConfig(epochs=1, device="cpu")
    for held in (shape, lambda: shape):
        model.shape = held
        assert len(fit(model, small, config, progress=False)) == 1
    model.shape = [28, 27]
    with pytest.raises(ValueError, match=r"built for \(28, 27\)"):
        fit(model, small, config, progress=False)


def test_parts_of_your_own_go_on_and_are_filled(small, tmp_path):
    path, whole = tmp_path / "a.pt", with_own_parts()
    history = go(whole, small)
    go(with_own_parts(), small, path, epochs=2)
    again = spoil(with_own_parts())
    assert same(vars(go(again, small, path)), vars(history))
    assert same(again.state_dict(), whole.state_dict())
    assert again.encoder[2].num_batches_tracked == 16
    with refused(path, CheckpointError) as caught:
        load_model(path)
    assert "Sequential" in str(caught.value)
    assert "load_model(path, model=" in str(caught.value)
    loaded = load_model(path, model=spoil(with_own_parts()))
    assert same(loaded.state_dict(), whole.state_dict())


def hooked():
    model = VAE(2, (8,))
    model.encoder[0].register_forward_hook(lambda *_: None)
    return model


def kept_fixed():
    model = VAE(2, (8,))
    model.decoder.requires_grad_(False)
    return model


def with_dropout(p):
    encoder = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Dropout(p), torch.nn.Linear(784, 4)
    )
    for i, weight in enumerate(encoder.parameters()):
        torch.nn.init.constant_(weight, 0.01 * i)
    return VAE(2, (8,), encoder=encoder)


def changed(**attributes):
    model = VAE(2, (8,))
    for name, value in attributes.items():
        setattr(model, name, value)
    return model


def test_fit_once_tells_models_apart_or_keeps_none(
    monkeypatch, small, tmp_path
):
    monkeypatch.setenv("MINIVAE_CACHE", str(tmp_path))
    config = replace(CONFIG, epochs=1)
    different = [
        lambda: VAE(2, (8,)),
        kept_fixed,
        lambda: with_dropout(0.1),
        lambda: with_dropout(0.5),
        lambda: changed(beta=4.0),
        lambda: VAE(2, (8,), prior="vamp"),
        lambda: VAE(2, (8,), prior="mixture"),
        lambda: VAE(2, (8,), n_samples=2),
        lambda: PixelCVAE(2, (8,)),
    ]
    for i, make in enumerate(different):
        for _ in range(2):
            fit_once(make(), small, config)
            assert len(list(tmp_path.iterdir())) == i + 1
    unknown = [
        with_own_parts,
        hooked,
        lambda: changed(beta=np.float64(4)),
        lambda: changed(table={"a": 1.0}),
        lambda: changed(squash=torch.tanh),
        lambda: changed(scale=torch.ones(())),
    ]
    monkeypatch.setenv("MINIVAE_CACHE", str(tmp_path / "none"))
    for make in unknown:
        fit_once(make(), small, config)
    assert not (tmp_path / "none").exists()


def test_a_cache_that_cannot_be_used_is_named(monkeypatch, small, tmp_path):
    taken = tmp_path / "a.txt"
    taken.write_text("a letter")
    monkeypatch.setenv("MINIVAE_CACHE", str(taken))
    with refused(taken, CheckpointError) as caught:
        fit_once(build(), small, replace(CONFIG, epochs=1))
    assert "MINIVAE_CACHE" in str(caught.value)


def test_fit_once_sees_the_code_of_a_model_of_another_module(
    monkeypatch, small, tmp_path
):
    monkeypatch.setenv("MINIVAE_CACHE", str(tmp_path))
    seen, source = [], inspect.getsource
    monkeypatch.setattr(
        inspect, "getsource", lambda thing: seen.append(thing) or source(thing)
    )
    fit_once(clinic.PATIENTS[0](), small, replace(CONFIG, epochs=1))
    names = {module.__name__ for module in seen}
    assert {"minivae.clinic", "minivae.train", "minivae.models"} <= names


class Tied(torch.nn.Module):
    """One matrix for both ways."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(4, 784) / 784)
        self.back = torch.nn.Module()
        self.back.weight = self.weight

    def forward(self, x, y=None, noise=None):
        x = x.flatten(1)
        error = x - x @ self.weight.T @ self.back.weight
        return {"loss": error.square().sum(1)}


def test_a_weight_that_two_layers_share_is_averaged_once(small, tmp_path):
    path, whole, again = tmp_path / "a.pt", Tied(), Tied()
    go(whole, small)
    go(Tied(), small, path, epochs=2)
    go(again, small, path)
    assert same(whole.state_dict(), again.state_dict())
    loaded = load_model(path, model=Tied())
    assert same(loaded.state_dict(), whole.state_dict())
    assert torch.equal(loaded.weight, loaded.back.weight)


def test_dropout_goes_on_with_the_same_bits(small, tmp_path):
    path, whole, again = (
        tmp_path / "a.pt",
        with_dropout(0.5),
        with_dropout(0.5),
    )
    with untouched_rng():
        go(whole, small)
    torch.rand(3)  # the state of torch's own generator does not matter
    go(with_dropout(0.5), small, path, epochs=2)
    go(again, small, path)
    assert same(whole.state_dict(), again.state_dict())


def test_a_part_with_other_numbers_is_not_gone_on_with(small, tmp_path):
    path = tmp_path / "a.pt"
    go(with_own_parts(), small, path, epochs=2)
    with refused(path, CheckpointError) as caught:
        go(with_own_parts(scale=0.5), small, path)
    assert "scale" in str(caught.value)


def test_a_file_fills_no_model_of_other_options(small, tmp_path):
    path = tmp_path / "a.pt"
    go(VAE(2, (8,)), small, path, epochs=1)
    other = VAE(2, (8,), "continuous_bernoulli")
    with refused(path, CheckpointError) as caught:
        load_model(path, model=other)
    assert "likelihood is 'bernoulli' there" in str(caught.value)
    assert load_model(path, model=VAE(2, (8,), beta=4.0)).beta == 4.0
    load_model(path, model=VAE(2, (8,), seed=1))


class Keeps(VAE):
    def encode(self, x, y=None):
        self.last = super().encode(x, y)
        return self.last


def test_a_model_that_cannot_be_copied_or_learn_is_named(small):
    model = Keeps(2, (8,))
    model(small.x())
    with refused("model: expected one that can be copied"):
        go(model, small)
    model = Tied()
    model.forward = lambda x, y, noise: {
        "loss": model.weight.detach().sum() * x.flatten(1).sum(1)
    }
    with refused("model: expected a loss with a gradient"):
        go(model, small)
    for use in (go, evaluate):
        with refused("model: expected a module with weights", TypeError):
            use(torch.nn.Flatten(), small)


def test_between_epochs_the_model_is_at_rest(small):
    modes = []
    fit(
        with_dropout(0.5),
        small,
        CONFIG,
        progress=False,
        on_epoch=lambda i, model, history: modes.append(model.training),
    )
    assert modes == [False] * CONFIG.epochs


@pytest.mark.parametrize(
    "returns, hint",
    [
        ('{"loss": error.mean()}', "do not take the mean"),
        ('{"loss": error[:, None]}', "one value for each row"),
        ('{"loss": error, "size": 3.0}', "'size'"),
        ('{"error": error}', "['error']"),
        ("error", "Tensor"),
        ("error.mean()", "Tensor"),
        ("(error, error)", "tuple"),
        ("None", "NoneType"),
    ],
)
def test_a_forward_that_returns_no_terms_is_refused_in_the_first_step(
    returns, hint, cell, small, tmp_path
):
    start = CELL.index("return")
    model = mine(cell(CELL[:start] + f"return {returns}"))
    kept = [w.clone() for w in model.parameters()]
    path = tmp_path / "a.pt"
    with refused("model:", TypeError) as caught:
        go(model, small, path)
    assert hint in str(caught.value)
    assert all(map(torch.equal, kept, model.parameters()))
    assert checkpoint.load(path)["step"] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        *("self", "self, x", "self, x, y", "self, x, y, noise, more"),
        *("self, x, *, y=None, noise=None", "self, *, x, y, noise"),
    ],
)
def test_a_forward_without_the_three_arguments_is_refused(
    arguments, cell, small, tmp_path
):
    known = "self, x, y=None, noise=None, power=2"
    model = mine(cell(CELL.replace(known, arguments)))
    with refused("model:", TypeError) as caught:
        go(model, small, tmp_path / "a.pt")
    assert "forward(x, y, noise)" in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", ["self, x, *rest", "self, x, y, eps"])
def test_whatever_takes_three_arguments_will_do(arguments, cell, small):
    code = CELL.replace("self, x, y=None, noise=None, power=2", arguments)
    model = mine(cell(code.replace("pow(power)", "pow(2)")))
    plain = mine(cell())
    go(model, small, epochs=1), go(plain, small, epochs=1)
    assert same(model.state_dict(), plain.state_dict())


def test_a_classifier_is_saved_and_loaded(small, tmp_path):
    path, model = tmp_path / "a.pt", Classifier()
    history = go(model, small, path, epochs=2)
    assert history.loss[1] < history.loss[0]
    loaded = load_model(path)
    assert type(loaded) is Classifier
    assert loaded.options == model.options
    assert same(loaded.state_dict(), model.state_dict())
    assert torch.equal(loaded.read(small.x()), model.read(small.x()))


# --- clear errors before the work


def test_models_of_other_numbers_than_float32_are_refused(small):
    for model in (build().double(), Classifier().half()):
        kept = {k: v.clone() for k, v in model.state_dict().items()}
        with refused("model:", ValueError) as caught:
            go(model, small)
        assert "model.float()" in str(caught.value)
        assert same(model.state_dict(), kept)
        go(model.float(), small, epochs=1)
    frozen = build().requires_grad_(False)
    with refused("model:", ValueError) as caught:
        go(frozen, small)
    assert "requires_grad_()" in str(caught.value)


def test_frozen_weights_stay_as_they_are(small, tmp_path):
    path, whole, halves = tmp_path / "a.pt", build(), build()
    for model in (whole, halves):
        model.encoder.requires_grad_(False)
    kept = {k: v.clone() for k, v in whole.state_dict().items()}
    go(whole, small)
    go(halves, small, path, epochs=2), go(halves, small, path)
    assert same(whole.state_dict(), halves.state_dict())
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, kept[name]) == ("encoder" in name)


def test_data_with_a_gradient_are_refused():
    values = torch.rand(8, 3, requires_grad=True)
    for name, make in (
        ("values:", lambda: Table(values)),
        ("conditions:", lambda: Table(values.detach(), values)),
    ):
        with refused(name, ValueError) as caught:
            make()
        assert ".detach()" in str(caught.value)


@pytest.mark.parametrize(
    "wrap, hint",
    [
        (lambda x: x, "Table(x)"),
        (lambda x: x.numpy(), "Table(x)"),
        (lambda x: x.tolist(), "Table(x)"),
        (lambda x: torch.utils.data.TensorDataset(x), "Table(x)"),
        (lambda x: torch.utils.data.DataLoader(x), "give its tensors"),
        (lambda x: None, "Table(x)"),
        (lambda x: "mnist", "Table(x)"),
    ],
)
def test_what_is_no_data_is_refused(wrap, hint, small, tmp_path):
    model = build()
    for train in (go, fit_once):
        with refused("data:", TypeError) as caught:
            train(model, wrap(small.x()))
        assert hint in str(caught.value)
    assert same(model.state_dict(), build().state_dict())


@every
def test_columns_of_huge_numbers_should_be_standardised(kind):
    values = points().values
    options = {} if kind == "ae" else {"likelihood": "gaussian"}
    model = build(kind, shape=(3,), hidden=(), **options)
    kept = {k: v.clone() for k, v in model.state_dict().items()}
    labels = torch.arange(300) % 10
    with refused("the loss is NaN or infinite at step 0") as caught:
        go(model, Table(values * 1e20, labels))
    assert "Standardise x: subtract the mean" in str(caught.value)
    assert same(model.state_dict(), kept)
    standard = (values - values.mean(0)) / values.std(0)
    assert len(go(model, Table(standard, labels), epochs=1).loss) == 1


def test_a_run_that_diverges_says_so(small):
    # not that its own codes are infinite, which nobody gave it
    with refused("the loss is NaN or infinite at step") as caught:
        go(build(), small, lr=1e6, warmup=1, epochs=30)
    assert "Lower lr, now 1e+06" in str(caught.value)


def test_a_diagnosis_needs_no_encoder_of_the_usual_kind(cell, small):
    code = CELL.replace("nn.Flatten(), ", "").replace("nn.BatchNorm1d", "nn.")
    code = code.replace("nn.(width)", "nn.Identity()")
    code = code.replace("encode(x)", "encode(x.flatten(1))")
    model = mine(cell(code))
    with torch.no_grad():
        model.encode[0].bias.fill_(torch.inf)
    with refused("the loss is NaN or infinite at step 0"):
        go(model, small)


# --- where a model was, and how


def modes(model):
    return [part.training for part in model.modules()]


@pytest.mark.parametrize("training", [True, False])
def test_fit_leaves_a_model_in_the_mode_where_it_was(
    training, small, tmp_path
):
    seen, path, model = [], tmp_path / "a.pt", with_own_parts().train(training)
    model.encoder[2].train(not training)
    before = modes(model)
    assert len(set(before)) == 2
    model.register_forward_pre_hook(lambda *_: seen.append(modes(model)))
    go(model, small, path, epochs=1)
    assert len(seen) == 4
    assert all(all(parts) for parts in seen)  # it learns in training mode
    assert modes(model) == before
    with refused(path, CheckpointError):
        go(model, small, path, epochs=1, lr=1.0)
    assert modes(model) == before
    with torch.no_grad():
        model.decoder[0].bias.fill_(torch.nan)
    with refused("the loss is NaN"):
        go(model, small)
    assert modes(model) == before
    evaluate(model, small)
    assert modes(model) == before


@pytest.mark.parametrize("fails", [False, True])
def test_a_model_comes_back_to_the_device_where_it_was(fails, small):
    run = Run(build(), small, CONFIG, History())
    assert run.home == torch.device("cpu")
    run.home = torch.device("meta")  # as if it had come from there
    if fails:
        run.forward = lambda *_: 1 / 0
        with pytest.raises(ZeroDivisionError):
            one_epoch(run)
    else:
        one_epoch(run)
        assert len(run.history) == 1
    assert run.model.device.type == "meta"
