"""A file is the old checkpoint or the new one, or an error."""

import os
import random
import subprocess
import sys
import time
import warnings
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import ROOT, digest, refused, same

from minivae import (
    CVAE,
    VAE,
    Autoencoder,
    CheckpointError,
    TrainConfig,
    checkpoint,
    fit,
    load_model,
)
from minivae.engine.run import describe


@pytest.fixture(scope="module")
def trained(small, tmp_path_factory):
    """The bytes and the state of the checkpoint of a small run."""
    path = tmp_path_factory.mktemp("run") / "a.pt"
    config = TrainConfig(epochs=1, batch_size=64, device="cpu")
    fit(VAE(2, (8,)), small, config, path, progress=False)
    return path.read_bytes(), checkpoint.load(path)


def test_a_state_comes_back_as_it_was(tmp_path):
    path = tmp_path / "new" / "folder" / "a.pt"
    state = {"a": torch.randn(3), "b": [1, 2.5, "c", None], "d": {"e": True}}
    checkpoint.save(path, state)
    loaded = checkpoint.load(path)
    assert same(loaded, state | {"format": checkpoint.FORMAT})
    checkpoint.save(str(path), {"a": 1})
    assert checkpoint.load(str(path))["a"] == 1
    assert [f.name for f in path.parent.iterdir()] == ["a.pt"]


@pytest.mark.parametrize(
    "model",
    [
        Autoencoder(2, (8,), seed=3),
        VAE(2, (), likelihood="gaussian", beta=0.5),
        CVAE(2, (8,), n_classes=4),
    ],
    ids=lambda m: type(m).__name__,
)
def test_a_model_comes_back_as_it_was(model, tmp_path):
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_()
    state = {
        "model": describe(model),
        "weights": model.state_dict(),
    }
    checkpoint.save(tmp_path / "a.pt", state)
    again = load_model(tmp_path / "a.pt")
    assert type(again) is type(model)
    assert again.options == model.options
    assert same(again.state_dict(), model.state_dict())


def test_the_loaded_model_has_the_averaged_weights(trained, tmp_path):
    path = tmp_path / "a.pt"
    path.write_bytes(trained[0])
    state = trained[1]
    weights = load_model(path).state_dict()
    assert same(weights, state["weights"])
    assert not same(weights, state["moving"])


def test_a_missing_file_is_not_found(tmp_path):
    for read in (checkpoint.load, load_model):
        with refused(tmp_path / "no.pt", FileNotFoundError):
            read(tmp_path / "no.pt")


