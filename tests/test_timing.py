"""Structure, counts and arithmetic; no test depends on how fast we are."""

import pytest
import torch
from conftest import refused
from torch.utils.flop_counter import FlopCounterMode

from minivae import (
    CVAE,
    VAE,
    Autoencoder,
    Classifier,
    TrainConfig,
    batches,
    checkpoint,
    fit,
    timing,
)

HIDDEN = (30, 20)


def test_functions_run_in_turn_and_the_first_round_is_not_counted():
    calls = []
    functions = {name: lambda name=name: calls.append(name) for name in "ab"}
    taken = timing.seconds(functions, rounds=3)
    assert "".join(calls) == "abababab"
    assert list(taken) == ["a", "b"]
    for values in taken.values():
        assert values.shape == (3,)
        assert values.dtype == torch.float64
        assert (values >= 0).all()


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self, monkeypatch, module):
        self.now = 0.0
        monkeypatch.setattr(module, "_now", lambda: self.now)

    def tick(self, seconds):
        self.now += seconds


def test_the_round_that_loads_is_the_one_left_out(monkeypatch):
    clock, waits = Clock(monkeypatch, timing), iter([100.0, 1.0, 2.0, 3.0])
    taken = timing.seconds({"a": lambda: clock.tick(next(waits))}, rounds=3)
    assert taken["a"].tolist() == [1, 2, 3]


def test_each_stage_has_its_own_time(small, monkeypatch):
    clock = Clock(monkeypatch, timing)
    x, y = next(batches(small, 64, 0, 0))

    def feed():
        while True:
            clock.tick(1)
            yield x, y

    update = timing.Run.update_average
    monkeypatch.setattr(
        timing.Run, "update_average", lambda run: (clock.tick(4), update(run))
    )
    taken = timing.stages(VAE(2, (8,)), small, n_steps=3, feed=feed())
    found = {name: values.tolist() for name, values in taken.items()}
    assert found == {
        "data": [1, 1, 1],
        "forward": [0, 0, 0],
        "backward": [0, 0, 0],
        "update": [4, 4, 4],
    }


def test_ratios_are_taken_within_a_round():
    taken = {
        "slow": torch.tensor([4.0, 30.0, 9.0]),
        "fast": torch.tensor([2.0, 10.0, 1.0]),
    }
    found = timing.ratios(taken, "fast")
    assert found["fast"] == (1, 1, 1)
    # ratios 2, 3 and 9; not 9 / 2, the ratio of the medians
    assert found["slow"] == (3, 2.5, 6)


def test_bad_rounds_and_unknown_bases_are_refused():
    with refused("rounds"):
        timing.seconds({"a": int}, rounds=0)
    with refused("base"):
        timing.ratios({"a": torch.ones(3)}, "b")


def flops(function):
    with FlopCounterMode(display=False) as counter:
        result = function()
    return result, counter.get_total_flops()


@pytest.mark.parametrize(
    "model",
    [
        Autoencoder(4, HIDDEN),
        Autoencoder(4, ()),
        VAE(4, HIDDEN),
        VAE(4, HIDDEN, likelihood="gaussian"),
        CVAE(4, HIDDEN),
    ],
    ids=lambda m: type(m).__name__,
)
def test_counts_are_half_of_the_operations_that_torch_counts(model, small):
    x, y = next(batches(small, 8))
    loss, forward = flops(lambda: model(x, y)["loss"].sum())
    weights = [p for p in model.parameters() if p.requires_grad]
    _, backward = flops(lambda: torch.autograd.grad(loss, weights))
    assert timing.multiply_adds(model) == {
        "forward": forward / 2 / len(x),
        "backward": backward / 2 / len(x),
    }


def test_a_count_is_the_number_of_weights():
    weights = 784 * 30 + 30 * 20 + 20 * 8 + 4 * 20 + 20 * 30 + 30 * 784
    found = timing.multiply_adds(VAE(4, HIDDEN))
    assert found["forward"] == weights
    assert found["backward"] == 2 * weights - 784 * 30


def test_what_cannot_be_counted_is_refused():
    with refused("model"):
        timing.multiply_adds(Classifier())
    with refused("model"):
        timing.multiply_adds(torch.nn.ReLU())
    with refused("model"):
        timing.products(Classifier(), 8)


def test_the_bare_products_are_those_of_a_step():
    model = VAE(4, HIDDEN)
    _, found = flops(timing.products(model, size=8))
    assert found / 2 / 8 == sum(timing.multiply_adds(model).values())


@pytest.mark.parametrize("fused", [True, False])
def test_stages_take_the_steps_of_fit(small, fused, tmp_path):
    options = {"warmup": 5, "kl_warmup": 6, "precision": "float32"}
    config = TrainConfig(epochs=2, batch_size=64, **options)
    timed, path = VAE(4, HIDDEN), tmp_path / "a.pt"
    taken = timing.stages(timed, small, config, n_steps=8, fused=fused)
    assert tuple(taken) == timing.STAGES
    for values in taken.values():
        assert values.shape == (8,)
        assert (values >= 0).all()
    fit(VAE(4, HIDDEN), small, config, path, progress=False)
    fitted = checkpoint.load(path)["moving"]
    assert fitted.keys() == timed.state_dict().keys()
    for name, weight in timed.state_dict().items():
        if fused:
            assert torch.equal(weight, fitted[name]), name
        else:  # the same formula in another order
            assert (weight - fitted[name]).abs().max() < 1e-4, name


def test_stages_take_batches_from_a_feed_again_and_again(small):
    calls = []

    class Feed:
        def __iter__(self):
            calls.append("once through")
            return batches(small, 100)

    timing.stages(Autoencoder(4, HIDDEN), small, n_steps=5, feed=Feed())
    assert len(calls) == 3  # two batches in each
