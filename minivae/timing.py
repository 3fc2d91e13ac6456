"""How long training takes, and how long it must take at least.

A machine is faster in one second and slower in the next. So what is compared
runs in turn, round after round, and is quoted as a ratio within a round.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import count

import torch
from torch import Tensor, nn

from minivae import validate
from minivae.data import Rows, seeded
from minivae.engine.run import Run
from minivae.models import Autoencoder
from minivae.train import History, TrainConfig

STAGES = ("data", "forward", "backward", "update")


def seconds(
    functions: dict[str, Callable[[], object]], rounds: int = 7
) -> dict[str, Tensor]:
    """Seconds that each function takes, all in turn in every round.

    A first round is not counted: it loads and allocates.

    Args:
        functions: name -> what to time; it takes no arguments.
        rounds: counted ones, at least 1.

    Returns:
        Name -> float64 (rounds,).

    Example:
        >>> taken = seconds({"sum": lambda: sum(range(100))}, rounds=3)
        >>> taken["sum"].shape
        torch.Size([3])
    """
    validate.whole("rounds", rounds, 1, 7)
    taken = torch.zeros(rounds + 1, len(functions), dtype=torch.float64)
    for row in taken:
        for i, function in enumerate(functions.values()):
            start = _now()
            function()
            row[i] = _now() - start
    return dict(zip(functions, taken[1:].unbind(1)))


def ratios(
    taken: dict[str, Tensor], base: str
) -> dict[str, tuple[float, float, float]]:
    """How many times as long as the base each takes, within a round.

    Args:
        taken: name -> seconds (rounds,), as from `seconds`.
        base: one of the names.

    Returns:
        Name -> (median, lower quartile, upper quartile) over the rounds.

    Example:
        >>> taken = {"old": torch.tensor([1.0, 3.0]), "new": torch.ones(2) / 2}
        >>> ratios(taken, base="new")["old"]
        (4.0, 3.0, 5.0)
    """
    validate.choice("base", base, tuple(taken))
    quantiles = torch.tensor([0.5, 0.25, 0.75], dtype=torch.float64)
    return {
        name: tuple((v / taken[base]).double().quantile(quantiles).tolist())
        for name, v in taken.items()
    }


def stages(
    model: Autoencoder,
    data: Rows,
    config: TrainConfig | None = None,
    n_steps: int = 40,
    feed: Iterable[tuple[Tensor, Tensor]] | None = None,
    fused: bool = True,
) -> dict[str, Tensor]:
    """Seconds of the four stages of each of some steps of training.

    Args:
        model: trained in place, with the steps of `fit`.
        data: to train on.
        config: options; None is `TrainConfig()`.
        n_steps: how many steps.
        feed: a list or loader to take batches from, again and again; None
            takes those of `fit`.
        fused: whether Adam is one call for all weights.

    Returns:
        "data", "forward", "backward", "update" -> float64 (n_steps,).

    Example:
        >>> from minivae.data import Table
        >>> model, data = Autoencoder(1, (), shape=(2,)), Table(torch.eye(2))
        >>> taken = stages(model, data, n_steps=3)
        >>> {name: len(seconds) for name, seconds in taken.items()}
        {'data': 3, 'forward': 3, 'backward': 3, 'update': 3}
    """
    run = Run(model, data, config or TrainConfig(), History())
    run.optimizer.param_groups[0]["fused"] = fused
    source = _endless(run, feed)
    taken = torch.zeros(n_steps, len(STAGES), dtype=torch.float64)
    for step in range(n_steps):
        times = [_now()]
        x, y = next(source)
        times.append(_now())
        noise = seeded(x.device, "noise", run.config.seed, step)
        loss = run.mean_loss(run.forward(x, y, noise))
        times.append(_now())
        run.optimizer.zero_grad()
        loss.backward()
        times.append(_now())
        run.optimizer.step()
        run.schedule.step()
        run.update_average()
        times.append(_now())
        run.step += 1
        taken[step] = torch.tensor(times, dtype=torch.float64).diff()
    return dict(zip(STAGES, taken.unbind(1)))


def multiply_adds(model: nn.Module) -> dict[str, int]:
    """Multiplications, each with an addition, that one digit costs.

    A linear layer takes one for each weight. The way back takes one for the
    gradient of each weight and one for that of the layer's input, which the
    first layer does not need. Biases and ReLUs are left out.

    Args:
        model: of linear layers alone, as ours are.

    Returns:
        "forward" and "backward", per digit.

    Raises:
        ValueError: the model has other layers.

    Example:
        >>> multiply_adds(Autoencoder(2, hidden=(3,), shape=(4,)))
        {'forward': 36, 'backward': 60}
    """
    layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
    n_matrices = sum(p.ndim > 1 for p in model.parameters())
    if not layers or n_matrices != len(layers):
        raise ValueError(
            f"model: {n_matrices} weight matrices in {len(layers)} linear "
            "layers; only models of linear layers can be counted"
        )
    forward = sum(layer.weight.numel() for layer in layers)
    return {
        "forward": forward,
        "backward": 2 * forward - layers[0].weight.numel(),
    }


def products(model: nn.Module, size: int) -> Callable[[], None]:
    """The matrix products of one training step, and nothing else.

    Args:
        model: as for `multiply_adds`.
        size: digits in a batch.

    Returns:
        A function to time.

    Example:
        >>> model = Autoencoder(2, hidden=(3,), shape=(4,))
        >>> multiply = products(model, size=8)
        >>> seconds({"products": multiply}, rounds=3)["products"].shape
        torch.Size([3])
    """
    multiply_adds(model)  # refuses what cannot be counted
    weights = [torch.randn_like(p) for p in model.parameters() if p.ndim > 1]
    inputs = [torch.randn(size, w.shape[1]).to(w) for w in weights]
    outputs = [torch.randn(size, w.shape[0]).to(w) for w in weights]

    def multiply() -> None:
        for i, (w, x, g) in enumerate(zip(weights, inputs, outputs)):
            x @ w.T  # forward
            g.T @ x  # gradient of the weights
            if i:
                g @ w  # gradient of the input

    return multiply


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()  # until then its work is only queued
    return time.perf_counter()


def _endless(run: Run, feed: Iterable | None) -> Iterator:
    for epoch in count():
        yield from feed or run.rows_of(epoch)
