"""Every check accepts right answers, refuses wrong ones and says why."""

import importlib
import json
import operator
import os
import shutil
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path

import answers
import numpy as np
import pytest
import torch
from conftest import ROOT
from misbehaviour import BAD, kl, loops, prints

import minivae.engine
import minivae.objective
import minivae_course
from minivae import CVAE, VAE, Autoencoder, Images, PixelCVAE, Table
from minivae.likelihoods import Bernoulli
from minivae.networks import MLP
from minivae.toys import Arc
from minivae_course import ALL, process, wire
from minivae_course.check import (
    Check,
    Student,
    Verdict,
    WrongError,
    equal,
    parts,
    require,
)
from minivae_course.process import Apart, GoneError, Here
from minivae_course.references import REFERENCES

BANK = answers.load()
# of the inputs that each answer is tried with; the weekly run has ten
SEEDS = range(int(os.environ.get("MINIVAE_SEEDS", 2)))


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
    assert capfd.readouterr().out == f"{found}\n"
    assert minivae_course.check_gaussian_kl(kl)


def the_package(mu, logvar):
    return minivae.objective.gaussian_kl(mu, logvar)


def an_import(mu, logvar):
    from minivae.objective import gaussian_kl as mine

    return mine(mu, logvar)


def through_map(mu, logvar):
    (found,) = map(minivae.objective.gaussian_kl, [mu], [logvar])
    return found


def through_vmap(mu, logvar):
    def one(m, v):
        return minivae.objective.gaussian_kl(m[None], v[None])[0]

    return torch.vmap(one)(mu, logvar)


def the_checks(mu, logvar):
    import minivae_course.chapter_04  # noqa: F401

    return kl(mu, logvar)


def an_inner_import_of_the_checks(mu, logvar):
    def inner():
        from minivae_course import check_gaussian_kl  # noqa: F401

    inner()
    return kl(mu, logvar)


def a_call_of_the_checks(mu, logvar):
    module = importlib.import_module("minivae_" + "course.check")
    module.require(True, "")
    return kl(mu, logvar)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (the_package, "calls minivae.objective.gaussian_kl"),
        (an_import, "calls minivae.objective.gaussian_kl"),
        (through_map, "calls minivae.objective.gaussian_kl"),
        (through_vmap, "calls minivae.objective.gaussian_kl"),
        (the_checks, "uses the checks"),
        (an_inner_import_of_the_checks, "uses the checks"),
        (a_call_of_the_checks, "uses the checks"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_a_check_refuses_the_reference_and_the_checks(answer, says):
    check = ALL["gaussian_kl"]
    found = check.judge(Here({"gaussian_kl": answer}))
    assert not found and says in found.message
    # and afterwards it is as fair as before
    assert check.judge(Here({"gaussian_kl": kl}))


def test_the_package_itself_may_use_a_reference():
    def mine(mu, logvar):
        VAE(2, (4,), shape=(5,))(torch.zeros(3, 5))  # uses gaussian_kl
        return kl(mu, logvar)

    assert ALL["gaussian_kl"].judge(Here({"gaussian_kl": mine}))


def test_an_answer_may_print_and_be_warned():
    def mine(mu, logvar):
        print("shape", mu.shape)
        warnings.warn("a scalar of what has a gradient", stacklevel=1)
        sys.stderr.write("and so on")
        return kl(mu, logvar)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert ALL["gaussian_kl"].judge(Here({"gaussian_kl": mine}))


def test_every_reference_exists_and_belongs_to_an_exercise():
    for name, references in REFERENCES.items():
        assert name in ALL
        for one in references:
            module, function = one.split(":")
            found = importlib.import_module(module)
            assert callable(operator.attrgetter(function)(found))


def test_a_check_says_what_went_wrong_in_one_line(capsys):
    right = minivae_course.check_gaussian_kl(kl)
    assert capsys.readouterr().out == f"{right}\n"
    assert right.passed and bool(right) and right.message == "right"
    with pytest.raises(TypeError, match="expected gaussian_kl"):
        minivae_course.check_gaussian_kl()


def refusal(compare, *args, **options):
    with pytest.raises(WrongError) as caught:
        compare(*args, **options)
    return str(caught.value)


def test_a_line_breaks_between_words():
    message = "the KL: " + "found something that was not expected, " * 9
    verdict = Verdict("gaussian_kl", False, message.strip())
    lines = str(verdict).splitlines()
    assert len(lines) > 3 and max(map(len, lines)) < 80
    assert " ".join(lines).split()[2:] == message.split()
    wordy = Check(lambda draws: require(False, "reconstruction " * 99), 5)
    said = wordy.judge(Here({})).message
    assert len(said) <= 400
    assert set(said.split()) == {"reconstruction", "..."}


@pytest.mark.parametrize(
    ("found", "right", "says"),
    [
        (7.0, 3.0, "found 7, expected 3"),
        (6.0, 3.0, "It is 2 times the right one"),
        (1.7, 3.0, "found 1.70, expected 3"),
        ([1.005, 2.01], [1.0, 2.0], "too large by 0.5 per cent"),
        ([2.0, 4.0], [1.0, 2.0], "Each value is 2 times the right one"),
        ([0.5, 0.0], [1.0, 0.0], "Each value is 1/2 of the right one"),
        (2e-5, 0.0, "expected 0"),
        (1.0002, 1.0, "found 1.0002, expected 1"),
        ([1.0, 2.0, 3.0], [1.0, 2.0], "found a list of 3"),
        ([[1.0], [2.0]], [1.0, 2.0], "found a list of 2"),
        (["one", 2.0], [1.0, 2.0], "found a list of 2"),
    ],
)
def test_a_comparison_says_what_it_found(found, right, says):
    right = torch.tensor(right)
    message = refusal(equal, "the KL", found, right)
    assert message.startswith("the KL") and says in message
    assert "1.00 times" not in message


@pytest.mark.parametrize(
    "found",
    [
        (torch.tensor(1.0), torch.tensor(2.0)),
        [np.float32(1), 2],
        np.array([1, 2]),
        torch.tensor([1, 2]),
        (1.0, torch.tensor(2.0)),
    ],
    ids=str,
)
def test_numbers_are_right_however_they_are_put_together(found):
    equal("the KL", found, torch.tensor([1.0, 2.0]))
    one, other = parts("both", found, "one, other")
    equal("one", one, 1.0)
    equal("other", [other], 2.0)


def test_zero_is_zero_up_to_rounding():
    equal("the entropy", 9e-6, 0.0)
    equal("the entropy", torch.tensor([0.0, 9e-6]), torch.zeros(2))
    refusal(equal, "the entropy", 9e-6, 0.1, tolerance=1e-4)
    refusal(equal, "the gradient", torch.zeros(2), torch.full((2,), 2e-5))


def test_only_the_first_input_may_change():
    def trained(model, x):
        model.add_(1)
        return x * 2

    def damaging(model, x):
        model.add_(1)
        return x.mul_(2)

    worker = Here({"trained": trained, "damaging": damaging})
    given = torch.zeros(2), torch.ones(2)
    _, (after, _) = Student(worker, "trained").changed(*given)
    assert torch.equal(after, torch.ones(2))
    says = refusal(Student(worker, "damaging").changed, *given)
    assert "damaging changes its argument number 2" in says


def test_functions_of_a_notebook_bring_what_they_use():
    half = 0.5
    array = np.ones(1, dtype=np.float32)

    def mine(mu, logvar):
        inner = mu**2 + logvar.exp() - 1 - logvar
        return (half * inner * array[0]).sum(-1)

    assert minivae_course.check_gaussian_kl(mine)
    held = (i for i in range(3))
    found = minivae_course.check_gaussian_kl(lambda mu, logvar: held)
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


def said_of(script, *folders):
    """What a script prints that finds the packages in these folders."""
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))},
    )
    assert done.stderr == ""
    return done.stdout


