"""What the loop runs on: precision, compiler, signals, several processes."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import ROOT, close, digest, refused, same
from test_train import CONFIG, build, go, one_epoch, spoil, stop_at

from minivae import (
    VAE,
    CheckpointError,
    History,
    TrainConfig,
    batches,
    checkpoint,
    engine,
    evaluate,
    few_labels,
    fit,
    load_model,
)
from minivae.completion import quadrants
from minivae.engine import device as devices
from minivae.engine.device import pick_compile, pick_precision
from minivae.engine.run import Run
from minivae.engine.signals import Stop
from minivae.likelihoods import Bernoulli

pytestmark = pytest.mark.usefixtures("ends")
CPU = torch.device("cpu")
LATER = ("mixture", "vamp", "conditional", "iwae", "free", "pixels", "m2")


def told(kind, digits):
    """The digits with what a model of this kind is told."""
    return few_labels(digits, 10, share=0.5) if kind == "m2" else digits


LARGE = {"hidden": (128,)}  # more than devices.N_WEIGHTS
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


# --- precision and compiler


def test_small_networks_and_exact_ones_stay_in_float32(monkeypatch, capsys):
    monkeypatch.setattr(devices, "has_bf16", lambda device: True)

    def pick(model, wanted="auto"):
        return pick_precision(wanted, model, CPU)

    assert pick(build(**LARGE)) == torch.bfloat16
    assert pick(build()) == torch.float32
    assert pick(build(**LARGE).double()) == torch.float32
    assert pick(build("ae", **LARGE)) == torch.float32
    assert pick(build(**LARGE, likelihood="gaussian")) == torch.float32
    assert pick(build(**LARGE), "float32") == torch.float32
    assert pick(build(), "bfloat16") == torch.bfloat16
    monkeypatch.setattr(devices, "has_bf16", lambda device: False)
    monkeypatch.setattr(devices, "_told", set())
    for _ in range(3):
        assert pick(build(**LARGE)) == torch.float32
    assert capsys.readouterr().err == (
        "No fast bf16 on this cpu: using float32\n"
    )
    assert pick(build()) == torch.float32
    assert capsys.readouterr().err == ""


def test_bf16_is_chosen_only_where_it_is_faster(monkeypatch):
    for found, faster in (
        ({"avx512_bf16"}, True),
        ({"avx512_bf16", "avx512_fp16"}, False),  # its AMX is hidden
        ({"avx512_bf16", "avx512_fp16", "amx_bf16"}, True),
        ({"bf16"}, True),
        (set(), False),
    ):
        monkeypatch.setattr(
            devices, "_instructions", lambda found=found: found
        )
        assert engine.has_bf16(CPU) == faster, found
        assert not engine.has_bf16(torch.device("mps"))


def test_instructions_count_only_if_the_library_knows_bf16(monkeypatch):
    known = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    for names in ({"avx512_bf16", "avx2"}, {"avx2"}):
        found = dict.fromkeys(names, True) | {"amx_bf16": False}
        monkeypatch.setattr(
            torch.cpu, "get_capabilities", lambda found=found: found
        )
        right = names if "avx512_bf16" in names and known else set()
        assert devices._instructions() == right


def test_only_long_runs_of_large_networks_are_compiled():
    def pick(model, n, wanted="auto", device="cpu"):
        return pick_compile(wanted, model, torch.device(device), n)

    long, model = engine.PAYS_FROM["cpu"], build(**LARGE)
    assert pick(model, long)
    assert not pick(model, long - 1)
    assert not pick(build(), long)
    assert not pick(model, 10**12, device="mps")
    assert not pick(model, long, "no")
    assert pick(build(), 1, "yes")


def terms_in(precision, model, data, compile="no"):
    """The terms of one batch of all the data, in this precision."""
    config = replace(
        CONFIG, batch_size=len(data), precision=precision, compile=compile
    )
    run = Run(model, data, config, History())
    run.say = pytest.fail
    ((x, y, noise),) = run.batches(0)
    return run.forward(x, y, noise)


@pytest.mark.parametrize(
    "has, device, precision, before, inside",
    [
        (False, "cpu", "auto", "highest", "medium"),
        (True, "cpu", "auto", "highest", "highest"),
        (False, "cpu", "float32", "highest", "highest"),
        (False, "cpu", "bfloat16", "highest", "highest"),
        (False, "cpu", "auto", "high", "high"),  # what the user has chosen
        (False, "cuda", "auto", "highest", "highest"),
    ],
)
def test_a_faster_product_is_taken_where_it_is_as_exact_and_given_back(
    has, device, precision, before, inside, monkeypatch
):
    found = {"avx512_bf16"} if has else {"avx2"}
    monkeypatch.setattr(devices, "_instructions", lambda: found)
    now = torch.get_float32_matmul_precision
    normal = now()
    torch.set_float32_matmul_precision(before)
    try:
        with (
            pytest.raises(ZeroDivisionError),
            devices.fast_products(torch.device(device), precision),
        ):
            assert now() == inside
            raise ZeroDivisionError
        assert now() == before
    finally:
        torch.set_float32_matmul_precision(normal)


@pytest.mark.parametrize("kind", ["ae", "vae", "cvae"])
def test_bf16_changes_the_loss_by_little(kind, small):
    model = build(kind, **LARGE)
    exact = terms_in("float32", model, small)
    rough = terms_in("bfloat16", model, small)
    assert rough.keys() == exact.keys()
    for name, value in rough.items():
        # sums of many bf16 numbers are float32: a mean is nearly exact
        assert value.dtype == torch.float32
        close(value.mean(), exact[name].mean(), 2e-3)
        assert not torch.equal(value, exact[name])


@pytest.mark.parametrize("kind", ["vae", *LATER])
def test_bf16_learns_as_float32_does(kind, small):
    finals = []
    for precision in engine.PRECISIONS[1:]:
        model = build(kind, **LARGE)
        data = told(kind, small)
        history = go(model, data, precision=precision, epochs=8)
        assert all(w.dtype == torch.float32 for w in model.parameters())
        finals.append(history.loss[-1])
    close(finals[0], finals[1], 5e-3)
    assert finals[0] != finals[1]


def test_a_compiler_that_fails_is_done_without_and_said_once(
    monkeypatch, small
):
    def broken(module, **options):
        def call(*inputs):
            raise RuntimeError("no C++ compiler")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    said, model, plain = [], build(), build()
    config = replace(CONFIG, compile="yes")
    run = Run(model, small, config, History())
    run.say = said.append
    try:
        for _ in range(2):
            one_epoch(run)
    except RuntimeError:
        pytest.fail("what the compiler raised came through")
    assert len(said) == 1
    assert "torch.compile does not work here" in said[0]
    reference = Run(plain, small, CONFIG, History())
    for _ in range(2):
        one_epoch(reference)
    assert same(vars(run.history), vars(reference.history))
    assert same(model.state_dict(), plain.state_dict())


def test_short_batches_are_never_given_to_the_compiler(monkeypatch, small):
    seen = []

    def spy(module, **options):
        def call(x, y, noise):
            seen.append((len(x), tuple(noise.shape)))
            return module(x, y, noise)

        return call

    monkeypatch.setattr(torch, "compile", spy)
    go(build(), small, compile="yes", epochs=1)
    assert seen == [(64, (64, 2))] * 3


def has_compiler():
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        return bool(get_cpp_compiler())
    except Exception:
        return False


@pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler")
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cvae", *LATER])
def test_compiled_terms_are_the_terms(kind, small):
    model = build(kind, n_latent=3)
    if kind == "pixels":  # else each draws what is given for itself
        given = quadrants(model.shape, 2)
        model.hide = lambda x, noise: x.masked_fill(~given, torch.nan)
    data = told(kind, small[:64])
    plain = terms_in("float32", model, data)
    fast = terms_in("float32", model, data, compile="yes")
    assert fast.keys() == plain.keys()
    for name, value in plain.items():
        # of a KL near zero only rounding is left
        torch.testing.assert_close(fast[name], value, rtol=1e-4, atol=1e-5)


# --- sizes and schedule


def test_batch_and_step_size_follow_the_data():
    few, many = TrainConfig().sized(19_999), TrainConfig().sized(20_000)
    assert (few.batch_size, many.batch_size) == (128, 512)
    close([few.lr, many.lr], [0.002, 0.004])
    given = TrainConfig(batch_size=32, lr=0.01).sized(60_000)
    assert (given.batch_size, given.lr) == (32, 0.01)
    close(TrainConfig(batch_size=32).sized(60_000).lr, 0.001)


def test_the_step_size_decays_to_the_end(small):
    config = replace(CONFIG, lr=0.01, warmup=1, decay=0.5)
    run, sizes = Run(build(), small, config, History()), []
    run.optimizer.register_step_pre_hook(
        lambda adam, *_: sizes.append(adam.param_groups[0]["lr"])
    )
    for _ in range(4):
        one_epoch(run)
    close(sizes, [0.01] * 9 + [0.01 * left / 8 for left in range(7, 0, -1)])


def test_a_run_with_decay_cannot_change_its_end(small, tmp_path):
    path = tmp_path / "a.pt"
    go(build(), small, path, epochs=2, decay=0.3)
    with refused(path, CheckpointError) as caught:
        go(build(), small, path, epochs=3, decay=0.3)
    assert " epochs = 2" in str(caught.value)
    go(build(), small, path, epochs=2, decay=0.3)


# --- signals


@pytest.mark.parametrize("step", [0, 5, 7, 8, 15])
def test_an_interrupted_run_goes_on_bit_for_bit(
    step, monkeypatch, small, tmp_path, capsys
):
    whole, model = build("cvae"), build("cvae")
    history = go(whole, small, tmp_path / "whole.pt")
    path = tmp_path / "a.pt"
    with monkeypatch.context() as patch:
        stop_at(patch, step)
        part = go(model, small, path)
    out = capsys.readouterr().out
    assert part.stopped == (step < 15)  # after the last step it is done
    assert len(part.loss) == (step + 1) // 4
    if step < 15:
        assert f"step {step + 1}: saved to {path}; run" in out
    saved = checkpoint.load(path)
    assert saved["step"] == step + 1
    assert same(saved["weights"], model.state_dict())
    again = spoil(build("cvae"))
    resumed = go(again, small, path)
    assert same(checkpoint.load(path), checkpoint.load(tmp_path / "whole.pt"))
    assert same(vars(resumed), vars(history))
    assert same(again.state_dict(), whole.state_dict())


def test_the_time_of_an_epoch_is_that_of_both_its_parts(
    monkeypatch, small, tmp_path
):
    now, path, mean_loss = [100.0], tmp_path / "a.pt", Run.mean_loss

    def slow(run, terms):
        now[0] += 1  # second for each step
        return mean_loss(run, terms)

    monkeypatch.setattr("minivae.engine.run.time.perf_counter", lambda: now[0])
    monkeypatch.setattr(Run, "mean_loss", slow)
    with monkeypatch.context() as patch:
        stop_at(patch, 5)
        assert go(build(), small, path).digits_per_second == [50]
    assert checkpoint.load(path)["seconds"] == 2
    now[0] += 1000  # while nobody trained
    history = go(build(), small, path)
    assert history.digits_per_second == [50, 50, 50, 50]


def test_an_interrupt_without_a_checkpoint_says_so(monkeypatch, small, capsys):
    stop_at(monkeypatch, 2)
    assert go(build(), small).stopped
    assert "nothing was saved; give a checkpoint" in capsys.readouterr().out


def test_sigterm_saves_and_exits_with_143(monkeypatch, small, tmp_path):
    stop_at(monkeypatch, 2, signal.SIGTERM)
    with pytest.raises(SystemExit) as caught:
        go(build(), small, tmp_path / "a.pt")
    assert caught.value.code == 143
    assert checkpoint.load(tmp_path / "a.pt")["step"] == 3


def test_a_second_interrupt_is_immediate():
    with pytest.raises(KeyboardInterrupt), Stop() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.signal == signal.SIGINT
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("it went on")


def test_signal_handlers_are_put_back(small):
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    go(build(), small, epochs=1)
    with pytest.raises(ZeroDivisionError), Stop():
        raise ZeroDivisionError
    after = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    assert after == before


def test_training_works_outside_the_main_thread(small):
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(go, build(), small, epochs=1)
    assert run.exception() is None
    assert len(run.result().loss) == 1


# --- NaN on a GPU, memory


def moments(run):
    """The weights and what Adam knows of each, as they are now."""
    found = [w.detach().clone() for w in run.model.parameters()]
    for kept in run.optimizer.state.values():
        found += [v.clone() for v in kept.values()]
    return found


@pytest.mark.parametrize("bad", [(1, 3), (3,)])
def test_where_nobody_waits_for_the_loss_a_nan_still_changes_nothing(
    bad, monkeypatch, small, tmp_path
):
    path = tmp_path / "a.pt"
    run = Run(build(), small, CONFIG, History(), path)
    run.waits = False  # as on a GPU
    mean_loss, kept, before = Run.mean_loss, [], digest(path)

    def spy(run, terms):
        if run.step == bad[0]:
            kept.extend(moments(run))
        if run.step in bad:
            terms = terms | {"loss": terms["loss"] * float("nan")}
        return mean_loss(run, terms)

    monkeypatch.setattr(Run, "mean_loss", spy)
    with pytest.raises(ValueError, match=f"step {bad[0]} "):
        one_epoch(run)
    assert run.step == 4  # the other steps were made, without effect
    now = moments(run)
    assert len(kept) == len(now) == 4 * len([*run.model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(kept, now))
    # neither the average nor the sums of that epoch are of any use
    assert digest(path) == before
    assert len(run.history) == 0


def test_waiting_or_not_gives_the_same_bits(small):
    states = []
    for waits in (True, False):
        run = Run(build(), small, CONFIG, History())
        run.waits = waits
        one_epoch(run)
        states.append(run.state())
    assert same(*states, but="second")


@pytest.mark.slow
def test_too_large_a_batch_names_the_next_one_to_try():
    code = """
