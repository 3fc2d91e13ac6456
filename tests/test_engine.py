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
from conftest import ROOT, close, refused, same
from test_train import CONFIG, build, go, spoil

from minivae import (
    VAE,
    CheckpointError,
    TrainConfig,
    batches,
    checkpoint,
    engine,
    evaluate,
    fit,
    load_model,
    train,
    validate,
)

pytestmark = pytest.mark.usefixtures("ends")
CPU = torch.device("cpu")
LARGE = {"hidden": (128,)}  # more than engine.N_WEIGHTS
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


# --- precision and compiler


def test_small_networks_and_exact_ones_stay_in_float32(monkeypatch, capsys):
    monkeypatch.setattr(engine, "has_bf16", lambda device: True)

    def pick(model, wanted="auto"):
        return engine.pick_precision(wanted, model, CPU)

    assert pick(build(**LARGE)) == torch.bfloat16
    assert pick(build()) == torch.float32
    assert pick(build(**LARGE).double()) == torch.float32
    assert pick(build("ae", **LARGE)) == torch.float32
    assert pick(build(**LARGE, likelihood="gaussian")) == torch.float32
    assert pick(build(**LARGE), "float32") == torch.float32
    assert pick(build(), "bfloat16") == torch.bfloat16
    monkeypatch.setattr(engine, "has_bf16", lambda device: False)
    monkeypatch.setattr(engine, "_told", set())
    for _ in range(3):
        assert pick(build(**LARGE)) == torch.float32
    assert capsys.readouterr().err == (
        "No bf16 instructions on this cpu: using float32\n"
    )
    assert pick(build()) == torch.float32
    assert capsys.readouterr().err == ""


def test_bf16_is_chosen_only_with_instructions_for_it(monkeypatch):
    for name, has in (("avx512_bf16", True), ("avx2", False)):
        found = {name: True}
        monkeypatch.setattr(
            torch.cpu, "get_capabilities", lambda found=found: found
        )
        known = torch.ops.mkldnn._is_mkldnn_bf16_supported()
        assert engine.has_bf16(CPU) == (has and known)
    assert not engine.has_bf16(torch.device("mps"))


def test_only_long_runs_of_large_networks_are_compiled():
    def pick(model, n, wanted="auto", device="cpu"):
        return engine.pick_compile(wanted, model, torch.device(device), n)

    long, model = engine.PAYS_FROM["cpu"], build(**LARGE)
    assert pick(model, long)
    assert not pick(model, long - 1)
    assert not pick(build(), long)
    assert not pick(model, 10**12, device="mps")
    assert not pick(model, long, "no")
    assert pick(build(), 1, "yes")


def terms_in(precision, model, x, y=None, say=pytest.fail, compile=False):
    network = engine.Network(
        model, precision, compile, len(x), engine.Workers(), say
    )
    noise = torch.Generator().manual_seed(0)
    with validate.trusted():
        return network(x, y, noise)


@pytest.mark.parametrize("kind", ["ae", "vae", "cvae"])
def test_bf16_changes_the_loss_by_little(kind, small):
    model = build(kind, **LARGE)
    ((x, y),) = batches(small, 200, binarize=model.binary)
    exact = terms_in(torch.float32, model, x, y)
    rough = terms_in(torch.bfloat16, model, x, y)
    assert rough.keys() == exact.keys()
    for name, value in rough.items():
        # sums of many bf16 numbers are float32: a mean is nearly exact
        assert value.dtype == torch.float32
        close(value.mean(), exact[name].mean(), 2e-3)
        assert not torch.equal(value, exact[name])


def test_bf16_learns_as_float32_does(small):
    finals = []
    for precision in engine.PRECISIONS[1:]:
        model = build(**LARGE)
        history = go(model, small, precision=precision, epochs=8)
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
    run = train.Run(model, small, config, said.append)
    with engine.Stop() as stop:
        try:
            for _ in range(2):
                run.one_epoch(Bar(), stop)
        except RuntimeError:
            pytest.fail("what the compiler raised came through")
    assert len(said) == 1
    assert "torch.compile does not work here" in said[0]
    reference = train.Run(plain, small, CONFIG)
    with engine.Stop() as stop:
        for _ in range(2):
            reference.one_epoch(Bar(), stop)
    assert same(vars(run.history), vars(reference.history))


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
def test_compiled_terms_are_the_terms(small):
    model = build("cvae", n_latent=3)
    ((x, y),) = batches(small[:64], 64)
    plain = terms_in(torch.float32, model, x, y)
    fast = terms_in(torch.float32, model, x, y, compile=True)
    for name, value in plain.items():
        close(fast[name].detach(), value.detach(), 1e-4)