def test_a_script_may_check_at_its_top_level(tmp_path):
    script = tmp_path / "mine.py"
    script.write_text(
        "from minivae_course import check_gaussian_kl\n"
        "def f(mu, logvar):\n"
        "    return (mu**2 + logvar.exp() - 1 - logvar).sum(-1) / 2\n"
        "check_gaussian_kl(f)\n"
    )
    found = said_of(script, ROOT, ROOT / "course")
    assert found == "\N{HEAVY CHECK MARK} gaussian_kl: right\n"


# --- the line of an error is the student's, wherever the checkout lies -------


# the last one is how a wheel lays the two packages
@pytest.mark.parametrize(
    ("place", "course"),
    [
        ("minivae", "course"),
        ("a b/minivae", "course"),
        ("lib/minivae_course", "course"),
        ("a b", ""),
    ],
)
def test_a_checkout_of_any_name_names_the_students_line(
    tmp_path, place, course
):
    checkout = tmp_path / place
    for source, folder in (
        (ROOT / "minivae", checkout),
        (ROOT / "course" / "minivae_course", checkout / course),
    ):
        shutil.copytree(
            source,
            folder / source.name,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    script = checkout / "mine.py"
    script.write_text(
        "from minivae_course import check_gaussian_kl\n"
        "from minivae.objective import effective_beta\n"
        "def f(mu, logvar):\n"
        "    return effective_beta('no such error')\n"
        "check_gaussian_kl(f)\n"
    )
    # raised inside the package, in a line that is not the student's
    found = said_of(script, checkout, checkout / course)
    assert "gaussian_kl raises ValueError in line 4: error: expec" in found


@pytest.mark.parametrize(
    "file",
    [
        "/home/minivae/mine.py",
        "/home/a b/minivae/minivae/mine.py",
        "/home/lib/site-packages/mine.py",
        str(ROOT / "mine.py"),
        str(ROOT / "minivae.py"),
        str(ROOT / "course" / "mine.py"),
        "/home/minivae_course/minivae_course/mine.py",
        str(ROOT / "book" / "exercises" / "mine.py"),
        "/tmp/ipykernel_17/2381.py",
        "<ipython-input-1-0123456789ab>",
        "<stdin>",
    ],
)
def test_code_in_these_files_is_the_students(file):
    assert process._is_students(file)


@pytest.mark.parametrize(
    "file",
    [
        minivae.objective.__file__,
        minivae.engine.__file__,
        minivae_course.__file__,
        process.__file__,
        torch.nn.functional.__file__,
        torch.utils.data.__file__,
        np.lib.__file__,
        json.__file__,
        subprocess.__file__,
        "<frozen importlib._bootstrap>",
    ],
)
def test_code_in_these_files_is_not_the_students(tmp_path, file):
    assert not process._is_students(file)
    if not file.startswith("<"):  # nor by a link to the same folder
        (tmp_path / "mine").symlink_to(Path(file).parent)
        link = tmp_path / "mine" / Path(file).name
        assert not process._is_students(str(link))


# --- the package moved -------------------------------------------------------


def test_the_old_name_says_the_new_one():
    said = (
        "minivae.checks is now the package minivae_course: write "
        "`from minivae_course import check_gaussian_kl`"
    )
    for name in ("minivae.checks", "minivae.checks.chapter_05"):
        with pytest.raises(ImportError) as caught:
            importlib.import_module(name)
        assert str(caught.value) == said
    with pytest.raises(ImportError, match="is now the package minivae_course"):
        from minivae.checks import check_gaussian_kl  # noqa: F401
    with pytest.raises(ImportError, match="is now the package minivae_course"):
        from minivae import checks  # noqa: F401


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


@pytest.mark.parametrize(
    "model",
    [
        Autoencoder(3, (4,), shape=(5,)),
        VAE(3, (4,), seed=2).eval(),
        VAE(2, network="conv", shape=(3, 4, 8)),
        VAE(2, (4,), "gaussian", shape=(5,)),
        VAE(2, (4,), "gaussian", sigma=0.5, shape=(5,)),
        VAE(2, (4,), "gaussian", sigma="each", shape=(5,)),
        VAE(2, (4,), "discretized_logistic", beta=3, shape=(1, 2, 3)),
        CVAE(2, (4,), n_classes=3, shape=(5,)),
        CVAE(2, (4,), conditions=(3, 1), condition_dropout=0.1, shape=(5,)),
        PixelCVAE(2, (4,), given=(1, 3), shape=(1, 2, 4)),
        Arc(sigma=0.2),
    ],
    ids=lambda model: f"{type(model).__name__} {model.shape}",
)
def test_models_come_back_whole(model):
    found = wire.unpack(wire.pack(model))
    assert type(found) is type(model)
    assert found.training == model.training
    assert found.options == model.options
    mine, theirs = model.state_dict(), found.state_dict()
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        assert torch.equal(theirs[name], value)


def test_a_model_with_parts_of_its_own_stays_where_it_is():
    own = VAE(2, encoder=MLP(5, 4), shape=(5,))
    for value in (own, VAE(2, likelihood=Bernoulli(), shape=(5,))):
        found = wire.unpack(wire.pack(value))
        assert found.kind == "VAE"


@pytest.mark.parametrize(
    "data",
    [
        Images(torch.zeros(3, 4, 5).byte(), torch.arange(3), "blank", "test"),
        Images(torch.zeros(2, 3, 4, 5).byte(), conditions=torch.ones(2, 1)),
        Table(torch.rand(3, 2), torch.rand(3, 1), "points", "test"),
        Table(torch.rand(3, 2, 4)),
    ],
    ids=repr,
)
def test_data_sets_come_back_whole(data):
    found = wire.unpack(wire.pack(data))
    assert type(found) is type(data)
    assert (found.source, found.split) == (data.source, data.split)
    assert found.digest() == data.digest()


def test_generators_come_back_whole():
    generator = torch.Generator().manual_seed(3)
    torch.rand(5, generator=generator)
    other = wire.unpack(wire.pack(generator))
    assert torch.rand(1, generator=other) == torch.rand(1, generator=generator)


def test_nothing_that_comes_back_is_run():
    function = wire.pack(wire.pack)
    assert wire.unpack(function, trusted=True) is wire.pack
    function = wire.pack(minivae.objective.gaussian_kl)
    found = wire.unpack(function, trusted=True)
    assert found is minivae.objective.gaussian_kl
    assert wire.unpack(function).kind == "function"
    assert wire.unpack(wire.pack(lambda: 0)).kind == "function"
    for bad in (b"", b"{", b'{"kind": 1}', b'{"kind": "tensor", "of": 3}'):
        with pytest.raises(wire.WireError):
            wire.unpack(bad)
    deep = b"[" * 100_000 + b"]" * 100_000
    with pytest.raises(wire.WireError):
        wire.unpack(deep)