import resource, torch
from minivae import VAE, TrainConfig, fit, load_digits
torch.set_num_threads(1)
digits = load_digits("builtin")
model = VAE(2, (20000,))
used = 1024 * int(open("/proc/self/statm").read().split()[0]) * 4
resource.setrlimit(resource.RLIMIT_AS, (used + 520_000_000,) * 2)
fit(model, digits, TrainConfig(batch_size=1400, device="cpu"))
"""
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs Linux")
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith("ValueError: batch_size: 1400 rows do not fit")
    assert last.endswith("try 700")


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("can't allocate memory"),
    ],
)
def test_a_full_disk_is_no_batch_that_is_too_large(
    error, monkeypatch, small, tmp_path
):
    folder = tmp_path / "can't allocate memory: alloc"
    path, model, save = folder / "a.pt", build(), torch.save

    def full(state, stream):
        if state["epoch"] == 1:
            raise error
        return save(state, stream)

    monkeypatch.setattr(torch, "save", full)
    with refused(path, CheckpointError) as caught:
        go(model, small, path)
    assert "cannot be written" in str(caught.value)
    assert "batch_size" not in str(caught.value)
    assert checkpoint.load(path)["step"] == 0
    assert [f.name for f in folder.iterdir()] == ["a.pt"]


def test_an_unwritable_folder_is_no_batch_that_is_too_large(
    monkeypatch, small, tmp_path
):
    path = tmp_path / "can't allocate memory" / "a.pt"
    path.parent.write_text("a file in the way")
    with refused(path, CheckpointError):
        go(build(), small, path)


def test_what_does_not_fit_in_memory_names_the_next_size(monkeypatch, small):
    model = build()

    def fail(*_):
        raise RuntimeError("[enforce fail] can't allocate memory: 9 bytes")

    model.register_forward_pre_hook(fail)
    with refused("batch_size: 64 rows do not fit in memory") as caught:
        go(model, small)
    assert "try 32" in str(caught.value)


# --- several processes


def test_parts_of_a_batch_hold_each_row_once(small):
    for n in (2, 3, 7):
        parts = [
            list(batches(small, 64, 0, 1, rank=i, world_size=n))
            for i in range(n)
        ]
        whole = list(batches(small, 64, 0, 1))
        for k, (x, y) in enumerate(whole):
            got = torch.cat([part[k][0] for part in parts])
            assert len(got) == len(x)
            order = torch.cat([torch.arange(i, len(x), n) for i in range(n)])
            assert torch.equal(got, x[order])
            assert torch.equal(
                torch.cat([part[k][1] for part in parts]), y[order]
            )
    # each draws its pixels with numbers of its own
    twins = replace(small[:2], images=small.images[:1].repeat(2, 1, 1))
    drawn = {"prepare": Bernoulli().prepare, "world_size": 2}
    a, b = (next(batches(twins, 2, rank=i, **drawn))[0] for i in (0, 1))
    assert not torch.equal(a, b)


def torchrun(n, *words, cwd=ROOT):
    return subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run"),
            *("--standalone", f"--nproc-per-node={n}", "-m", "minivae"),
            *map(str, words),
        ],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


# 101 rows in a batch: neither they nor the last few divide by two
WORDS = [
    *("train", "--data", "builtin", "--n-latent", 2, "--hidden", 16),
    *("--device", "cpu", "--epochs", 3, "--batch-size", 101, "--lr", 0.002),
    *("--json", "--checkpoint"),
]


@pytest.mark.parametrize("kind", ["ae", "vae"])
@pytest.mark.slow
def test_two_processes_learn_what_one_does(kind, digits, tmp_path):
    path = tmp_path / "two.pt"
    result = torchrun(2, *WORDS, path, "--model", kind)
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.count("\n") == 1  # only one of them speaks
    found = json.loads(result.stdout)
    config = replace(CONFIG, epochs=3, batch_size=101, warmup=100)
    model = build(kind)
    history = fit(model, digits, config, progress=False)
    together = checkpoint.load(path)["history"]
    # an autoencoder has no noise: the same numbers but for rounding
    rtol = 1e-5 if kind == "ae" else 0.01
    close(together["loss"], history.loss, rtol)
    (file,) = tmp_path.iterdir()
    # the two score a share each, and the sum is that of one
    alone = evaluate(load_model(file), scored())
    name, rtol = ("reconstruction", 1e-6) if kind == "ae" else ("elbo", 0.01)
    close(found["test"][name], alone[name], rtol)
    if kind == "vae":
        close(found["test"]["kl"], alone["kl"], 1e-6)


TRAINED = """
import json, sys
from dataclasses import replace
import torch
from minivae import fit, load_digits
from minivae.engine import processes

