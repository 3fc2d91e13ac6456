"""The command line trains, scores, draws, and says what is wrong."""

import json
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import ROOT, close, digest, same

import minivae.__main__ as command
from minivae import (
    CVAE,
    VAE,
    Classifier,
    checkpoint,
    evaluate,
    load_digits,
    load_model,
    log_likelihood,
    sample,
)
from minivae.__main__ import main, parser
from minivae.engine.run import Run, describe
from minivae.likelihoods import LIKELIHOODS

SMALL = "--data builtin --n-latent 2 --hidden 16 --device cpu --epochs"


def train(path, model, epochs=1, *more):
    words = f"train --model {model} {SMALL} {epochs} --checkpoint".split()
    return main([*words, str(path), *more])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with ae.pt, vae.pt, cvae.pt, and others from Python."""
    folder = tmp_path_factory.mktemp("runs")
    for model in ("ae", "vae", "cvae"):
        assert train(folder / f"{model}.pt", model) == 0
    others = {
        "told": CVAE(2, (16,), conditions=(10, 1)),
        "colour": VAE(2, (8,), shape=(3, 8, 8)),
        "table": VAE(2, (8,), shape=(7,), likelihood="gaussian"),
        "own": VAE(2, (8,), decoder=torch.nn.Linear(2, 784)),
        "reader": Classifier(),
    }
    for name, model in others.items():
        state = {"model": describe(model), "weights": model.state_dict()}
        checkpoint.save(folder / f"{name}.pt", state)
    return folder


def last_json(capsys):
    line = capsys.readouterr().out.splitlines()[-1]
    try:
        return json.loads(line, parse_constant=pytest.fail)  # no NaN
    except json.JSONDecodeError:
        pytest.fail(f"not JSON: {line}")


@pytest.mark.slow
def test_the_module_runs_as_a_command(tmp_path, capsys):
    path = str(tmp_path / "a.pt")
    words = f"-m minivae train --model cvae {SMALL} 2 --json --checkpoint"
    result = subprocess.run(
        [sys.executable, *words.split(), path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    trained = json.loads(result.stdout.splitlines()[-1])
    words = "evaluate --data builtin --samples 1 --json --checkpoint"
    assert main([*words.split(), path]) == 0
    close(last_json(capsys)["elbo"], trained["test"]["elbo"], 1e-6)


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, capsys):
    whole, halves = tmp_path / "whole.pt", tmp_path / "halves.pt"
    train(whole, "vae", 3)
    train(halves, "vae", 1)
    train(halves, "vae", 3)
    assert same(checkpoint.load(whole), checkpoint.load(halves))
    capsys.readouterr()
    assert train(halves, "vae", 3, "--json") == 0
    out = capsys.readouterr().out.splitlines()
    assert any("already at epoch 3 of 3" in line for line in out)
    assert json.loads(out[-1])["epochs"] == 3


def test_training_ends_with_what_came_out(tmp_path, capsys):
    path = tmp_path / "a.pt"
    assert train(path, "vae", 2, "--json", "--seed", "3", "--beta", "2") == 0
    result = last_json(capsys)
    model, test = load_model(path), load_digits("builtin", "test")
    state = checkpoint.load(path)
    assert result["test"] == evaluate(model, test)
    assert result["loss"] == state["history"]["loss"][-1]
    assert result["digits_per_second"] > 0
    assert (result["model"], result["data"]) == ("vae", "builtin")
    assert (result["epochs"], result["checkpoint"]) == (2, str(path))
    options = model.options
    assert (options["seed"], options["beta"]) == (3, 2)
    assert (options["n_latent"], options["hidden"]) == (2, (16,))
    assert (state["config"]["seed"], state["config"]["epochs"]) == (3, 2)


def test_a_beta_of_0_is_a_beta(tmp_path):
    assert train(tmp_path / "a.pt", "vae", 1, "--beta", "0") == 0
    assert load_model(tmp_path / "a.pt").options["beta"] == 0


def test_of_several_processes_the_first_one_prints(monkeypatch, runs, capsys):
    words = ["evaluate", "--checkpoint", str(runs / "ae.pt")]
    for rank in range(2):
        shared = partial(nullcontext, SimpleNamespace(rank=rank))
        monkeypatch.setattr(command, "processes", shared)
        assert main([*words, "--data", "builtin"]) == 0
        assert bool(capsys.readouterr().out) == (rank == 0)


@pytest.mark.parametrize("name", ["ae", "vae", "cvae"])
def test_evaluate_gives_the_documented_scores(name, runs, capsys):
    path = str(runs / f"{name}.pt")
    words = ["evaluate", "--checkpoint", path, "--data", "builtin"]
    assert main([*words, "--samples", "7", "--json"]) == 0
    result = last_json(capsys)
    keys = "elbo reconstruction kl log_likelihood n data"
    assert result.keys() == set(keys.split())
    assert (result["n"], result["data"]) == (359, "builtin")
    model, test = load_model(path), load_digits("builtin", "test")
    expected = evaluate(model, test)
    if name == "ae":
        expected |= dict.fromkeys(("elbo", "kl", "log_likelihood"))
    else:
        expected["log_likelihood"] = log_likelihood(model, test, 7)
    assert expected.items() <= result.items()
    assert main([*words, "--samples", "7"]) == 0
    assert f"elbo: {result['elbo']}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name, more, y",
    [
        ("vae", "", None),
        ("told", "", None),
        ("cvae", "--digit 5", 5),
        ("cvae", "--digit 0", 0),
    ],
)
def test_sample_writes_what_the_library_draws(
    name, more, y, runs, tmp_path, capsys
):
    out, path = tmp_path / "a.npy", str(runs / f"{name}.pt")
    words = f"sample --n 6 --seed 2 {more} --json --out".split()
    assert main([*words, str(out), "--checkpoint", path]) == 0
    assert last_json(capsys)["n"] == 6
    images = np.load(out)
    assert (images.dtype, images.shape) == (np.float32, (6, 28, 28))
    assert images.min() >= 0
    assert images.max() <= 1
    expected = sample(load_model(path), 6, y, 2)
    assert np.array_equal(images, expected.numpy())


def test_sample_draws_all_digits_in_turn_as_a_picture(runs, tmp_path):
    at = ["--checkpoint", str(runs / "cvae.pt"), "--out"]
    assert main(["sample", "--n", "12", *at, str(tmp_path / "a.npy")]) == 0
    y = np.load(tmp_path / "a.npy")
    one = sample(load_model(runs / "cvae.pt"), 12, 1)
    assert np.allclose(y[[1, 11]], one[[1, 11]])
    assert not np.allclose(y[2], one[2])
    assert main(["sample", "--n", "1", *at, str(tmp_path / "b.npy")]) == 0
    assert np.load(tmp_path / "b.npy").shape == (1, 28, 28)
    assert main(["sample", *at, str(tmp_path / "a.png")]) == 0
    assert tmp_path.joinpath("a.png").read_bytes()[:4] == b"\x89PNG"


def test_colours_and_rows_are_written_as_the_model_has_them(runs, tmp_path):
    words = ["sample", "--n", "5", "--checkpoint"]
    for name, shape in (("colour", (5, 3, 8, 8)), ("table", (5, 7))):
        out = tmp_path / f"{name}.npy"
        path = str(runs / f"{name}.pt")
        assert main([*words, path, "--out", str(out)]) == 0
        assert np.load(out).shape == shape
    path, out = str(runs / "colour.pt"), tmp_path / "a.png"
    assert main([*words, path, "--out", str(out)]) == 0
    assert out.read_bytes()[:4] == b"\x89PNG"


def test_what_reads_digits_can_be_scored_too(runs, capsys):
    words = ["evaluate", "--data", "builtin", "--json", "--checkpoint"]
    assert main([*words, str(runs / "reader.pt")]) == 0
    result = last_json(capsys)
    model, test = (
        load_model(runs / "reader.pt"),
        load_digits("builtin", "test"),
    )
    assert result["loss"] == evaluate(model, test)["loss"]
    assert result["elbo"] is result["log_likelihood"] is None


NETWORK = "--network conv --hidden 4 8 16"


@pytest.mark.parametrize(
    "model, more, expected",
    [
        ("vae", NETWORK, {"network": "conv", "hidden": (4, 8, 16)}),
        ("cvae", NETWORK, {"network": "conv", "n_classes": 10}),
        ("ae", NETWORK, {"network": "conv"}),
        (
            "vae",
            "--likelihood discretized_logistic",
            {"likelihood": "discretized_logistic", "prior": "standard"},
        ),
        (
            "vae",
            f"--likelihood discretised_logistic {NETWORK}",
            {"likelihood": "discretised_logistic"},
        ),
        (
            "vae",
            "--likelihood continuous_bernoulli --prior standard",
            {"likelihood": "continuous_bernoulli", "prior": "standard"},
        ),
        (
            "vae",
            "--likelihood categorical --hidden 4",
            {"likelihood": "categorical", "hidden": (4,)},
        ),
        (
            "vae",
            "--likelihood gaussian --sigma each",
            {"likelihood": "gaussian", "sigma": "each"},
        ),
        (
            "cvae",
            "--likelihood gaussian --sigma 0.25",
            {"likelihood": "gaussian", "sigma": 0.25},
        ),
        ("vae", "--shape 784", {"shape": (784,)}),
        ("vae", "--shape 1 28 28", {"shape": (1, 28, 28)}),
        ("vae", "", {"shape": (1, 28, 28), "network": "mlp"}),
    ],
    ids=str,
)
@pytest.mark.slow
def test_every_kind_is_trained_scored_and_drawn(
    model, more, expected, tmp_path, capsys
):
    path, out = tmp_path / "a.pt", tmp_path / "a.npy"
    assert train(path, model, 1, "--json", *more.split()) == 0
    trained = last_json(capsys)["test"]
    found = load_model(path)
    assert expected.items() <= found.options.items()
    words = ["evaluate", "--checkpoint", str(path), "--data", "builtin"]
    assert main([*words, "--samples", "2", "--json"]) == 0
    scores = last_json(capsys)
    assert scores["reconstruction"] == trained["reconstruction"]
    if model != "ae":
        assert scores["log_likelihood"] > scores["elbo"] - 5
        words = ["sample", "--checkpoint", str(path), "--out", str(out)]
        assert main([*words, "--n", "3"]) == 0
        shape = (784,) if found.shape == (784,) else (28, 28)
        assert np.load(out).shape == (3, *shape)


def options_of(one):
    """The name of each option or command of a parser, and its action."""
    for action in one._actions:
        yield f"{one.prog} {'/'.join(action.option_strings)}", action
        if action.dest == "command":
            for inner in action.choices.values():
                yield from options_of(inner)


def test_every_option_has_a_help_text_and_names_its_default():
    found = dict(options_of(parser()))
    assert len(found) > 30
    for name, action in found.items():
        if action.dest == "command":  # its choices have texts instead
            texts = [one.help for one in action._choices_actions]
            assert len(texts) == len(action.choices) == 3
            assert all(texts)
            continue
        assert action.help and len(action.help) > 4, name
        assert not action.help.endswith("."), name
    (commands,) = (a for a in found.values() if a.dest == "command")
    text = commands.choices["train"].format_help()
    assert "(default: 0.0)" in text  # of --decay, which is not nothing
    assert "(default: None)" not in text and "(default: False)" not in text


def test_the_command_line_knows_every_likelihood_and_option_of_a_run():
    words = {flag for name, _ in options_of(parser()) for flag in name.split()}
    assert {"--network", "--prior", "--shape", "--sigma"} <= words
    for name in LIKELIHOODS:
        line = f"train --model vae --likelihood {name}".split()
        assert parser().parse_args(line).likelihood == name


# float32: without instructions for bf16, a line would say so
TRAIN = "train --model vae --data builtin --epochs 1 --device cpu"
TRAIN += " --precision float32"
BAD = [
    ("", "command"),
    ("--hel", "command"),
    ("paint", "paint"),
    ("train", "--model"),
    ("train --model gan", "gan"),
    (f"{TRAIN} --foo 1", "--foo"),
    (f"{TRAIN} --epoch 1", "--epoch"),
    (f"{TRAIN} --data nowhere", "nowhere"),
    (f"{TRAIN} --epochs 0", "epochs"),
    (f"{TRAIN} --epochs 2.5", "epochs"),
    (f"{TRAIN} --batch-size 0", "batch_size"),
    (f"{TRAIN} --lr 0", "lr"),
    (f"{TRAIN} --lr nan", "lr"),
    (f"{TRAIN} --seed -1", "seed"),
    (f"{TRAIN} --seed 1.5", "seed"),
    (f"{TRAIN} --n-latent 0", "n_latent"),
    (f"{TRAIN} --hidden 0", "hidden"),
    (f"{TRAIN} --n-latent {10**12}", "n_latent"),
    (f"{TRAIN} --hidden {2**62}", "hidden"),
    (f"{TRAIN} --beta -1", "beta"),
    (f"{TRAIN} --beta nan", "beta"),
    (f"{TRAIN} --sigma 0.1", "sigma"),
    (f"{TRAIN} --sigma each", "sigma"),
    (f"{TRAIN} --likelihood gaussian --sigma all", "--sigma"),
    (f"{TRAIN} --likelihood gaussian --sigma 0", "sigma"),
    (f"{TRAIN} --likelihood gaussian --sigma nan", "sigma"),
    (f"{TRAIN} --likelihood categorical --sigma 1", "sigma"),
    (f"{TRAIN} --network cnn", "cnn"),
    (f"{TRAIN} --network conv --hidden 16", "hidden"),
    (f"{TRAIN} --network conv --shape 784", "shape"),
    (f"{TRAIN} --prior flat", "flat"),
    (f"{TRAIN} --shape 0", "shape"),
    (f"{TRAIN} --shape 2.5", "shape"),
    (f"{TRAIN} --shape", "shape"),
    (f"{TRAIN} --shape 3 28 28", "shape"),
    (f"{TRAIN} --shape 783", "shape"),
    (f"{TRAIN} --model ae --prior standard", "--prior"),
    (f"{TRAIN} --model ae --likelihood bernoulli", "--likelihood"),
    (f"{TRAIN} --likelihood poisson", "poisson"),
    (f"{TRAIN} --device gpu", "device"),
    (f"{TRAIN} --device cuda:99", "device"),
    (f"{TRAIN} --checkpoint=", "checkpoint"),
    (f"{TRAIN} --checkpoint RUNS/vae.pt/a.pt", "vae.pt"),
    (f"{TRAIN} --checkpoint RUNS/vae.pt", "n_latent"),
    (f"{TRAIN} --model ae --beta 2", "--beta"),
    (f"{TRAIN} --model ae --beta 0", "--beta"),
    (f"{TRAIN} --model ae --n-samples 2", "--n-samples"),
    (f"{TRAIN} --model ae --free-bits 1", "--free-bits"),
    ("evaluate", "--checkpoint"),
    ("evaluate --data builtin --checkpoint RUNS/no.pt", "no.pt"),
    ("evaluate --data builtin --checkpoint RUNS", "checkpoint"),
    ("evaluate --data builtin --checkpoint=", "checkpoint"),
    (
        "evaluate --data builtin --checkpoint RUNS/vae.pt --samples 0",
        "n_samples",
    ),
    ("evaluate --data builtin --checkpoint RUNS/vae.pt --device x", "device"),
    ("sample --checkpoint RUNS/vae.pt", "--out"),
    ("sample --checkpoint RUNS/vae.pt --out RUNS/a.gif", "--out"),
    ("sample --checkpoint RUNS/vae.pt --out=", "--out"),
    ("sample --checkpoint RUNS/vae.pt --out RUNS/no/a.png", "--out"),
    ("sample --checkpoint RUNS/vae.pt --out RUNS/a.npy --n 0", "n:"),
    (f"sample --checkpoint RUNS/vae.pt --out RUNS/a.npy --n {10**15}", "n:"),
    (f"sample --checkpoint RUNS/cvae.pt --out RUNS/a.npy --n {10**15}", "--n"),
    ("sample --checkpoint RUNS/vae.pt --out RUNS/a.npy --seed -1", "seed:"),
    ("sample --checkpoint RUNS/vae.pt --out RUNS/a.npy --digit 5", "y:"),
    ("sample --checkpoint RUNS/ae.pt --out RUNS/a.npy", "model:"),
    ("sample --checkpoint RUNS/cvae.pt --out RUNS/a.npy --digit 10", "y:"),
    ("sample --checkpoint RUNS/cvae.pt --out RUNS/a.npy --digit -1", "y:"),
    ("sample --checkpoint RUNS/told.pt --out RUNS/a.npy --digit 5", "--digit"),
    ("evaluate --data builtin --checkpoint RUNS/told.pt", "error: --ch"),
    ("evaluate --data builtin --checkpoint RUNS/colour.pt", "(3, 8, 8)"),
    ("evaluate --data builtin --checkpoint RUNS/own.pt", "load_model"),
    ("sample --checkpoint RUNS/own.pt --out RUNS/a.npy", "load_model"),
    ("sample --checkpoint RUNS/reader.pt --out RUNS/a.npy", "model:"),
    ("sample --checkpoint RUNS/table.pt --out RUNS/a.png", "--out"),
    (f"{TRAIN} --kl-warmup -1", "kl_warmup"),
    ("sample --checkpoint RUNS/no.pt --out RUNS/a.npy", "no.pt"),
]


@pytest.mark.parametrize("words, named", BAD, ids=[w for w, _ in BAD])
def test_bad_options_end_with_status_2_and_one_clear_line(
    words, named, runs, capsys
):
    before = {f: digest(f) for f in runs.iterdir()}
    try:
        status = main([w.replace("RUNS", str(runs)) for w in words.split()])
    except SystemExit as stop:  # argparse has found it
        status = stop.code
    except Exception as error:
        pytest.fail(f"a traceback instead of a line: {error!r}")
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    (line,) = [one for one in err.splitlines() if "error: " in one]
    assert line == err.splitlines()[-1]
    assert named in line
    assert len(line) <= 420
    if line.startswith("error: "):  # our own: no usage before it
        assert err == line + "\n"
    assert {f: digest(f) for f in runs.iterdir()} == before


@pytest.mark.parametrize(
    "number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
@pytest.mark.parametrize("step", [3, 14])  # in the first epoch, the second
def test_a_signal_ends_with_its_status_and_a_checkpoint(
    step, number, status, monkeypatch, tmp_path
):
    path, update = tmp_path / "a.pt", Run.update_average

    def spy(run):
        if run.step == step:
            os.kill(os.getpid(), number)
        update(run)

    monkeypatch.setattr(Run, "update_average", spy)
    try:
        found = train(path, "vae", 2)
    except SystemExit as stopped:
        found = stopped.code
    assert found == status
    assert checkpoint.load(path)["step"] == step + 1