class Bar:
    """A progress bar that shows nothing."""

    def update(self, n):
        pass

    def set_postfix(self, terms):
        pass


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
    run, sizes = train.Run(build(), small, config), []
    for run.step in range(16):
        sizes.append(run.lr)
    close(sizes, [0.01] * 9 + [0.01 * left / 8 for left in range(7, 0, -1)])


def test_a_run_with_decay_cannot_change_its_end(small, tmp_path):
    path = tmp_path / "a.pt"
    go(build(), small, path, epochs=2, decay=0.3)
    with refused(path, CheckpointError) as caught:
        go(build(), small, path, epochs=3, decay=0.3)
    assert " epochs = 2" in str(caught.value)
    go(build(), small, path, epochs=2, decay=0.3)


# --- signals


def stop_at(monkeypatch, step, number=signal.SIGINT):
    """Send a real signal in the middle of a step."""
    weighted = train.Run.weighted

    def spy(run, terms):
        if run.step == step:
            os.kill(os.getpid(), number)
        return weighted(run, terms)

    monkeypatch.setattr(train.Run, "weighted", spy)


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
    with pytest.raises(KeyboardInterrupt), engine.Stop() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.signal == signal.SIGINT
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("it went on")


def test_signal_handlers_are_put_back(small):
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    go(build(), small, epochs=1)
    with pytest.raises(ZeroDivisionError), engine.Stop():
        raise ZeroDivisionError
    after = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    assert after == before


def test_training_works_outside_the_main_thread(small):
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(go, build(), small, epochs=1)
    assert run.exception() is None
    assert len(run.result().loss) == 1


# --- NaN on a GPU, memory


@pytest.mark.parametrize("bad", [(0, 2), (2,)])
def test_where_nobody_waits_for_the_loss_a_nan_still_changes_nothing(
    bad, monkeypatch, small
):
    run = train.Run(build(), small, CONFIG)
    run.patient = True  # as on a GPU
    weighted, kept = train.Run.weighted, []

    def spy(run, terms):
        loss = weighted(run, terms)
        if run.step == bad[0]:
            kept.extend(w.detach().clone() for w in run.weights)
            kept.extend(a.clone() for a in run.average)
        return loss * float("nan") if run.step in bad else loss

    monkeypatch.setattr(train.Run, "weighted", spy)
    said = pytest.raises(ValueError, match=f"step {bad[0]} ")
    with said, engine.Stop() as stop:
        run.one_epoch(Bar(), stop)
    assert run.step == 4  # the other steps were made, without effect
    now = [*run.weights, *run.average]
    assert all(torch.equal(a, b) for a, b in zip(kept, now))


def test_waiting_or_not_gives_the_same_bits(small):
    states = []
    for patient in (False, True):
        run = train.Run(build(), small, CONFIG)
        run.patient = patient
        with engine.Stop() as stop:
            run.one_epoch(Bar(), stop)
        states.append([*run.weights, *run.average])
    assert all(torch.equal(a, b) for a, b in zip(*states))


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
    assert last.startswith("ValueError: batch_size: 1400 digits do not fit")
    assert last.endswith("try 700")


# --- several processes


def test_shares_of_a_batch_hold_each_digit_once(small):
    for n in (2, 3, 7):
        parts = [
            list(batches(small, 64, 0, 1, binarize=False, share=(i, n)))
            for i in range(n)
        ]
        whole = list(batches(small, 64, 0, 1, binarize=False))
        for k, (x, y) in enumerate(whole):
            got = torch.cat([part[k][0] for part in parts])
            assert len(got) == len(x)
            order = torch.cat([torch.arange(i, len(x), n) for i in range(n)])
            assert torch.equal(got, x[order])
            assert torch.equal(
                torch.cat([part[k][1] for part in parts]), y[order]
            )
    # each draws its pixels with numbers of its own
    a, b = (next(batches(small[:2], 2, share=(i, 2)))[0] for i in (0, 1))
    twins = replace(small[:2], images=small.images[:1].repeat(2, 1, 1))
    a, b = (next(batches(twins, 2, share=(i, 2)))[0] for i in (0, 1))
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


