"""With a model on a GPU and data on the CPU, everything finds its place.

No GPU is needed: what lies on one has no numbers here, only shape, type and
device, and to mix devices is as wrong as there. What lies on the CPU is
real. A function either returns, or comes to where it would read a number
from the GPU, after the model has done its work.
"""

import importlib
import inspect
from functools import partial

import pytest
import torch
from conftest import ROOT
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    FakeTensor,
    FakeTensorMode,
)
from torch.utils._pytree import tree_leaves

from minivae import (
    CVAE,
    M2,
    VAE,
    Autoencoder,
    Classifier,
    Images,
    PixelCVAE,
    Table,
)
from minivae.anomalies import Background
from minivae.completion import complete, completion_likelihood, quadrants
from minivae.objective import gaussian_kl, reparameterize

MODULES = ("evaluate", "anomalies", "latent", "models", "clinic")


class GPU(FakeTensorMode):
    """Only what is on "cuda" is made up; all on the CPU is computed."""

    def __init__(self):
        super().__init__(allow_non_fake_inputs=True)
        self.inside = False  # whether it is at work itself

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = tree_leaves((args, kwargs))
        made_up = any(
            isinstance(v, FakeTensor)
            or (isinstance(v, torch.device) and v.type == "cuda")
            for v in given
        )
        if not (made_up or self.inside):
            return func(*args, **(kwargs or {}))
        before, self.inside = self.inside, True
        try:
            return super().__torch_dispatch__(func, types, args, kwargs)
        finally:
            self.inside = before


@pytest.fixture(autouse=True)
def no_gradients(monkeypatch):
    """Without a GPU there is no way back through it."""

    def grad(outputs, inputs, **options):
        assert outputs.requires_grad  # its nats are on the CPU, q is not
        assert all(v.device.type == "cuda" for v in inputs)
        return [torch.zeros_like(v) for v in inputs]

    monkeypatch.setattr(torch.autograd, "grad", grad)


# --- models and what they are given


N = 6
NAN = float("nan")
LABELS = torch.arange(N) % 3
TOLD = torch.stack([LABELS.float(), torch.linspace(-1, 1, N)], 1)
TOLD[0, 0] = TOLD[1, 1] = NAN
MODELS = {
    "autoencoder": (Autoencoder, {}),
    "vae": (VAE, {}),
    "labels": (CVAE, {"n_classes": 3}),
    "conditions": (CVAE, {"conditions": (3, 1)}),
    "conv": (VAE, {"network": "conv"}),
    "conv with labels": (CVAE, {"network": "conv", "n_classes": 3}),
    "colour": (VAE, {"shape": (3, 8, 4)}),
    "fixed sigma": (VAE, {"likelihood": "gaussian", "sigma": 0.3}),
    "learned sigma": (VAE, {"likelihood": "gaussian"}),
    "table": (
        VAE,
        {"likelihood": "gaussian", "sigma": "each", "shape": (5,)},
    ),
    "table with labels": (
        CVAE,
        {"likelihood": "gaussian", "shape": (5,), "n_classes": 3},
    ),
    "mixture": (VAE, {"prior": "mixture"}),
    "vamp": (VAE, {"prior": "vamp"}),
    "conditional": (CVAE, {"prior": "conditional", "n_classes": 3}),
    "conditional prior of conditions": (
        CVAE,
        {"prior": "conditional", "conditions": (3, 1)},
    ),
    "three samples": (VAE, {"n_samples": 3}),
    "free bits": (CVAE, {"free_bits": 0.1, "n_classes": 3}),
    "continuous": (VAE, {"likelihood": "continuous_bernoulli"}),
    "logistic": (VAE, {"likelihood": "discretized_logistic"}),
    "categorical": (VAE, {"likelihood": "categorical", "shape": (1, 4, 4)}),
    "logistic conv with conditions": (
        CVAE,
        {
            "likelihood": "discretized_logistic",
            "network": "conv",
            "conditions": (3, 1),
        },
    ),
}


def build(name):
    kind, options = MODELS[name]
    hidden = (4, 4, 8) if options.get("network") else (8,)
    options = {"shape": (1, 8, 4), "hidden": hidden} | options
    with torch.device("cuda"):
        return kind(2, **options)


def given(model):
    """Rows, conditions and data for a model, all on the CPU."""
    y = LABELS if model.n_classes else TOLD if model.conditions else None
    noise = torch.Generator().manual_seed(0)
    x = torch.rand(N, *model.shape, generator=noise)
    if len(model.shape) == 3:
        images = (255 * x).byte()
        if model.conditions:
            return Images(images, LABELS, conditions=y)
        return Images(images, y)
    return Table(x, y)


