"""The three models are the formulas of the text, and refuse bad input."""

import math

import numpy as np
import pytest
import torch
from conftest import close, refused, same, untouched_rng
from torch.distributions import Bernoulli, Normal, kl_divergence

from minivae import CVAE, VAE, Autoencoder, validate
from minivae.likelihoods import Likelihood
from minivae.models import at_rest
from minivae.networks import MLP

KINDS = {
    "ae": Autoencoder,
    "vae": VAE,
    "cvae": CVAE,
    "gaussian": lambda *a, **o: VAE(*a, likelihood="gaussian", **o),
    "fixed": lambda *a, **o: VAE(*a, likelihood="gaussian", sigma=0.3, **o),
}
SIZES = {"n_latent": 3, "hidden": (16, 8), "shape": (25,)}
X = torch.rand(6, 25, generator=torch.Generator().manual_seed(0)).round()
Y = torch.tensor([0, 1, 2, 3, 4, 9])
every = pytest.mark.parametrize("kind", KINDS)
with_kl = pytest.mark.parametrize("kind", [k for k in KINDS if k != "ae"])


def build(kind, **options):
    return KINDS[kind](**SIZES | options)


def generator():
    return torch.Generator().manual_seed(1)


def label(model):
    return Y if model.n_classes else None


@pytest.mark.parametrize("kind", [VAE, CVAE])
def test_a_zero_network_scores_784_coin_tosses(kind):
    model = kind()
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    x = torch.rand(4, 784, generator=generator()).round()
    terms = model(x, torch.arange(4))
    assert terms["kl"].tolist() == [0] * 4
    close(-terms["loss"], torch.full((4,), -784 * math.log(2)), 1e-6)
    close(terms["reconstruction"], terms["loss"], 1e-7)


@with_kl
@pytest.mark.parametrize("beta", [0, 1.0, 4.0])
def test_loss_is_the_elbo_of_torch_distributions(kind, beta):
    model = build(kind, beta=beta)
    y = label(model)
    terms = model(X, y, generator())
    mu, logvar = model.encode(X, y)
    q = Normal(mu, (logvar / 2).exp())
    z = q.mean + q.stddev * torch.randn(6, 3, generator=generator())
    out = model.decode(z, y)
    if kind in ("gaussian", "fixed"):
        p = Normal(out, 0.3 if kind == "fixed" else 1.0)
    else:
        p = Bernoulli(logits=out)
    reconstruction = -p.log_prob(X).sum(-1)
    kl = kl_divergence(q, Normal(0.0, 1.0)).sum(-1)
    close(terms["reconstruction"], reconstruction)
    close(terms["kl"], kl, 1e-4)  # small: its terms nearly cancel
    close(terms["loss"], reconstruction + beta * kl)
    close(model(X, y, generator())["loss"], terms["loss"], 1e-7)
    close(model.log_likelihood(X, z, y), -reconstruction)
    close(model.encode_mean(X, y), mu, 1e-7)


def test_the_autoencoder_sums_the_squared_error():
    model = build("ae", hidden=())  # linear
    (up,), (down,) = model.encoder, model.decoder
    z = X @ up.weight.T + up.bias
    error = (X - z @ down.weight.T - down.bias).square().sum(1)
    terms = model(X)
    close(terms["loss"], error)
    close(terms["reconstruction"], error)
    close(model.encode_mean(X), z)
    assert "kl" not in terms


@with_kl
def test_codes_are_sampled_with_the_generator(kind):
    model = build(kind)
    y = label(model)
    with untouched_rng():
        a, b = (model(X, y, generator()) for _ in range(2))
        c = model(X, y, torch.Generator().manual_seed(2))
    assert same(a, b)
    assert (a["reconstruction"] != c["reconstruction"]).all()
    assert torch.equal(a["kl"], c["kl"])


@every
def test_sizes_beyond_all_memory_are_refused_by_name(kind):
    for size in (10**12, 2**62):
        with refused("n_latent, hidden:", ValueError):
            KINDS[kind](n_latent=size)


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    with pytest.raises(RuntimeError, match="mat1"), validate.memory("a", "b"):
        torch.zeros(2, 3) @ torch.zeros(2, 3)
    with refused("a do not fit in memory; b"), validate.memory("a", "b"):
        raise MemoryError


@every
def test_every_result_has_one_value_for_each_digit(kind):
    model = build(kind)
    for n in (6, 1, 0):
        y = Y[:n] if model.n_classes else None
        for value in model(X[:n], y).values():
            assert value.shape == (n,)
        assert model.encode_mean(X[:n], y).shape == (n, 3)
        assert model.decode_mean(torch.zeros(n, 3), y).shape == (n, 25)


