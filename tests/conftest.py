"""What the tests share: digits without a network, and clear errors."""

import hashlib
import os
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path

import matplotlib
import pytest
import torch
from browser import launched
from torch import Tensor

from minivae import (
    CVAE,
    VAE,
    Autoencoder,
    Classifier,
    TrainConfig,
    data,
    fit,
)
from minivae.engine.run import Run

ROOT = Path(__file__).resolve().parents[1]
if os.environ.get("MINIVAE_DATA"):
    # a test may run in another folder: from here, else from the repository
    given = Path(os.environ["MINIVAE_DATA"])
    given = given if given.exists() else ROOT / given
    os.environ["MINIVAE_DATA"] = str(given.resolve())
os.environ.pop("MINIVAE_DIGITS", None)  # tests choose their data themselves
# small matrices: more threads would only wait for each other
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # of child processes
matplotlib.use("Agg")


@cache
def missing_mnist() -> str:
    """Why the real MNIST cannot be used; empty if it can."""
    folder = data._root(None) / "MNIST" / "raw"
    faults = (data._fault("mnist", folder / f) for f in data.MNIST_SHA256)
    return next(filter(None, faults), "")


# what `make test` leaves to `make test-all`, besides single tests
SLOW = {
    "test_bound_in_browser",
    "test_checks",
    "test_course",
    "test_downloads",
    "test_explorer_in_browser",
    "test_faults",
    "test_grading",
    "test_lab_in_browser",
    "test_learning_in_browser",
    "test_pages_in_browser",
    "test_print",
    "test_readme",
    "test_site",
    "test_trainer_in_browser",
}


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.stem in SLOW:
            item.add_marker("slow")


def pytest_runtest_setup(item):
    if item.get_closest_marker("mnist") and missing_mnist():
        pytest.skip(f"needs the real MNIST: {missing_mnist()}")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def urlopen(url, *args, **kwargs):
        raise AssertionError(f"a test reached for {url}")

    monkeypatch.setattr("minivae.data._open", urlopen)


# not for the session: while it is open, no other test may run an event loop
@pytest.fixture(scope="module")
def browser():
    with launched() as found:
        yield found


@pytest.fixture(scope="session")
def digits():
    return data.load_digits("builtin", "train")


@pytest.fixture(scope="session")
def small(digits):
    return digits[:200]


@pytest.fixture(scope="session")
def trained(digits):
    """Models that have learnt something: their weights are not noise."""
    models = {}
    for kind, n_latent in ((Autoencoder, 2), (VAE, 2), (CVAE, 2), (CVAE, 8)):
        model = kind(n_latent=n_latent, hidden=(96, 48))
        fit(model, digits, TrainConfig(epochs=12, lr=0.004), progress=False)
        models[f"{kind.__name__} {n_latent}"] = model
    return models


@pytest.fixture(scope="session")
def judge(digits):
    judge = Classifier()
    fit(judge, digits, TrainConfig(epochs=4), progress=False)
    return judge


@contextmanager
def refused(name, kind=(ValueError, TypeError)):
    """The block ends in a clear error of our own that starts with `name`."""
    with pytest.raises(Exception) as caught:
        yield caught
    text = str(caught.value)
    assert isinstance(caught.value, kind), repr(caught.value)
    assert text.startswith(str(name)), text
    assert len(text) <= 400, text
    assert "\n" not in text, text
    assert caught.traceback[-1].path.is_relative_to(ROOT / "minivae"), text


@contextmanager
def untouched_rng():
    """The block draws nothing from torch's global generator."""
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before)


def flat(state, at=""):
    """Every leaf of nested dicts and lists, by its path."""
    if isinstance(state, dict):
        pairs = state.items()
    elif isinstance(state, list | tuple):
        pairs = enumerate(state)
    else:
        return {at: state}
    leaves = [flat(value, f"{at}/{key}") for key, value in pairs]
    return {k: v for leaf in leaves for k, v in leaf.items()}


def same(a, b, but="digits_per_second"):
    """Whether two nested states agree in every bit, except where named."""
    a, b = flat(a), flat(b)
    return a.keys() == b.keys() and all(
        (v.dtype == b[k].dtype and torch.equal(v, b[k]))
        if isinstance(v, Tensor)
        else v == b[k]
        for k, v in a.items()
        if but not in k
    )


def digest(path):
    """Of a file; pytest would compare long bytes for minutes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def close(a, b, rtol=1e-5):
    """Equal to a relative tolerance, with none for values near zero."""
    a = torch.as_tensor(a)
    b = torch.as_tensor(b, dtype=a.dtype)
    torch.testing.assert_close(a, b, rtol=rtol, atol=0.0)


@pytest.fixture
def ends(monkeypatch):
    """A run that misses its end fails instead of going on for ever."""
    n, batches = count(), Run.batches

    def counted(run, epoch):
        assert next(n) < 1000, "a run has no end"
        return batches(run, epoch)

    monkeypatch.setattr(Run, "batches", counted)