class Case:
    """A model on the GPU, and what a function of it may be given."""

    def __init__(self, name):
        self.model = build(name)
        self.data = given(self.model)
        self.x, self.y = self.data.x(), self.data.y
        if getattr(getattr(self.model, "likelihood", None), "binary", False):
            self.x = self.x.round()
        self.z = torch.randn(N, 2)
        self.one = None if self.y is None else self.y[:1]
        self.q = torch.zeros(N, 2), torch.zeros(N, 2)
        self.runs = []
        for part in (self.model.encoder, self.model.decoder):
            part.register_forward_hook(lambda *_: self.runs.append(1))

    @property
    def background(self):
        """What belongs to a binary model, on the CPU."""
        likelihood = getattr(self.model, "likelihood", None)
        binary = getattr(likelihood, "binary", False)
        return Background(self.data) if binary else None

    @property
    def asked(self):
        """One condition for all, as `latent.sample` takes it."""
        if self.model.n_classes:
            return 2
        return (2, None) if self.model.conditions else None


def anything(model):
    return True


def is_vae(model):
    return isinstance(model, VAE)


def takes_labels(model):
    return model.n_classes > 0


def takes_one_or_none(model):
    return not model.conditions


# function -> how it is called with a case, and for which models it is
CALLS = {
    "evaluate.prepared": (
        lambda f, c: f(c.model, c.data),
        anything,
    ),
    "evaluate.evaluate": (lambda f, c: f(c.model, c.data), anything),
    "evaluate.codes": (lambda f, c: f(c.model, c.data), anything),
    "evaluate.log_likelihood": (lambda f, c: f(c.model, c.data, 3), is_vae),
    "evaluate.log_importance_weights": (
        lambda f, c: (
            f(c.model, c.x, c.y, 3),
            f(c.model, c.x, c.y, 3, torch.Generator()),
            f(c.model, c.x, c.y, 3, None, c.q),
        ),
        is_vae,
    ),
    "evaluate.log_joint": (
        lambda f, c: f(c.model, c.x, c.z, c.one),
        is_vae,
    ),
    "evaluate.log_evidence": (
        lambda f, c: f(c.model, c.x, c.y, 4),
        is_vae,
    ),
    "evaluate.optimise_q": (
        lambda f, c: (
            f(c.model, c.x, c.y, 3),
            f(c.model, c.x, c.y, 3, full=True),
        ),
        is_vae,
    ),
    "evaluate.posteriors": (lambda f, c: f(c.model, c.data), is_vae),
    "evaluate.kl_per_dimension": (
        lambda f, c: f(c.model, c.data),
        lambda model: hasattr(getattr(model, "prior", None), "kl_each"),
    ),
    "evaluate.active_units": (lambda f, c: f(c.model, c.data), is_vae),
    "evaluate.split_kl": (lambda f, c: f(c.model, c.data), is_vae),
    "anomalies.anomaly_scores": (
        lambda f, c: f(c.model, c.data, 3, 0, c.background),
        anything,
    ),
    "latent.pictures": (lambda f, c: f(c.model, c.z, c.y), anything),
    "latent.reconstruct": (lambda f, c: f(c.model, c.data), anything),
    "latent.sample": (
        lambda f, c: (f(c.model, 3, c.asked), f(c.model, N, c.y)),
        is_vae,
    ),
    "latent.latent_grid": (
        lambda f, c: f(c.model, 3, c.asked),
        takes_one_or_none,
    ),
    "latent.same_style": (lambda f, c: f(c.model, 3), takes_labels),
    "latent.to_code": (lambda f, c: f(c.model, c.z, c.y), anything),
    "latent.transfer": (lambda f, c: f(c.model, c.data), takes_labels),
    # these come from the model itself, so what they give stays with it
    "Autoencoder.forward": (
        lambda f, c: (
            c.model(c.x, c.y),
            c.model(c.x, c.y, torch.Generator()),
            c.model(c.x, c.y, torch.zeros(N, 2)),
        ),
        anything,
    ),
    "Autoencoder.encode": (lambda f, c: f(c.model, c.x, c.y), anything),
    "Autoencoder.encode_mean": (lambda f, c: f(c.model, c.x, c.y), anything),
    "Autoencoder.decode": (
        lambda f, c: (
            f(c.model, c.z, c.y),
            f(c.model, c.z.expand(4, N, 2), c.y),
        ),
        anything,
    ),
    "Autoencoder.decode_mean": (lambda f, c: f(c.model, c.z, c.y), anything),
    "Autoencoder.condition_vector": (
        lambda f, c: f(c.model, c.y, N),
        anything,
    ),
    "VAE.log_likelihood": (
        lambda f, c: (
            f(c.model, c.x, c.z, c.y),
            f(c.model, c.x, c.z.expand(4, N, 2), c.y),
        ),
        is_vae,
    ),
    "VAE.sample": (
        lambda f, c: (
            f(c.model, N, c.y),
            f(c.model, N, c.y, torch.Generator()),
        ),
        is_vae,
    ),
}
# what is here for other reasons than to give numbers
OTHERS = {
    "models.at_rest": "only switches a model over",
    "clinic.check_up": "see below; it is for binary models alone",
    "Classifier.encode": "see below",
    "Classifier.forward": "see below",
    "Classifier.read": "see below",
    "Classifier.accuracy": "see below",
}
# they work on a model without running it
IDLE = (
    *("evaluate.prepared", "latent.to_code"),
    "Autoencoder.condition_vector",
)