torch.set_num_threads(1)
sys.path.insert(0, "tests")
from test_engine import CONFIG, LATER, build, told

digits, found = load_digits("builtin", "train"), {}
config = replace(CONFIG, epochs=3, batch_size=101, seed=1)
with processes() as group:
    for kind in LATER:
        model, data = build(kind, seed=1), told(kind, digits)
        history = fit(model, data, config, progress=False)
        found[kind] = history.loss
    if group.rank == 0:
        print(json.dumps([group.world_size, found]))
"""


@pytest.mark.slow
def test_two_processes_learn_every_model_as_one_does(tmp_path):
    script, found = tmp_path / "trained.py", {}
    script.write_text(TRAINED)
    for n in (1, 2):
        words = ["-m", "torch.distributed.run", "--standalone"]
        words += [f"--nproc-per-node={n}", str(script)]
        env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        shown = subprocess.run(
            [sys.executable, *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            env=env,
        )
        assert shown.returncode == 0, shown.stderr[-2000:]
        size, found[n] = json.loads(shown.stdout.splitlines()[-1])
        assert size == n
    for kind in LATER:
        close(found[2][kind], found[1][kind], 0.02)
        assert found[1][kind][-1] < 0.8 * found[1][kind][0]


def scored():
    from minivae import load_digits

    return load_digits("builtin", "test")


STOPPED = """
import os, signal, sys
import torch
from minivae import CVAE, TrainConfig, checkpoint, fit, load_digits
from minivae.engine import processes
from minivae.engine.run import Run