def test_truncated_files_are_refused(trained, tmp_path):
    path, content = tmp_path / "a.pt", trained[0]
    ends = {*range(4), *range(0, len(content), len(content) // 40)}
    for end in {*ends, *(len(content) - n for n in (1, 2, 22, 23, 100))}:
        path.write_bytes(content[:end])
        with refused(path, CheckpointError):
            checkpoint.load(path)


def test_flipped_bits_never_load_other_weights(trained, tmp_path):
    path, (content, state) = tmp_path / "a.pt", trained
    draw, found = random.Random(0), 0
    for _ in range(60):
        damaged = bytearray(content)
        damaged[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            # a bit between the records may change nothing
            assert same(checkpoint.load(path), state, "no exception")
        except CheckpointError as error:
            found += 1
            assert str(path) in str(error)
    assert found >= 50
    damaged = bytearray(content)
    middle = len(content) // 2
    damaged[middle : middle + 4096] = bytes(4096)
    path.write_bytes(damaged)
    with refused(path, CheckpointError):
        checkpoint.load(path)


@pytest.mark.parametrize(
    "what",
    [
        b"",
        b"a letter\n" * 100,
        torch.zeros(3),
        {"weights": torch.zeros(3)},
        {"format": "1"},
        [1],
        "folder",
        "archive",
    ],
    ids=lambda w: f"{w!r:.15}",
)
def test_what_is_not_a_checkpoint_is_refused(what, tmp_path):
    path = tmp_path / "a.pt"
    if what == "folder":
        path.mkdir()
    elif what == "archive":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.txt", "a letter")
    elif isinstance(what, bytes):
        path.write_bytes(what)
    else:
        torch.save(what, path)
    for read in (checkpoint.load, load_model):
        with refused(path, CheckpointError):
            read(path)


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_checkpoint_is_refused_and_not_run(legacy, tmp_path):
    path, ran = tmp_path / "a.pt", tmp_path / "ran"
    state = {"format": 1, "model": Malicious(ran)}
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    with refused(path, CheckpointError) as caught:
        load_model(path)
    assert not ran.exists()
    # nobody is told how to run it nevertheless
    assert "weights_only" not in str(caught.value)
    assert "weights only" not in str(caught.value).lower()


def test_a_newer_format_says_upgrade(trained, tmp_path):
    path, newer = tmp_path / "a.pt", {"format": checkpoint.FORMAT + 1}
    torch.save(trained[1] | newer, path)
    with refused(path, CheckpointError) as caught:
        checkpoint.load(path)
    assert "upgrade" in str(caught.value)


@pytest.mark.parametrize(
    "part, value",
    [
        ("model", {"class": "GAN", "options": {}}),
        ("model", {"class": "VAE", "options": {"n_latent": 0}}),
        ("model", {"class": "VAE", "options": {"no": 1}}),
        ("model", {"class": "VAE", "options": {"n_latent": 3}}),
        ("model", None),
        ("weights", {}),
        ("weights", None),
    ],
)
def test_a_model_that_cannot_be_built_is_refused(
    part, value, trained, tmp_path
):
    path = tmp_path / "a.pt"
    checkpoint.save(path, trained[1] | {part: value})
    with refused(path, CheckpointError):
        load_model(path)


def test_an_impossible_place_is_refused(tmp_path):
    tmp_path.joinpath("file").write_text("old")
    tmp_path.joinpath("folder").mkdir()
    for name in ("file/a.pt", "folder", "n" * 300):
        with pytest.raises(CheckpointError):
            checkpoint.save(tmp_path / name, {"a": 1})
    with refused(tmp_path, CheckpointError):
        checkpoint.save(tmp_path / "file" / "a.pt", {"a": 1})
    left = sorted(f.name for f in tmp_path.rglob("*"))
    assert left == ["file", "folder"]
    assert tmp_path.joinpath("file").read_text() == "old"


def break_save(state, file):
    with open(file, "wb") if isinstance(file, os.PathLike) else file as stream:
        stream.write(b"PK half of a file")
    raise OSError(28, "No space left on device")


def break_replace(source, target):
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize(
    "where, how", [("torch.save", break_save), ("os.replace", break_replace)]
)
def test_a_failing_write_leaves_the_old_file(
    where, how, trained, tmp_path, monkeypatch
):
    path = tmp_path / "a.pt"
    path.write_bytes(trained[0])
    before = digest(path)
    monkeypatch.setattr(where, how)
    with refused(path, CheckpointError):
        checkpoint.save(path, {"a": 1})
    assert digest(path) == before
    assert [f.name for f in tmp_path.iterdir()] == ["a.pt"]


def test_an_interrupted_write_leaves_the_old_file(
    trained, tmp_path, monkeypatch
):
    def interrupt(state, stream):
        stream.write(b"PK half of a file")
        raise KeyboardInterrupt

    path = tmp_path / "a.pt"
    path.write_bytes(trained[0])
    before = digest(path)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("torch.save", interrupt)
        checkpoint.save(path, {"a": 1})
    assert digest(path) == before
    checkpoint.save(path, {"a": 1})
    assert [f.name for f in tmp_path.iterdir()] == ["a.pt"]


def part_of(path, process, machine=None, age=0):
    """What a save to path by this process has written so many seconds ago."""
    mine, number, _ = checkpoint._prefix(path).rsplit("-", 2)
    assert number == str(os.getpid())
    start = f".{path.name}.{machine}" if machine else mine
    part = path.with_name(f"{start}-{process}-{age:08x}.part")
    part.write_bytes(b"half")
    os.utime(part, (0, time.time() - age))
    return part


def dead_process():
    """The number of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_parts_of_killed_saves_are_removed_and_others_stay(tmp_path):
    path, dead, alive = tmp_path / "a.pt", dead_process(), os.getppid()
    stay = {
        part_of(path, alive, age=540),
        part_of(path, os.getpid(), age=540),  # of another thread
        part_of(path, dead, machine="00000000", age=540),  # who knows
        part_of(tmp_path / "b.pt", dead, age=6000),
        part_of(tmp_path / "a", dead, age=6000),
    }
    part_of(path, dead)
    part_of(path, alive, age=660)
    part_of(path, dead, machine="00000000", age=660)
    for name, age in ((".a.pt.17.part", 660), (".a.pt.18.part", 540)):
        old = tmp_path / name  # as release 0.1 named them
        old.write_bytes(b"half")
        os.utime(old, (0, time.time() - age))
    checkpoint.save(path, {"a": 1})
    assert set(tmp_path.iterdir()) == stay | {path, old}


MANY_SAVES = """
import sys, torch
from minivae import checkpoint
torch.set_num_threads(1)
path = sys.argv[1]
print("ready", flush=True)
sys.stdin.readline()
for _ in range(300):
    checkpoint.save(path, {"w": torch.zeros(200_000)})
"""


def test_two_processes_may_save_to_one_file_at_once(tmp_path):
    path = tmp_path / "x.pt"
    both = [
        subprocess.Popen(
            [sys.executable, "-c", MANY_SAVES, str(path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:  # neither begins before the other is there
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert torch.equal(checkpoint.load(path)["w"], torch.zeros(200_000))
    assert [f.name for f in tmp_path.iterdir()] == ["x.pt"]


def test_the_bytes_reach_the_disk_before_the_name(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        call = getattr(os, name)

        def spy(*args, name=name, call=call):
            calls.append(name)
            return call(*args)

        monkeypatch.setattr(os, name, spy)
    checkpoint.save(tmp_path / "a.pt", {"a": 1})
    assert calls == ["fsync", "replace"]


def test_a_file_of_the_first_format_still_loads_and_goes_on(small, tmp_path):
    path = tmp_path / "old.pt"
    path.write_bytes((ROOT / "tests/data/format-1.pt").read_bytes())
    model = load_model(path)
    assert model.options["hidden"] == (4,)
    # the training that wrote it printed these losses
    known = [552.7198681640625, 548.6691577148438]
    assert checkpoint.load(path)["history"]["loss"] == known
    config = TrainConfig(
        epochs=3, batch_size=64, lr=0.002, warmup=5, device="cpu"
    )
    history = fit(CVAE(2, (4,)), small, config, path, False)
    assert history.loss[:2] == known
    assert history.loss[2] < known[1]
    assert checkpoint.load(path)["format"] == checkpoint.FORMAT == 3


def test_a_file_of_the_second_format_still_loads_and_goes_on(small, tmp_path):
    path = tmp_path / "old.pt"
    path.write_bytes((ROOT / "tests/data/format-2.pt").read_bytes())
    model, saved = load_model(path), checkpoint.load(path)
    assert type(model) is CVAE
    name = "likelihood.log_sigma"
    assert model.likelihood.log_sigma == saved["weights"][name] != 0
    assert (model.conditions, model.condition_dropout) == ((10, 1), 0.25)
    # it was stopped inside the second epoch
    assert (saved["epoch"], saved["step"]) == (1, 6)
    ink = small.images.float().mean((1, 2)) / 255
    told = torch.stack([small.labels.float(), ink], 1)
    options = {"conditions": (10, 1), "likelihood": "gaussian"}
    model = CVAE(2, (4,), condition_dropout=0.25, **options)
    config = TrainConfig(
        epochs=3, batch_size=64, lr=0.002, warmup=5, device="cpu"
    )
    data = replace(small, conditions=told)
    history = fit(model, data, config, path, False)
    # the release that wrote the file, not stopped, printed these
    known = [804.4395874023437, 798.3928466796875, 786.4808178710938]
    assert history.loss == pytest.approx(known, rel=1e-4)
    assert history.kl == pytest.approx([0.0413, 0.1628, 0.3347], abs=1e-4)
    assert checkpoint.load(path)["format"] == checkpoint.FORMAT
    assert same(load_model(path).state_dict(), model.state_dict())


def downgraded(state, form):
    """A state as the releases of the older formats wrote it."""

    def renamed(weights):
        name, *names = [k for k in weights if "log_sigma" in k] + [
            k for k in weights if "log_sigma" not in k
        ]
        return {"log_sigma": weights[name]} | {k: weights[k] for k in names}

    old = dict(state["model"]["options"])
    old["n_pixels"] = 784
    for name in ("network", "encoder", "decoder", "prior", "shape"):
        del old[name]
    state = state | {
        "format": form,
        "model": {"class": "VAE", "options": old},
        "weights": renamed(state["weights"]),
        "moving": renamed(state["moving"]),
    }
    names = list(state["weights"])
    kept = {names.index(k): v for k, v in state["optimizer"].items()}
    parts = {"mean": "exp_avg", "square": "exp_avg_sq", "steps": "step"}
    if form == 1:
        state["optimizer"] = {"state": kept, "param_groups": [{"lr": 0.002}]}
        for name in ("decay", "precision", "compile"):
            del state["config"][name]
        del state["sums"]
    else:
        state["optimizer"] = {
            old: [v[new] for v in kept.values()] for old, new in parts.items()
        }
        state["sums"] = []
    del state["seconds"]
    return state


@pytest.mark.parametrize("form", [1, 2])
def test_a_fixed_sigma_of_an_older_format_goes_on_bit_for_bit(
    form, small, tmp_path
):
    path, options = tmp_path / "a.pt", {"likelihood": "gaussian", "sigma": 0.3}
    config = TrainConfig(epochs=2, batch_size=64, device="cpu")
    whole, again = VAE(2, (4,), **options), VAE(2, (4,), **options)
    fit(whole, small, config, progress=False)
    fit(again, small, replace(config, epochs=1), path, False)
    state = downgraded(checkpoint.load(path), form)
    assert len(state["weights"]) == 9  # of which Adam changes eight
    checkpoint.save(path, state)
    assert same(load_model(path).state_dict(), again.state_dict())
    again = VAE(2, (4,), seed=0, **options)
    fit(again, small, config, path, False)
    assert same(again.state_dict(), whole.state_dict())


def test_a_file_of_the_first_format_may_hold_a_model_alone(tmp_path):
    path, model = tmp_path / "old.pt", VAE(2, (4,))
    state = {
        "model": describe(model),
        "weights": model.state_dict(),
    }
    old = state["model"]["options"]
    for name in ("network", "encoder", "decoder", "prior", "shape"):
        del old[name]
    old["n_pixels"] = 784
    checkpoint.save(path, state | {"format": 1})
    assert checkpoint.load(path)["format"] == 1
    there = load_model(path).state_dict()
    assert same(there, dict(model.state_dict()))


def test_what_torch_cannot_write_is_named(tmp_path, monkeypatch):
    def refuse(*args):
        raise RuntimeError("out of ink")

    monkeypatch.setattr("torch.save", refuse)
    with pytest.raises(CheckpointError, match=r"a\.pt.*\(out of ink\)"):
        checkpoint.save(tmp_path / "a.pt", {"a": 1})


def test_whatever_it_was_saved_on_a_file_is_read_onto_the_cpu(
    tmp_path, monkeypatch
):
    places, load = [], checkpoint.torch.load

    def spy(*args, **options):
        places.append(options.get("map_location"))
        return load(*args, **options)

    checkpoint.save(tmp_path / "a.pt", {"a": torch.zeros(2)})
    monkeypatch.setattr("torch.load", spy)
    checkpoint.load(tmp_path / "a.pt")
    assert places == ["cpu"]


def test_a_model_goes_to_the_device_that_was_asked_for(tmp_path):
    model = VAE(2, (4,))
    state = {
        "model": describe(model),
        "weights": model.state_dict(),
    }
    checkpoint.save(tmp_path / "a.pt", state)
    there = load_model(tmp_path / "a.pt", "meta")  # a device without numbers
    assert {w.device.type for w in there.parameters()} == {"meta"}


def test_folders_of_folders_are_made(tmp_path):
    path = tmp_path / "a" / "b" / "c.pt"
    checkpoint.save(path, {"n": 1})
    assert checkpoint.load(path)["n"] == 1


def test_a_save_leaves_the_parts_of_other_files_alone(tmp_path):
    other = tmp_path / ".other.pt.1.part"
    other.write_bytes(b"")
    os.utime(other, (0, 0))  # even if it is old
    checkpoint.save(tmp_path / "a.pt", {"n": 1})
    assert other.exists()


def test_two_checkpoints_in_one_file_are_none(tmp_path):
    for name in ("a", "b"):
        checkpoint.save(tmp_path / f"{name}.pt", {"n": name})
    path = tmp_path / "both.pt"
    both = [(tmp_path / f"{name}.pt").read_bytes() for name in ("a", "b")]
    path.write_bytes(b"".join(both))
    with refused(path, CheckpointError):
        checkpoint.load(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_no_checkpoint_and_is_not_waited_for(tmp_path):
    path = tmp_path / "a.pt"
    os.mkfifo(path)
    end = os.open(path, os.O_RDWR)  # else a faulty load would wait for ever
    try:
        with refused(path, CheckpointError) as caught:
            checkpoint.load(path)
    finally:
        os.close(end)
    assert "it is not a file" in str(caught.value)


def test_two_records_of_one_name_are_refused(trained, tmp_path):
    path = tmp_path / "a.pt"
    path.write_bytes(trained[0])
    with zipfile.ZipFile(path) as archive:
        name = archive.namelist()[0]
        content = archive.read(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile notices it too
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(name, content)
    with refused(path, CheckpointError):
        checkpoint.load(path)


@pytest.mark.parametrize(
    "value",
    [
        np.float64(0.5),
        np.int64(3),
        np.zeros(2),
        ROOT,
        lambda: 0,
        object(),
    ],
    ids=lambda v: type(v).__name__,
)
def test_what_could_not_be_read_is_not_written(value, tmp_path):
    path = tmp_path / "a.pt"
    checkpoint.save(path, {"a": 1})
    before = digest(path)
    with refused("state:", TypeError) as caught:
        checkpoint.save(path, {"b": [value]})
    assert "numbers" in str(caught.value)
    assert digest(path) == before
    assert [f.name for f in tmp_path.iterdir()] == ["a.pt"]
    # as a number of Python it is welcome
    if isinstance(value, np.generic):
        checkpoint.save(path, {"b": [value.item()]})
        assert checkpoint.load(path)["b"] == [value.item()]