def function(name):
    """The function of this name, and for methods that of the model."""
    place, _, last = name.partition(".")
    if place in MODULES:
        return getattr(importlib.import_module(f"minivae.{place}"), last)
    return lambda model, *args: getattr(model, last)(*args)


def methods(kind):
    """Public methods of a class that are its own."""
    for name, value in vars(kind).items():
        if name[0] != "_" and inspect.isfunction(inspect.unwrap(value)):
            yield name


def test_no_function_of_a_model_is_forgotten():
    found = set()
    for name in MODULES:
        module = importlib.import_module(f"minivae.{name}")
        for last, value in inspect.getmembers(module, inspect.isfunction):
            own = value.__module__ == module.__name__ and last[0] != "_"
            if own and "model" in inspect.signature(value).parameters:
                found.add(f"{name}.{last}")
    for kind in (Autoencoder, VAE, CVAE, Classifier):
        for last in methods(kind):
            # a method that is overridden is tried on all models
            base = next(
                k
                for k in (Autoencoder, VAE, CVAE, Classifier)
                if last in vars(k) and issubclass(kind, k)
            )
            found.add(f"{base.__name__}.{last}")
    assert found == CALLS.keys() | OTHERS.keys()
    # and the modules that have such functions
    others = {
        "train": "its loop moves a model; see test_train",
        "engine": "as train",
        "store": "describes a model and builds it again",
        "timing": "times a machine that is there",
        "explorer": "reads the weights into a page; see test_explorer",
        "checks": "is gone, and says where to",
        "completion": "its own kind of model; see below",
        "priors": "are parts of a model",
    }
    for file in (ROOT / "minivae").rglob("*.py"):
        name = file.relative_to(ROOT / "minivae").with_suffix("").parts[0]
        if name in MODULES or name in others or name.startswith("__"):
            continue
        module = importlib.import_module(f"minivae.{name}")
        for last, value in inspect.getmembers(module, inspect.isfunction):
            if value.__module__ == module.__name__ and last[0] != "_":
                parameters = inspect.signature(value).parameters
                assert "model" not in parameters, f"{name}.{last}"


# --- every function with every model that it is for


def outcome(name, case):
    """What a function returns; None if it stopped to read a number."""
    call, _ = CALLS[name]
    try:
        found = call(function(name), case)
    except DataDependentOutputException:
        assert case.runs, f"{name}: reads a number before the model is run"
        return None
    assert case.runs or name in IDLE, f"{name}: the model was not run"
    return found


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("model", MODELS)
def test_a_function_finds_everything_on_its_device(name, model):
    with GPU():
        case = Case(model)
        assert case.model.device.type == "cuda"
        if not CALLS[name][1](case.model):
            return
        found = outcome(name, case)
    tensors = [v for v in tree_leaves(found) if isinstance(v, Tensor)]
    if name.partition(".")[0] in MODULES:
        assert {v.device.type for v in tensors} <= {"cpu"}
    else:
        assert tensors or model in ("autoencoder", "vae") or name in IDLE
        assert {v.device.type for v in tensors} <= {"cuda"}
    # the model stayed where it was
    assert {v.device.type for v in case.model.state_dict().values()} == {
        "cuda"
    }