@every
def test_decode_broadcasts_over_samples(kind):
    model = build(kind)
    z = torch.randn(4, 6, 3, generator=generator())  # (K, B, L)
    y = label(model)
    whole = model.decode(z, y)
    for k in range(4):
        torch.testing.assert_close(whole[k], model.decode(z[k], y))
    if kind != "ae":
        assert model.log_likelihood(X, z, y).shape == (4, 6)


def test_the_label_reaches_the_encoder_and_the_decoder():
    model = build("cvae")
    y = torch.arange(10)
    mu, logvar = model.encode(X[:1].expand(10, -1), y)
    logits = model.decode(torch.zeros(10, 3), y)
    for result in (mu, logvar, logits):
        assert len(result.unique(dim=0)) == 10
    # the labels of others do not
    torch.testing.assert_close(model.encode(X[:1], y[3:4])[0][0], mu[3])


def test_the_condition_is_the_label_as_one_hot():
    model = build("cvae", n_classes=4, hidden=())
    z, y = torch.zeros(4, 3), torch.arange(4)
    (layer,) = model.decoder
    close(model.decode(z, y), layer.weight[:, 3:].T + layer.bias)


def test_a_learned_sigma_becomes_the_root_mean_squared_residual():
    model = build("gaussian", hidden=())
    with torch.no_grad():  # the mean of each pixel is 0
        for weight in model.decoder.parameters():
            weight.zero_()
    x = 0.2 * torch.randn(50, 25, generator=generator())
    optimizer = torch.optim.Adam([model.likelihood.log_sigma], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        model(x, None, generator())["loss"].mean().backward()
        assert model.likelihood.log_sigma.grad != 0
        optimizer.step()
    close(
        model.likelihood.log_sigma.detach().exp() ** 2, x.square().mean(), 1e-3
    )


def test_a_fixed_sigma_stays_fixed():
    model = build("fixed")
    close(model.likelihood.log_sigma.detach().exp(), 0.3, 1e-6)
    assert not model.likelihood.log_sigma.requires_grad


@every
def test_construction_is_a_function_of_the_seed(kind):
    with untouched_rng():
        first = build(kind)
    torch.manual_seed(5)
    assert same(first.state_dict(), build(kind).state_dict())
    other = build(kind, seed=1)
    assert not torch.equal(first.encoder[0].weight, other.encoder[0].weight)


@every
def test_the_options_build_the_same_model_again(kind):
    model = build(kind, seed=3)
    assert model.options.items() >= (SIZES | {"seed": 3}).items()
    again = type(model)(**model.options)
    assert again.options == model.options
    assert same(again.state_dict(), model.state_dict())
    assert str(again) == str(model)


@every
def test_a_code_stands_for_the_mean_of_its_distribution(kind):
    model = build(kind)
    z = 100 * torch.randn(6, 3, generator=generator())
    y = label(model)
    picture, raw = model.decode_mean(z, y), model.decode(z, y)
    assert raw.min() < 0
    assert raw.max() > 1
    if kind in ("vae", "cvae"):
        assert ((picture >= 0) & (picture <= 1)).all()
        torch.testing.assert_close(picture, raw.sigmoid())
    else:  # a mean of any size is what it is
        assert torch.equal(picture, raw)


@every
def test_gradients_reach_every_parameter(kind):
    model = build(kind)
    model(X, label(model), generator())["loss"].mean().backward()
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            assert weight.grad.abs().max() > 0, name


@every
def test_the_layout_in_memory_changes_nothing(kind):
    model = build(kind)
    x = X.T.contiguous().T
    assert not x.is_contiguous()
    y = label(model)
    a, b = model(x, y, generator()), model(X, y, generator())
    for name in a:
        torch.testing.assert_close(a[name], b[name])


# --- several conditions, any of which may be withheld

NAN, INF = float("nan"), float("inf")
# a class of three and a number, some of them withheld (NaN)
TOLD = torch.tensor(
    [[0, 0.5], [2, NAN], [NAN, -1.5], [NAN, NAN], [0, 0.0], [1, 0.5]]
)


def told(**options):
    return build("cvae", conditions=(3, 1), **options)


def test_the_networks_read_values_and_masks():
    model = told()
    expected = [
        # one-hot class, given?, number, given?
        [1, 0, 0, 1, 0.5, 1],
        [0, 0, 1, 1, 0, 0],
        [0, 0, 0, 0, -1.5, 1],
        [0, 0, 0, 0, 0, 0],
        [1, 0, 0, 1, 0, 1],
        [0, 1, 0, 1, 0.5, 1],
    ]
    assert model.condition_vector(TOLD, 6).tolist() == expected
    # both networks read it beside their own input
    seen = []
    for network in (model.encoder, model.decoder):
        network[0].register_forward_pre_hook(lambda _, v: seen.append(v[0]))
    model.decode(model.encode_mean(X, TOLD), TOLD)
    for joined, width in zip(seen, (25, 3)):
        assert joined.shape == (6, width + 6)
        assert joined.dtype == torch.float32
        assert joined[:, width:].tolist() == expected
    assert torch.equal(seen[0][:, :25], X)


@pytest.mark.parametrize(
    "conditions, width",
    [((1,), 2), ((10,), 11), ((10, 1), 13), ([1, 4, 1], 9)],
)
def test_the_width_is_that_of_the_values_and_one_mask_each(conditions, width):
    model = build("cvae", hidden=(), conditions=conditions)
    assert model.encoder[0].in_features == 25 + width
    assert model.decoder[0].in_features == 3 + width
    y = torch.zeros(2, len(conditions))
    assert model.condition_vector(y, 2).shape == (2, width)


def test_withheld_is_not_the_same_as_zero():
    model, zero = told(), TOLD.nan_to_num()
    hidden = TOLD.isnan().any(1)
    assert hidden.tolist() == [False, True, True, True, False, False]
    z = torch.zeros(6, 3)
    for a, b in (
        (model.encode_mean(X, TOLD), model.encode_mean(X, zero)),
        (model.decode(z, TOLD), model.decode(z, zero)),
    ):
        assert ((a != b).any(1) == hidden).all()
        torch.testing.assert_close(a[~hidden], b[~hidden])


def test_each_combination_of_conditions_has_its_own_answer():
    model = told()
    given = torch.tensor([1.0, 0.7])
    masks = torch.tensor([[1, 1], [1, 0], [0, 1], [0, 0]]) > 0
    y = given.masked_fill(~masks, NAN)
    logits = model.decode(torch.zeros(4, 3), y)
    mu, logvar = model.encode(X[:1].expand(4, -1), y)
    for result in (logits, mu, logvar):
        assert len(result.unique(dim=0)) == 4
    # one row's conditions do not reach another
    alone = model.decode(torch.zeros(1, 3), y[2:3])
    torch.testing.assert_close(alone[0], logits[2])


def test_conditions_broadcast_over_samples():
    model = told()
    z = torch.randn(4, 6, 3, generator=generator())  # (K, B, L)
    whole = model.decode(z, TOLD)
    for k in range(4):
        torch.testing.assert_close(whole[k], model.decode(z[k], TOLD))
    assert model.log_likelihood(X, z, TOLD).shape == (4, 6)


def test_a_model_with_conditions_is_the_elbo_of_torch_distributions():
    model = told(beta=2.0)
    terms = model(X, TOLD, generator())
    mu, logvar = model.encode(X, TOLD)
    q = Normal(mu, (logvar / 2).exp())
    z = q.mean + q.stddev * torch.randn(6, 3, generator=generator())
    p = Bernoulli(logits=model.decode(z, TOLD))
    close(terms["reconstruction"], -p.log_prob(X).sum(-1))
    kl = kl_divergence(q, Normal(0.0, 1.0)).sum(-1)
    close(terms["kl"], kl, 1e-4)
    close(terms["loss"], terms["reconstruction"] + 2 * terms["kl"])


def test_options_say_which_conditions_there_are():
    model = told(condition_dropout=0.25)
    assert (model.conditions, model.condition_dropout) == ((3, 1), 0.25)
    assert model.n_classes == 0
    again = CVAE(**model.options)
    assert again.condition_dropout == 0.25
    assert again.options == model.options
    assert same(again.state_dict(), model.state_dict())
    assert build("cvae", conditions=[3, 1]).conditions == (3, 1)
    assert told().condition_dropout == 0.5
    for kind in KINDS:  # the others are told one label, or nothing
        plain = build(kind)
        assert (plain.conditions, plain.condition_dropout) == ((), 0.0)
    assert build("cvae").options["n_classes"] == 10


@pytest.mark.parametrize(
    "name, value",
    [("conditions", v) for v in (5, None, "ab", (0,), (10, 2.5), (3, "1"))]
    + [("condition_dropout", v) for v in (-0.1, 1.1, NAN, "0.5", True)],
)
def test_bad_options_of_conditions_are_refused(name, value):
    with untouched_rng(), refused(f"{name}:"):
        told(**{name: value}) if name == "condition_dropout" else build(
            "cvae", conditions=value
        )


@pytest.mark.parametrize(
    "y, hint",
    [
        (None, "pass a float32 tensor (B, 2)"),
        (5, "pass a float32 tensor (B, 2)"),
        (TOLD.tolist(), "pass a float32 tensor (B, 2)"),
        (Y, "stack the conditions"),
        (TOLD.nan_to_num().long(), "stack the conditions"),
        (TOLD[1:], "stack the conditions"),
        (TOLD[:, :1], "stack the conditions"),
        (TOLD[:, 0], "stack the conditions"),
        (TOLD.nan_to_num(INF), "NaN stands for"),
        (TOLD.nan_to_num(-INF), "NaN stands for"),
        (TOLD + 1, "declare it as a number"),
        (TOLD - 1, "declare it as a number"),
        (TOLD + 0.5, "declare it as a number"),
    ],
    ids=str,
)
def test_bad_conditions_are_refused_and_say_what_to_do(y, hint):
    model, z = told(), torch.zeros(6, 3)
    for method in (model.encode, model, model.encode_mean):
        with refused("y:") as caught:
            method(X, y)
        assert hint in str(caught.value)
    for method in (model.decode, model.decode_mean):
        with refused("y:"):
            method(z, y)


def test_a_number_may_be_any_and_all_may_be_withheld():
    model = told()
    for value in (-7.3, 0.0, 30.0, NAN):
        y = torch.tensor([[NAN, value]]).expand(6, -1)
        assert model(X, y)["loss"].isfinite().all()
    for n in (1, 0):
        assert model(X[:n], TOLD[:n])["loss"].shape == (n,)


# --- bad input

BAD_ROWS = {
    "one row without a batch": X[0],
    "too narrow": X[:, :-1],
    "images": X.view(6, 5, 5),
    "scalar": torch.tensor(0.5),
    "uint8": X.byte(),
    "int64": X.long(),
    "NaN": X.clone().index_fill_(1, torch.tensor([3]), NAN),
    "infinite": X.clone().index_fill_(1, torch.tensor([3]), -INF),
    "list": X.tolist(),
    "array": X.numpy(),
    "none": None,
}
BAD_PIXELS = {"0 to 255": 255 * X, "-1 to 1": 2 * X - 1}


@pytest.mark.parametrize(
    "kind, case",
    [(kind, case) for kind in ("ae", "vae", "cvae") for case in BAD_ROWS]
    # an autoencoder has no distribution, so it takes any finite values
    + [(kind, case) for kind in ("vae", "cvae") for case in BAD_PIXELS],
)
def test_bad_pixels_are_refused(kind, case):
    model, x = build(kind), (BAD_ROWS | BAD_PIXELS)[case]
    for method in (model.encode, model, model.encode_mean):
        with refused("x:"):
            method(x, label(model))


@pytest.mark.parametrize("case", BAD_ROWS)
@pytest.mark.parametrize("kind", ["ae", "vae", "cvae"])
def test_bad_codes_are_refused(kind, case):
    model, z = build(kind, n_latent=25), BAD_ROWS[case]
    for method in (model.decode, model.decode_mean):
        with refused("z:"):
            method(z, label(model))


@pytest.mark.parametrize("kind", ["ae", "vae", "cvae"])
def test_floats_of_another_size_are_converted(kind):
    model = build(kind)
    with torch.no_grad():
        wanted = model.encode_mean(X, label(model))
        found = model.encode_mean(X.double(), label(model))
        assert torch.equal(found, wanted)
        drawn = model.double().decode_mean(wanted, label(model))
    assert drawn.dtype == torch.float64


def test_the_defaults_are_those_that_the_book_uses():
    for kind in (Autoencoder, VAE, CVAE):
        model = kind()
        assert (model.n_latent, model.shape) == (20, (1, 28, 28))
        assert model.options["hidden"] == (256, 128)
        assert model.device == torch.device("cpu")


def test_in_training_one_row_tells_a_wrong_scale():
    model, x = build("vae"), X.clone()
    x[0] *= 255
    with refused("x:"):
        model(x)
    with refused("x:"):
        model.eval()(x.flip(0))  # and at rest any row


def test_values_that_give_no_finite_code_are_named():
    model = build("gaussian")
    with torch.no_grad(), refused("x:") as caught:
        model(1e38 * X)
    assert "standardise" in str(caught.value)
    with torch.no_grad():
        for weight in model.encoder.parameters():
            weight.mul_(100)
        with refused("x:"):
            model.encode_mean(1e38 * X)


def test_a_likelihood_that_does_not_sum_is_named():
    class Unsummed(Likelihood):
        def log_prob(self, x, params):
            return -(x - params).square()

    model = VAE(2, (4,), Unsummed(), shape=(3,))
    with refused("likelihood:") as caught:
        model(torch.zeros(5, 3))
    assert "sum_rows" in str(caught.value)
    with pytest.raises(NotImplementedError, match="Unsummed: write sample"):
        model.sample(2)


@pytest.mark.parametrize("kind", ["fixed", "gaussian", "ae"])
def test_values_of_a_table_may_be_any_that_are_finite(kind):
    model = build(kind)
    assert model(9 * X - 5)["loss"].isfinite().all()
    with refused("x:"):
        model(BAD_ROWS["NaN"])


@pytest.mark.parametrize(
    "y",
    [None, 5, Y - 1, Y + 1, Y + 0.5, Y.int(), Y[1:], Y[:, None], [1] * 6],
    ids=lambda y: type(y).__name__,
)
def test_bad_labels_are_refused(y):
    model = build("cvae")
    for method in (model.encode, model, model.encode_mean):
        with refused("y:"):
            method(X, y)
    for method in (model.decode, model.decode_mean):
        with refused("y:"):
            method(torch.zeros(6, 3), y)


WHOLE = [0, -1, 2.5, 2.0, True, None, "2", NAN, np.float64(2), (1,) * 300]


@pytest.mark.parametrize("name", ["n_latent", "shape", "n_classes", "seed"])
@pytest.mark.parametrize("value", WHOLE, ids=lambda v: f"{v!r:.20}")
def test_bad_sizes_are_refused(name, value):
    if name == "seed" and value == 0 and value is not False:
        value = 1.5
    if name == "shape" and isinstance(value, tuple):
        value = (1, 28, 0)
    with refused(f"{name}:"):
        build("cvae", **{name: value})
    if name == "shape":
        with refused("shape:"):
            build("cvae", shape=(1, value, 28))


@pytest.mark.parametrize(
    "name, value",
    [("hidden", v) for v in (5, "ab", (0,), (4, -1), (2.5,), ("x",))]
    + [("beta", v) for v in (-1, NAN, INF, "1", None, True, [1] * 300)]
    + [("sigma", v) for v in (0, -1.0, NAN, INF, "1", True)]
    + [("likelihood", v) for v in ("poisson", None, 1, "x" * 1000)],
)
def test_bad_options_are_refused(name, value):
    options = {"likelihood": "gaussian", name: value}
    with untouched_rng(), refused(f"{name}:"):
        VAE(**SIZES | options)


def test_a_bernoulli_pixel_has_no_sigma():
    with refused("sigma:", ValueError):
        VAE(sigma=0.1)


def test_a_code_is_as_exact_as_the_weights_where_layers_use_bf16():
    model = VAE(2, (16,))
    with torch.autocast("cpu", torch.bfloat16):
        mu, logvar = model.encode(torch.zeros(3, 784))
    assert mu.dtype == logvar.dtype == torch.float32


def test_weights_start_large_before_a_relu_and_small_at_the_end():
    model = Autoencoder(50, (200, 100))
    for half in (model.encoder, model.decoder):
        *inner, last = (m for m in half if hasattr(m, "weight"))
        # He et al. 2015: variance 2 / n before a ReLU
        for layer in inner:
            n = layer.weight.shape[1]
            assert 0.9 < layer.weight.var() * n / 2 < 1.1
            assert not layer.bias.any()
        assert last.weight.var() * last.weight.shape[1] < 0.5
        assert not last.bias.any()


def test_between_layers_negative_numbers_become_zero():
    network = MLP(1, 1, 1)
    with torch.no_grad():
        for weight in network.parameters():
            weight.fill_(1.0)
        out = network(torch.tensor([[-3.0], [-1.0], [2.0]]))
    assert out.flatten().tolist() == [1, 1, 4]
    with torch.no_grad():
        network[-1].bias.fill_(-9.0)  # the last layer may be negative
    assert network(torch.zeros(1, 1)).item() == -8


def test_the_decoder_is_the_mirror_of_the_encoder():
    model = Autoencoder(3, (20, 10))
    sizes = [m.weight.shape[1] for m in model.decoder if hasattr(m, "weight")]
    assert sizes == [3, 10, 20]
    sizes = [m.weight.shape[1] for m in model.encoder if hasattr(m, "weight")]
    assert sizes == [784, 20, 10]


def test_the_first_half_of_what_the_encoder_emits_is_mu():
    # a file of weights would mean something else in another order
    model = VAE(2, (16,))
    with torch.no_grad():
        model.encoder[-1].weight.zero_()
        model.encoder[-1].bias.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    mu, logvar = model.encode(torch.zeros(1, 784))
    assert (mu.tolist(), logvar.tolist()) == ([[1, 2]], [[3, 4]])


def test_pixels_alone_send_a_gradient_to_the_encoder(small):
    x = small[:5].images.flatten(1) / 255
    model = VAE(2, (16,))
    reconstruction = model(x)["reconstruction"].sum()
    gradients = torch.autograd.grad(
        reconstruction, list(model.encoder.parameters()), allow_unused=True
    )
    assert all(g is not None and g.abs().sum() > 0 for g in gradients)


def test_the_options_hold_the_number_of_classes():
    model = CVAE(2, (16,), n_classes=3)
    again = CVAE(**model.options)
    assert again.n_classes == 3
    assert again.encoder[0].weight.shape == (16, 787)


# --- rows of any shape

PICTURES = (1, 5, 5)


@every
def test_flat_rows_and_grey_pictures_are_read_as_the_shape_says(kind):
    model, flat = build(kind, shape=PICTURES), build(kind)
    assert same(model.state_dict(), flat.state_dict())
    y = label(model)
    expected = flat(X, y, generator())
    for x in (X, X.view(6, 5, 5), X.view(6, 1, 5, 5)):
        assert same(model(x, y, generator()), expected)
    z = torch.zeros(6, 3)
    for found in (model.decode(z, y), model.decode_mean(z, y)):
        assert found.shape == (6, *PICTURES)
    assert torch.equal(model.decode(z, y).flatten(1), flat.decode(z, y))
    for x in (X.view(6, 25, 1), X.view(6, 5, 1, 5), X.view(1, 6, 25)):
        with refused("x:"):
            model(x, y)


@pytest.mark.parametrize(
    "shape", [(25,), [25], np.array([1, 5, 5]), (3, 4, 2), (2, 2, 2, 3)]
)
def test_a_shape_is_a_tuple_of_numbers(shape):
    model = VAE(2, (8,), shape=shape)
    assert model.shape == tuple(int(n) for n in shape)
    assert all(type(n) is int for n in model.shape)
    assert model.n_values == math.prod(model.shape)
    x = torch.zeros(4, *model.shape)
    assert model.decode_mean(model.encode_mean(x)).shape == x.shape
    assert model(x)["loss"].shape == (4,)


def test_numbers_of_numpy_and_torch_are_numbers():
    model = CVAE(
        np.int64(3),
        [np.int32(16), 8],
        n_classes=torch.tensor(4),
        sigma=np.float32(0.5),
        beta=torch.tensor(2.0),
        shape=(np.int64(25),),
        seed=np.uint8(1),
        likelihood="gaussian",
    )
    options = {"n_classes": 4, "sigma": 0.5, "beta": 2.0, "seed": 1}
    options |= SIZES
    assert {k: model.options[k] for k in options} == options
    for value in model.options.values():
        assert type(value) in (int, float, str, tuple, type(None))
        for part in value if isinstance(value, tuple) else ():
            assert type(part) is int
    again = CVAE(likelihood="gaussian", **options)
    assert same(again.state_dict(), model.state_dict())
    told = build("cvae", conditions=np.array([3, 1]))
    assert told.conditions == (3, 1)
    assert told.options == build("cvae", conditions=(3, 1)).options


@pytest.mark.parametrize("value", [0.3, 1, np.float32(0.5)])
def test_a_label_is_never_withheld(value):
    with refused("condition_dropout:", ValueError) as caught:
        CVAE(condition_dropout=value)
    assert "give conditions" in str(caught.value)
    for never in (0, 0.0, None):
        assert CVAE(condition_dropout=never).condition_dropout == 0


@every
@pytest.mark.parametrize("where", [None, "generator", "tensor"])
def test_noise_is_a_source_or_the_numbers_themselves(kind, where):
    model = build(kind)
    y, numbers = label(model), torch.randn(6, 3, generator=generator())
    expected = model(X, y, numbers)
    if where is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            found = model(X, y)
    else:
        found = model(X, y, generator() if where == "generator" else numbers)
    assert same(found, expected)


def test_a_model_is_an_ordinary_module():
    class Wrapped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = build("vae")

        def forward(self, x):
            return self.inner(x, noise=torch.zeros(6, 3))["loss"]

    wrapped = Wrapped()
    close(wrapped(X), wrapped.inner(X, None, torch.zeros(6, 3))["loss"])
    seen = []
    wrapped.inner.register_forward_hook(lambda *_: seen.append(1))
    wrapped(X)
    assert seen == [1]


@pytest.mark.parametrize("training", [True, False])
def test_a_model_at_rest_is_as_it_was_afterwards(training):
    model = build("vae").train(training)
    with at_rest(model):
        assert not model.training
        assert not model(X)["loss"].requires_grad
    assert model.training is training
    with pytest.raises(KeyError), at_rest(model):
        raise KeyError
    assert model.training is training
    assert torch.is_grad_enabled()


# --- rows drawn from the model


@with_kl
def test_samples_are_drawn_from_the_prior_and_the_likelihood(kind):
    model = build(kind)
    y = torch.arange(4000) % 10 if model.n_classes else None
    with untouched_rng():
        x = model.sample(4000, y, generator())
        assert torch.equal(x, model.sample(4000, y, generator()))
    assert x.shape == (4000, 25)
    assert not x.requires_grad
    # the same codes, and the noise that comes after them
    noise = generator()
    z = torch.randn(4000, 3, generator=noise)
    with torch.no_grad():
        mean = model.decode_mean(z, y)
    if kind in ("gaussian", "fixed"):
        sigma = 0.3 if kind == "fixed" else 1.0
        expected = mean + sigma * torch.randn(4000, 25, generator=noise)
        torch.testing.assert_close(x, expected)
    else:
        assert set(x.unique().tolist()) == {0, 1}
        error = (mean * (1 - mean)).mean(0).div(4000).sqrt()
        gap = (x.mean(0) - mean.mean(0)).abs()
        assert (gap < 4 * error).all()


@pytest.mark.parametrize("n", [0, -1, 2.5, None, True])
def test_a_wrong_number_of_samples_is_refused(n):
    with refused("n:"):
        build("vae").sample(n)


def test_samples_of_conditions_need_a_row_for_each():
    model = told()
    assert model.sample(6, TOLD, generator()).shape == (6, 25)
    for y in (None, TOLD[:3], (2, None)):
        with refused("y:"):
            model.sample(6, y)
    with refused("y:"):
        build("cvae").sample(6)


# --- parts of your own


@pytest.mark.parametrize(
    "name, value",
    [(n, v) for n in ("encoder", "decoder") for v in ("mlp", 5, MLP)]
    + [("network", v) for v in ("resnet", None, MLP)]
    + [(n, v) for n in ("likelihood", "prior") for v in (5, None, MLP, object)]
    + [("prior", "flat"), ("prior", MLP(1, 1)), ("likelihood", MLP(1, 1))],
    ids=str,
)
def test_parts_that_do_not_fit_are_refused(name, value):
    with untouched_rng(), refused(f"{name}:"):
        VAE(**SIZES | {name: value})


def test_a_fault_in_the_values_is_not_looked_for_while_compiling(monkeypatch):
    # a look at the numbers would break the graph, so a compiled pass has none
    model = build("vae")
    with refused("x:"):
        model(BAD_ROWS["NaN"])
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert model(BAD_ROWS["NaN"])["loss"].isnan().all()
    with refused("x:"):  # shapes and types cost nothing
        model(BAD_ROWS["uint8"])
    monkeypatch.undo()
    with refused("x:"):
        model(BAD_ROWS["NaN"])


# --- the importance-weighted bound, and free bits


@pytest.mark.parametrize("kind", ["vae", "cvae", "gaussian"])
@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_with_many_samples_the_loss_is_the_bound_of_burda(kind, beta):
    model = build(kind, n_samples=4, beta=beta)
    y = label(model)
    terms = model(X, y, generator())
    mu, logvar = model.encode(X, y)
    q = Normal(mu, (logvar / 2).exp())
    z = q.mean + q.stddev * torch.randn(4, 6, 3, generator=generator())
    prior = Normal(0.0, 1.0).log_prob(z).sum(-1)
    kl = q.log_prob(z).sum(-1) - prior
    out = model.decode(z, y)
    p = Normal(out, 1.0) if kind == "gaussian" else Bernoulli(logits=out)
    log_p = p.log_prob(X).sum(-1)
    bound = (log_p - beta * kl).double().exp().mean(0).log()
    close(-terms["loss"].double(), bound, 1e-5)
    close(terms["reconstruction"], -log_p.mean(0))
    close(terms["kl"], kl.mean(0), 1e-4)


def test_weights_of_the_decoder_get_the_gradient_of_the_bound():
    ours = build("vae", n_samples=5)
    ours(X, None, generator())["loss"].mean().backward()
    plain = build("vae")
    mu, logvar = (p.expand(5, 6, 3) for p in plain.encode(X))
    q = Normal(mu, (logvar / 2).exp())
    z = q.mean + q.stddev * torch.randn(5, 6, 3, generator=generator())
    log_weights = Bernoulli(logits=plain.decode(z)).log_prob(X).sum(-1)
    log_weights += (Normal(0.0, 1.0).log_prob(z) - q.log_prob(z)).sum(-1)
    (-log_weights.exp().mean(0).log()).mean().backward()
    for name, weight in plain.decoder.named_parameters():
        found = ours.decoder.get_parameter(name).grad
        torch.testing.assert_close(found, weight.grad, rtol=1e-3, atol=1e-6)
    # the encoder gets another estimate of the same gradient
    other = ours.encoder[0].weight.grad
    assert not torch.allclose(other, plain.encoder[0].weight.grad, rtol=0.01)


def test_the_encoder_gets_the_same_gradient_on_average_with_less_noise():
    n, k = 100_000, 8
    model = VAE(1, (4,), shape=(3,), n_samples=k)
    x = torch.tensor([[1.0, 0.0, 1.0]]).expand(n, 3)
    noise = torch.randn(k, n, 1, generator=generator())
    found = {}
    for kind in ("ours", "autograd"):
        # each row has a q of its own, far from the best one
        mu = torch.full((n, 1), 0.7, requires_grad=True)
        logvar = torch.full((n, 1), -0.5, requires_grad=True)
        if kind == "ours":
            loss = model._importance_terms(x, None, mu, logvar, noise)["loss"]
        else:
            q = Normal(mu, (logvar / 2).exp())
            z = mu + q.stddev * noise
            log_weights = Bernoulli(logits=model.decode(z)).log_prob(x).sum(-1)
            log_weights = log_weights + (
                Normal(0.0, 1.0).log_prob(z) - q.log_prob(z)
            ).sum(-1)
            loss = -log_weights.exp().mean(0).log()
        loss.sum().backward()
        found[kind] = torch.cat([mu.grad, logvar.grad], 1)
    gap = found["ours"] - found["autograd"]
    assert (gap.mean(0).abs() < 4 * gap.std(0) / n**0.5).all()
    # four standard errors are far less than the gradient itself
    assert (4 * gap.std(0) / n**0.5 < 0.1 * found["ours"].mean(0).abs()).all()
    assert (found["ours"].std(0) < 0.8 * found["autograd"].std(0)).all()


def test_free_bits_lower_no_dimension_below_what_is_free():
    plain, free = build("vae"), build("vae", free_bits=0.3)
    with torch.no_grad():  # the KL of one dimension lies above, of others not
        plain.encoder[-1].bias[0] = 2.0
    free.load_state_dict(plain.state_dict())
    terms, other = free(X, None, generator()), plain(X, None, generator())
    mu, logvar = plain.encode(X)
    q = Normal(mu, (logvar / 2).exp())
    each = kl_divergence(q, Normal(0.0, 1.0)).mean(0)
    assert (each > 0.3).tolist() == [True, False, False]
    missing = (0.3 - each[1:]).sum()
    close(terms["loss"], other["loss"] + missing, 1e-6)
    assert torch.equal(terms["kl"], other["kl"])
    # a dimension below has no reason to fall, one above has it
    loss = terms["loss"].mean() - terms["reconstruction"].mean()
    (slope,) = torch.autograd.grad(loss, free.encoder[-1].bias)
    assert slope[0] > 0.1
    assert slope[[1, 2, 4, 5]].abs().max() < 1e-6


@pytest.mark.parametrize(
    "options, name",
    [
        ({"n_samples": 0}, "n_samples"),
        ({"n_samples": 2.5}, "n_samples"),
        ({"free_bits": -1}, "free_bits"),
        ({"free_bits": 0.1, "n_samples": 2}, "free_bits"),
        ({"free_bits": 0.1, "prior": "mixture"}, "free_bits"),
        ({"free_bits": 0.1, "prior": "vamp"}, "free_bits"),
    ],
)
def test_objectives_that_cannot_be_are_refused(options, name):
    with refused(name):
        VAE(2, **options)


def test_options_at_rest_are_not_written_down():
    assert not {"n_samples", "free_bits"} & VAE(2).options.keys()
    options = VAE(2, n_samples=3).options
    assert VAE(**options).n_samples == 3
    assert VAE(**VAE(2, free_bits=0.5).options).free_bits == 0.5