torch.set_num_threads(1)
small, folder = load_digits("builtin", "train")[:200], sys.argv[1]
config = TrainConfig(epochs=3, batch_size=8, lr=2e-3, warmup=5, device="cpu")
mean_loss = Run.mean_loss

def called(run, terms):
    if run.step == 36 and run.processes.rank == 1:  # in the second epoch
        os.kill(os.getpid(), signal.SIGINT)
    return mean_loss(run, terms)

with processes() as found:
    assert found.world_size == 2
    fit(CVAE(2, (16,)), small, config, f"{folder}/whole.pt", False)
    Run.mean_loss = called
    part = fit(CVAE(2, (16,)), small, config, f"{folder}/part.pt", False)
    assert part.stopped and len(part.loss) == 1
    Run.mean_loss = mean_loss
    assert checkpoint.load(f"{folder}/part.pt")["step"] == 40
    fit(CVAE(2, (16,)), small, config, f"{folder}/part.pt", False)
"""


@pytest.mark.slow
def test_two_processes_that_were_stopped_report_what_one_run_does(tmp_path):
    file = tmp_path / "stopped.py"
    file.write_text(STOPPED)
    result = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node=2", str(file), str(tmp_path)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert "Stopped in epoch 2, step 40: saved to" in result.stdout
    whole, part = (
        checkpoint.load(tmp_path / f"{name}.pt") for name in ("whole", "part")
    )
    assert len(whole["history"]["loss"]) == 3
    # the sums of both parts, of both processes, each counted once
    assert same(whole["history"], part["history"])
    assert same(whole, part, but="second")


@pytest.mark.slow
def test_an_error_in_the_first_process_ends_all(tmp_path):
    path = tmp_path / "bad.pt"
    path.write_bytes(b"not a checkpoint")
    result = torchrun(2, *WORDS, path, "--model", "ae")
    assert result.returncode != 0
    assert f"error: {path} (16 bytes): not a whole minivae" in result.stderr


# --- on a GPU


@gpu
def test_a_gpu_learns_what_the_cpu_learns(digits):
    losses = [
        fit(
            VAE(2, (64,)),
            digits,
            TrainConfig(epochs=5, device=device, precision="float32"),
            progress=False,
        ).loss[-1]
        for device in ("cpu", "cuda")
    ]
    close(losses[1], losses[0], 0.02)


@gpu
@pytest.mark.parametrize("home, there", [("cpu", "cuda"), ("cuda", "cpu")])
def test_fit_brings_a_model_back_to_its_device(home, there, small, tmp_path):
    path, model = tmp_path / "a.pt", VAE(2, (64,)).to(home)
    seen = []
    model.register_forward_pre_hook(
        lambda module, _: seen.append(module.device.type)
    )
    config = replace(CONFIG, device=there)
    fit(model, small, config, path, False)
    assert set(seen) == {there}
    assert {v.device.type for v in model.state_dict().values()} == {home}
    with refused(path, CheckpointError):
        fit(model, small, replace(config, lr=1.0), path, False)
    assert model.device.type == home


@gpu
@pytest.mark.parametrize("compile", ["no", "yes"])
def test_a_gpu_resumes_in_bf16(compile, digits, tmp_path):
    config = TrainConfig(
        epochs=4, device="cuda", precision="bfloat16", compile=compile
    )
    whole, halves = VAE(2, (64,)), VAE(2, (64,))
    fit(whole, digits, config, tmp_path / "a.pt", False)
    fit(halves, digits, replace(config, epochs=2), tmp_path / "b.pt", False)
    fit(halves, digits, config, tmp_path / "b.pt", False)
    for a, b in zip(whole.parameters(), halves.parameters()):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    assert load_model(tmp_path / "a.pt").encoder[0].weight.device == CPU


@gpu
def test_an_epoch_on_a_gpu_waits_for_nothing(digits):
    config = TrainConfig(epochs=2, device="cuda", precision="bfloat16")
    run = Run(VAE(2, (64,)), digits, config, History())
    rows_of = run.rows_of

    def watched(epoch, start=0):
        for part in rows_of(epoch, start):
            yield part  # the order of the digits was copied before
            torch.cuda.set_sync_debug_mode("error")
        torch.cuda.set_sync_debug_mode("default")

    run.rows_of = watched
    try:
        one_epoch(run)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(run.history.loss) == 1


# --- several processes, one at a time


def one_of_two(rank):
    """The first or second of two processes, without the other one."""
    found = engine.Processes()
    found.rank, found.world_size = rank, 2
    return found


def test_each_process_has_a_key_of_its_own():
    first, second = one_of_two(0), one_of_two(1)
    assert len({first.key, second.key, engine.Processes().key}) == 3
    assert engine.Processes().key == ()  # as if there were no processes


def test_what_is_true_in_any_process_is_true_in_all():
    second, others = one_of_two(1), [0.0]
    second.total = lambda flag: flag + others[0]
    assert not second.any(False)
    assert second.any(True)
    others[0] = 1.0
    assert second.any(False)


@pytest.mark.parametrize("n, steps", [(1, [*range(1, 26)]), (2, [10, 20, 25])])
def test_several_processes_agree_to_stop_every_ten_steps(n, steps, small):
    config = TrainConfig(batch_size=8, device="cpu")  # 25 steps an epoch
    run, found = Run(build(), small, config, History()), []
    run.processes.world_size, run.processes.any = n, bool  # no message
    with run.stops_between_steps():
        for _ in range(25):
            run.signals.signal = signal.SIGTERM
            run.record({"loss": torch.ones(8)})
            found += [run.step] * run.stopped
            run.signals.signal = run.stopped = 0
            run.step -= 1
            run.record({"loss": torch.ones(8)})
            assert not run.stopped
    assert found == steps


def test_only_the_first_process_computes_what_all_need(monkeypatch):
    def send(values):
        values[0] = "from the first"

    monkeypatch.setattr(torch.distributed, "broadcast_object_list", send)
    found = one_of_two(1).from_first(lambda: pytest.fail("it computed"))
    assert found == "from the first"


@pytest.mark.parametrize("n", [1, 2])
def test_an_error_of_the_first_process_is_raised_in_all(n, monkeypatch):
    sent = []
    monkeypatch.setattr(
        torch.distributed, "broadcast_object_list", sent.extend
    )
    first = one_of_two(0)
    first.world_size, failed = n, CheckpointError("damaged")

    def fail():
        raise failed

    with pytest.raises(CheckpointError, match="damaged"):
        first.from_first(fail)
    assert sent == [failed] * (n - 1)


def test_sums_over_processes_keep_small_differences():
    values = torch.tensor([1e8, 1.0], dtype=torch.float64)
    assert engine.Processes().total(values.sum()).item() == 100_000_001