def test_completions_are_found_on_the_device():
    with GPU():
        with torch.device("cuda"):
            model = PixelCVAE(2, (8,), shape=(1, 8, 4))
        data = given(model)
        y = data.x().masked_fill(~quadrants(model.shape, 2), torch.nan)
        noise = torch.Generator().manual_seed(0)
        assert complete(model, y, 3).device.type == "cpu"
        for found in (
            model(data.x(), y, noise)["loss"],
            model(data.x(), LABELS, noise)["loss"],
            model.decode_mean(torch.zeros(N, 2), y),
            model.log_likelihood(data.x(), torch.zeros(3, N, 2), y),
            model.hide(data.x().to("cuda"), noise),
        ):
            assert found.device.type == "cuda"
        with pytest.raises(DataDependentOutputException):
            # the first number that is read is the result
            completion_likelihood(model, data, 2, 3)


def test_m2_is_found_on_the_device():
    with GPU():
        with torch.device("cuda"):
            model = M2(2, (8,), shape=(1, 8, 4), conditions=(3,))
        x = given(model).x()
        for y in (None, LABELS, TOLD[:, :1]):
            assert model(x, y)["loss"].device.type == "cuda"
        assert model.classify(x).device.type == "cpu"


RETURNS = {  # those that give tensors and must not need a number on the way
    *(n for n in CALLS if n[0].isupper() or n.startswith("latent.")),
    "evaluate.codes",
    "evaluate.log_importance_weights",
    "evaluate.log_joint",
    "evaluate.log_evidence",
    "evaluate.optimise_q",
    "evaluate.posteriors",
    "evaluate.kl_per_dimension",
    "evaluate.active_units",
    "evaluate.prepared",
    "anomalies.anomaly_scores",
}


@pytest.mark.parametrize("name", sorted(RETURNS))
def test_what_gives_tensors_does_not_wait_for_the_gpu(name):
    for model in ("vae", "labels", "conditions", "table"):
        with GPU():
            case = Case(model)
            if CALLS[name][1](case.model):
                found = outcome(name, case)
                assert found is not None or name in IDLE, model


@pytest.mark.parametrize("x_there", [False, True])
@pytest.mark.parametrize("y_there", [False, True])
@pytest.mark.parametrize("model", ["labels", "conditions"])
def test_some_of_it_may_be_on_the_gpu(model, x_there, y_there):
    with GPU():
        case = Case(model)
        x = case.x.to("cuda") if x_there else case.x
        z = case.z.to("cuda") if x_there else case.z
        y = case.y.to("cuda") if y_there else case.y
        for found in (
            case.model(x, y)["loss"],
            case.model.decode_mean(z, y),
            case.model.log_likelihood(x, z, y),
            case.model.sample(N, y),
        ):
            assert found.device.type == "cuda"
        for name, args in (
            ("latent.pictures", (z, y)),
            ("latent.sample", (N, y)),
            ("evaluate.log_importance_weights", (x, y, 3)),
            ("evaluate.log_joint", (x, z, y[:1])),
        ):
            found = function(name)(case.model, *args)
            assert found.device.type == "cpu"


@pytest.mark.parametrize("model", ["labels", "conditions", "table", "colour"])
def test_data_may_be_on_the_gpu(model):
    with GPU():
        case = Case(model)
        data = case.data.to("cuda")
        assert data.device.type == data[:3].device.type == "cuda"
        # to say what they are, the data need not be read
        assert data.shape == case.data.shape
        assert data.x().device.type == "cuda"
        for name in ("evaluate.codes", "latent.reconstruct"):
            found = function(name)(case.model, data)
            assert found.device.type == "cpu"
        with pytest.raises(DataDependentOutputException):
            function("evaluate.evaluate")(case.model, data)
        assert case.runs


def test_a_model_may_be_on_the_cpu_and_data_on_the_gpu():
    with GPU():
        model = VAE(2, (8,), shape=(5,), likelihood="gaussian")
        data = Table(torch.rand(N, 5)).to("cuda")
        assert model.device.type == "cpu"
        for name in ("evaluate.codes", "latent.reconstruct"):
            found = function(name)(model, data)
            assert found.device.type == "cpu"
        with torch.no_grad():
            assert model(data.x())["loss"].device.type == "cpu"


# --- classifier, patients, priors and likelihoods