def scored():
    from minivae import load_digits

    return load_digits("builtin", "test")


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
    run = train.Run(VAE(2, (64,)).cuda(), digits.to("cuda"), config)
    feed = run.feed

    def watched(start):
        for part in feed(start):
            yield part  # the order of the digits was copied before
            torch.cuda.set_sync_debug_mode("error")
        torch.cuda.set_sync_debug_mode("default")

    run.feed = watched
    try:
        with engine.Stop() as stop:
            run.one_epoch(Bar(), stop)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(run.history.loss) == 1


# --- Adam


@pytest.mark.parametrize("fused", [True, False])
def test_adam_is_that_of_pytorch(fused):
    torch.manual_seed(0)
    mine = [torch.nn.Parameter(torch.randn(n, 3)) for n in (4, 5)]
    mine.append(torch.nn.Parameter(torch.ones(2), requires_grad=False))
    theirs = [torch.nn.Parameter(w.detach().clone()) for w in mine]
    ours = engine.Adam(mine, 0.01, (0.8, 0.95), fused)
    known = torch.optim.Adam(theirs[:2], 0.01, (0.8, 0.95))
    for step in range(5):
        ours.lr = known.param_groups[0]["lr"] = 0.01 / (1 + step)
        for weights, adam in ((mine, ours), (theirs, known)):
            adam.zero_grad()
            loss = weights[0].square().sum() + weights[1].cos().sum()
            if step == 2:  # one of them has no gradient in this step
                loss = weights[0].exp().sum()
            loss.backward()
            adam.step()
    for a, b in zip(mine, theirs):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
    # and a checkpoint names them as they are
    names = {"mean": "exp_avg", "square": "exp_avg_sq", "steps": "step"}
    for name, torch_name in names.items():
        kept = [known.state[w][torch_name] for w in theirs[:2]]
        torch.testing.assert_close(ours.state[name], kept)


def test_training_does_not_load_the_compiler():
    code = """
import sys, torch
from minivae import VAE, TrainConfig, fit, load_digits
fit(VAE(2, (8,)), load_digits("builtin"), TrainConfig(epochs=1), None, False)
assert "torch._dynamo" not in sys.modules, "it takes seconds"
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def one_of_two(rank):
    """The first or second of two processes, without the other one."""
    workers = engine.Workers()
    workers.rank, workers.n = rank, 2
    return workers


def test_each_process_has_a_share_and_a_key_of_its_own():
    first, second = one_of_two(0), one_of_two(1)
    assert (first.share, second.share) == ((0, 2), (1, 2))
    assert len({first.key, second.key, engine.Workers().key}) == 3
    assert engine.Workers().key == ()  # as if there were no processes


def test_what_is_true_in_any_process_is_true_in_all():
    workers, others = one_of_two(1), [0.0]
    workers.total = lambda flag: flag + others[0]
    assert not workers.any(False)
    assert workers.any(True)
    others[0] = 1.0
    assert workers.any(False)


@pytest.mark.parametrize("n, steps", [(1, [*range(1, 26)]), (2, [10, 20, 25])])
def test_several_processes_agree_to_stop_every_ten_steps(n, steps, small):
    config = TrainConfig(batch_size=8, device="cpu")  # 25 steps an epoch
    run, stop = train.Run(build(), small, config), engine.Stop()
    run.workers.n, run.workers.any = n, bool  # without a message
    found = []
    for run.step in range(1, 26):
        assert not run.heard(stop)
        stop.signal = signal.SIGTERM
        found += [run.step] * run.heard(stop)
        stop.signal = 0
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
    workers = one_of_two(0)
    workers.n, failed = n, CheckpointError("damaged")

    def fail():
        raise failed

    with pytest.raises(CheckpointError, match="damaged"):
        workers.from_first(fail)
    assert sent == [failed] * (n - 1)


def test_sums_over_processes_keep_small_differences():
    values = torch.tensor([1e8, 1.0], dtype=torch.float64)
    assert engine.Workers().total(values.sum()).item() == 100_000_001
