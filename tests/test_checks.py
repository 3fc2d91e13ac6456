"""Every check accepts right answers, refuses wrong ones and says why."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import answers
import numpy as np
import pytest
import torch
from conftest import ROOT
from misbehaviour import BAD, kl, loops, prints

from minivae import VAE, checks
from minivae.checks import ALL, wire
from minivae.checks.check import Check
from minivae.checks.process import Apart, GoneError, Here

BANK = answers.load()
SEEDS = range(10)


def verdict(answer, seed):
    check = ALL[answer.exercise]
    first = check.names[0]
    objects = {first if k is None else k: v for k, v in answer.objects.items()}
    return check.judge(Here(objects), seed)


@pytest.mark.parametrize(
    "answer",
    BANK,
    ids=lambda a: f"{ALL[a.exercise].__module__[-10:]}-{a.exercise}-{a.text}",
)
def test_right_answers_pass_and_wrong_ones_get_their_diagnosis(answer):
    for seed in SEEDS:
        found = verdict(answer, seed)
        assert found.passed == (not answer.says), (seed, found.message)
        assert answer.says.lower() in found.message.lower(), seed
        assert len(found.message) <= 400


@pytest.mark.parametrize("name", ALL)
def test_each_exercise_has_enough_answers_to_try(name):
    found = Counter(bool(a.says) for a in BANK if a.exercise == name)
    assert found[False] >= 2, "right answers"
    assert found[True] >= 4, "wrong answers"
    texts = [a.text for a in BANK if a.exercise == name]
    assert len(set(texts)) == len(texts)


# --- what student code may do to a check -------------------------------------


@pytest.mark.parametrize(
    "bad", BAD, ids=lambda f: getattr(f, "__name__", str(f))
)
def test_no_misbehaviour_passes_or_breaks_the_next_check(bad, capfd):
    body = ALL["gaussian_kl"].body
    check = Check(body, 1.0 if bad in (loops, prints) else 30.0)
    found = check(bad)
    assert not found
    assert BAD[bad] in found.message
    assert len(found.message) <= 400
    assert len(capfd.readouterr().out.splitlines()) == 1
    assert checks.check_gaussian_kl(kl)


def test_a_check_says_what_went_wrong_in_one_line(capsys):
    right = checks.check_gaussian_kl(kl)
    assert capsys.readouterr().out == f"{right}\n"
    assert right.passed and bool(right) and right.message == "right"
    with pytest.raises(TypeError, match="expected gaussian_kl"):
        checks.check_gaussian_kl()


def test_functions_of_a_notebook_bring_what_they_use():
    half = 0.5
    array = np.ones(1, dtype=np.float32)

    def mine(mu, logvar):
        inner = mu**2 + logvar.exp() - 1 - logvar
        return (half * inner * array[0]).sum(-1)

    assert checks.check_gaussian_kl(mine)
    held = (i for i in range(3))
    found = checks.check_gaussian_kl(lambda mu, logvar: held)
    assert "cannot be copied" in found.message


def test_student_code_sees_a_folder_of_its_own_that_goes():
    def where():
        Path("mine.txt").write_text("x")
        return [os.getcwd(), os.listdir()]

    worker = Apart({"where": where})
    call = {"name": "where", "args": [], "kwargs": {}, "keep": False}
    done = worker.ask({"op": "call", "gradients": False} | call)
    worker.close()
    folder, files = done["value"]
    assert files == ["mine.txt"]
    assert not os.path.exists(folder)
    with pytest.raises(GoneError):
        worker.ask({"op": "look", "name": "where"})


def test_a_script_may_check_at_its_top_level(tmp_path):
    script = tmp_path / "mine.py"
    script.write_text(
        "from minivae.checks import check_gaussian_kl\n"
        "def f(mu, logvar):\n"
        "    return (mu**2 + logvar.exp() - 1 - logvar).sum(-1) / 2\n"
        "check_gaussian_kl(f)\n"
    )
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.stdout == "\N{HEAVY CHECK MARK} gaussian_kl: right\n"
    assert done.stderr == ""


# --- values between processes ------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -3,
        2.5,
        "text",
        [1, [2.0, "a"]],
        (1, (2,)),
        {"a": 1, 2: [None]},
    ],
    ids=str,
)
def test_plain_values_come_back_as_they_were(value):
    found = wire.unpack(wire.pack(value))
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.int64, torch.bool]
)
@pytest.mark.parametrize("shape", [(), (0,), (3, 2), (2, 0, 1)])
def test_tensors_come_back_bit_by_bit(dtype, shape):
    value = (torch.randn(shape) * 9).to(dtype)
    found = wire.unpack(wire.pack(value))
    assert found.dtype == dtype
    assert torch.equal(found, value)
    array = wire.unpack(wire.pack(value.numpy()))
    assert isinstance(array, np.ndarray)
    assert np.array_equal(array, value.numpy())


def test_models_and_generators_come_back_whole():
    model = VAE(3, (4,), seed=2).eval()
    found = wire.unpack(wire.pack(model))
    assert type(found) is VAE and not found.training
    for a, b in zip(found.parameters(), model.parameters()):
        assert torch.equal(a, b)
    generator = torch.Generator().manual_seed(3)
    torch.rand(5, generator=generator)
    other = wire.unpack(wire.pack(generator))
    assert torch.rand(1, generator=other) == torch.rand(1, generator=generator)


def test_nothing_that_comes_back_is_run():
    function = wire.pack(wire.pack)
    assert wire.unpack(function, trusted=True) is wire.pack
    assert wire.unpack(function).kind == "function"
    assert wire.unpack(wire.pack(lambda: 0)).kind == "function"
    for bad in (b"", b"{", b'{"kind": 1}', b'{"kind": "tensor", "of": 3}'):
        with pytest.raises(wire.WireError):
            wire.unpack(bad)
    deep = b"[" * 100_000 + b"]" * 100_000
    with pytest.raises(wire.WireError):
        wire.unpack(deep)