@pytest.mark.parametrize("shape", [(1, 8, 12), (3, 8, 8)])
def test_a_classifier_finds_everything_on_its_device(shape):
    with GPU():
        with torch.device("cuda"):
            model = Classifier(n_classes=3, shape=shape)
        x = torch.rand(N, *shape)
        data, runs = Images((255 * x).byte(), LABELS), []
        model.layers.register_forward_hook(lambda *_: runs.append(1))
        assert model.read(x).device.type == "cpu"
        assert model.encode(x).device.type == "cuda"
        assert model(x, LABELS)["loss"].device.type == "cuda"
        for functions in (model.accuracy, lambda d: evaluated(model, d)):
            runs.clear()
            with pytest.raises(DataDependentOutputException):
                functions(data)
            assert runs


def evaluated(model, data):
    return function("evaluate.evaluate")(model, data)


@pytest.mark.filterwarnings("ignore:Accessing the data pointer")
def test_a_check_up_finds_everything_on_its_device(monkeypatch):
    # what is made up cannot change its type in place, so it is double already
    monkeypatch.setattr(nn.Module, "double", lambda model: model)
    monkeypatch.setattr(nn, "Linear", partial(nn.Linear, dtype=torch.float64))
    with GPU():
        with torch.device("cuda"):
            model = VAE(2, (8,), shape=(5,))
        runs = []
        model.encoder.register_forward_hook(lambda *_: runs.append(1))
        with pytest.raises(DataDependentOutputException):
            function("clinic.check_up")(
                model, torch.rand(4, 5).round(), torch.Generator()
            )
        assert runs


class Own(VAE):
    """A model with a formula of its own, tried on all pairs."""

    def log_likelihood(self, x, z, y=None):
        x = x.to(self.device)
        return -(x - self.decode(z, y)).abs().sum(-1)


def test_a_model_of_your_own_finds_everything_on_its_device():
    with GPU():
        with torch.device("cuda"):
            model = Own(2, (8,), "gaussian", shape=(5,))
        x, z = torch.rand(N, 5), torch.randn(3, 2)
        for name, args in (
            ("evaluate.log_joint", (x, z)),
            ("evaluate.log_evidence", (x, None, 2)),
        ):
            assert function(name)(model, *args).device.type == "cpu"


# --- the net would catch them


class Forgetful(VAE):
    """Draws its noise on the CPU and leaves it there."""

    def forward(self, x, y=None, noise=None):
        mu, logvar = self.encode(x, y)
        z = mu + (logvar / 2).exp() * torch.randn(mu.shape)
        loss = gaussian_kl(mu, logvar) - self.log_likelihood(x, z, y)
        return {"loss": loss}


class Stubborn(VAE):
    """Does not move what it is given."""

    def forward(self, x, y=None, noise=None):
        return {"loss": self.encoder(x).sum(1)}


class Hasty(VAE):
    """Reads a number before anything is done."""

    def forward(self, x, y=None, noise=None):
        if self.encoder[0].weight.sum() > 0:
            x = -x
        return super().forward(x, y, noise)


def test_a_mix_of_devices_is_found_out():
    with GPU():
        for kind in (Forgetful, Stubborn):
            with torch.device("cuda"):
                model = kind(2, (8,), "gaussian", shape=(5,))
            with pytest.raises(RuntimeError, match="device"):
                model(torch.rand(N, 5))
        case = Case("table")
        with torch.device("cuda"):
            case.model = Hasty(2, (8,), "gaussian", shape=(5,))
        with pytest.raises(AssertionError, match="before"):
            outcome("evaluate.evaluate", case)


def test_only_what_is_on_the_gpu_is_made_up():
    with GPU():
        here, there = torch.ones(3), torch.ones(3, device="cuda")
        assert here.sum().item() == 3
        assert type(here) is Tensor
        assert isinstance(there, FakeTensor)
        with pytest.raises(DataDependentOutputException):
            there.sum().item()
        with pytest.raises(RuntimeError, match="device"):
            here + there
        back = (here.to("cuda") + there).cpu()
        assert back.device.type == "cpu"
        for numbers in (back, back.double().sum(), here + back):
            with pytest.raises(DataDependentOutputException):
                numbers.sum().item()
        noise = torch.Generator().manual_seed(0)
        z = reparameterize(there, there, noise)
        assert z.device.type == "cuda"
        expected = torch.Generator().manual_seed(0)
        torch.randn(3, generator=expected)
        # the noise was drawn on the CPU, so that all machines have the same
        assert torch.equal(noise.get_state(), expected.get_state())
    assert isinstance(nn.Linear(1, 1).weight.sum().item(), float)
