"""Train one model and score it: a line of JSON.

`python -m benchmarks.models NAME`
"""

import argparse
import json
import math
import time
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from minivae import (
    CVAE,
    M2,
    VAE,
    Classifier,
    Images,
    PixelCVAE,
    TrainConfig,
    batches,
    evaluate,
    few_labels,
    fit,
    load_digits,
    sample,
)
from minivae.anomalies import Background, anomaly_scores, auroc
from minivae.completion import completion_likelihood, quadrants
from minivae.evaluate import log_importance_weights
from minivae.objective import importance_bound
from minivae.probes import diversity
from minivae.toys import shapes


class Trial:
    """Data, seed and clock of one measurement.

    Args:
        seed: of weights, order, noise and of what is drawn.
        quick: a few digits, one epoch: whether it runs.

    Attributes:
        seconds: of training so far.
    """

    def __init__(self, seed: int, quick: bool = False) -> None:
        self.seed, self.quick, self.seconds = seed, quick, 0.0
        name = "builtin" if quick else "mnist"
        self.train, self.test = load_digits(name), load_digits(name, "test")

    def fit(self, model: nn.Module, epochs: int, data: Any = None, **options):
        """Train on data, or on all digits; returns the trained model."""
        options = {"batch_size": 512, "lr": 4e-3, "decay": 0.7} | options
        config = TrainConfig(
            1 if self.quick else epochs, seed=self.seed, **options
        )
        start = time.perf_counter()
        fit(model, data or self.train, config, progress=False)
        self.seconds += time.perf_counter() - start
        return model

    def some(self, n: int) -> Images:
        """n test digits, the same with every seed, from the whole set."""
        n = min(n, 50 if self.quick else len(self.test))
        noise = torch.Generator().manual_seed(0)
        return self.test[torch.randperm(len(self.test), generator=noise)[:n]]


@torch.no_grad()
def gap(model: VAE, data: Images, missing: Tensor | None = None) -> Tensor:
    """Bound of 100 or 1,000 codes of the encoder, and what it is above ELBO.

    Args:
        model: a VAE, or a PixelCVAE.
        data: digits, prepared.
        missing: pixels that are not given to a PixelCVAE.

    Returns:
        Means over the digits, (2,).
    """
    n, found = (1000 if missing is None else 100), []
    for x, _ in batches(data, 4000 // n, shuffle=False):
        y = None if missing is None else x.masked_fill(missing, torch.nan)
        weights = log_importance_weights(model, x, y, n)
        bound = importance_bound(weights)
        found.append(torch.stack([bound, bound - weights.mean(0)], 1))
    return torch.cat(found).mean(0)


def pictures(name: str, trial: Trial, seconds: float = 600) -> dict:
    """ELBO and log p(x) of a VAE after so many seconds of training.

    log p(x) is the ELBO of all test digits and the gap that 1,000 codes
    find, which is measured on 1,000 digits.
    """
    make = {
        "mlp": partial(VAE, 40, (500, 500)),
        "conv": partial(VAE, 32, (16, 32, 256), network="conv"),
    }[name]
    options = {"batch_size": 128, "lr": 2e-3}
    model, config = make(seed=trial.seed), TrainConfig(2, **options)
    first = fit(make(seed=trial.seed), trial.train, config, progress=False)
    rate = first.digits_per_second[-1]
    epochs = max(1, round(seconds * rate / len(trial.train)))
    trial.fit(model, epochs, **options)
    elbo = evaluate(model, trial.test)["elbo"]
    # the gap scatters less from digit to digit than what it separates
    _, more = gap(model, trial.some(1000).binarized()).tolist()
    return {
        "elbo": elbo,
        "log_likelihood": elbo + more,
        "epochs": epochs,
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def conditional(trial: Trial) -> dict:
    """A CVAE with p(z|y): likelihood, obedience and variety at once."""
    prior = {"prior": "conditional", "beta": 1.4}
    model = trial.fit(CVAE(20, (512, 256), seed=trial.seed, **prior), 20)
    judge = Classifier(seed=trial.seed + 100)
    config = TrainConfig(1 if trial.quick else 10, seed=trial.seed)
    fit(judge, trial.train, config, progress=False)
    y = torch.arange(10).repeat_interleave(1000)
    drawn = sample(model, len(y), y, trial.seed)
    read = judge.read(drawn).argmax(1)
    real = trial.test.x()[:, 0]
    spread = [
        diversity(drawn[y == k]) / diversity(real[trial.test.labels == k])
        for k in range(10)
    ]
    return {
        "elbo": evaluate(model, trial.test)["elbo"],
        "read": (read == y).double().mean().item(),
        "judge": judge.accuracy(trial.test),
        "variance": min(spread),
    }


class Answer(PixelCVAE):
    """A network of the same size that gives one answer: its code is 0."""

    def decode(self, z: Tensor, y: Any = None) -> Tensor:
        """What it answers, whatever the code."""
        return super().decode(torch.zeros_like(z), y)

    def forward(self, x: Tensor, y: Any = None, noise: Any = None) -> dict:
        """The loss alone, (B,)."""
        return {"loss": super().forward(x, y, noise)["reconstruction"]}


def completion(trial: Trial) -> dict:
    """-log p(what is not given) of one model for three tasks.

    Codes come from the prior, which is the task, and from the encoder, which
    is told the answer and shows how much of it 100 of the others miss.
    """
    size = {"n_latent": 4, "hidden": (400, 200), "seed": trial.seed}
    steps = {"epochs": 20, "batch_size": 128, "lr": 2e-3}
    model = trial.fit(PixelCVAE(**size), **steps)
    answer = trial.fit(Answer(**size), **steps)
    found = {}
    for given in (1, 2, 3):
        score = partial(completion_likelihood, given=given, seed=trial.seed)
        found[f"nll_{given}"] = -score(model, trial.test)
        found[f"answer_{given}"] = -score(answer, trial.test, n_samples=1)
        bound, _ = gap(model, trial.test, ~quadrants(model.shape, given))
        found[f"encoder_{given}"] = -bound.item()
    return found


def labels(trial: Trial) -> dict:
    """Test error of M2 with ten labels a class, and of these alone."""
    few = few_labels(trial.train, 10, trial.seed)
    options = {"jitter": 0.1, "classifier": "conv"}
    model = M2(20, (256,), seed=trial.seed, **options)
    trial.fit(model, 8, few, lr=2e-3)
    x, y = trial.test.x(), trial.test.labels
    told = few.conditions[:, 0]
    rows = few[torch.where(~told.isnan())[0][-100:]]
    alone = Images(rows.images, rows.conditions[:, 0].long())
    reader = Classifier(seed=trial.seed)
    fit(reader, alone, TrainConfig(300, seed=trial.seed), progress=False)
    return {
        "error": (model.classify(x).argmax(1) != y).double().mean().item(),
        "alone": 1 - reader.accuracy(trial.test),
    }


def anomalies(trial: Trial) -> dict:
    """AUROC of four scores: each digit left out in turn, then no digits."""

    def scores(model: VAE, *data: Images) -> list[dict[str, Tensor]]:
        return [
            anomaly_scores(model, d.binarized(), 50, background=background)
            for d in data
        ]

    found: dict[str, list[float]] = {}
    for digit in range(10):
        others = trial.train[trial.train.labels != digit]
        model = trial.fit(VAE(20, seed=trial.seed), 5, others)
        background = Background(others.binarized())
        test = trial.some(2000)
        normal, strange = scores(
            model,
            test[test.labels != digit],
            trial.test[trial.test.labels == digit],
        )
        for name in normal:
            area = auroc(normal[name], strange[name])
            found.setdefault(name, []).append(area)
    result = {name: sum(areas) / 10 for name, areas in found.items()}
    result |= {f"worst_{name}": min(areas) for name, areas in found.items()}
    # shapes on black, in grey, as large as a digit
    grey = shapes(1000, trial.seed, "test").images.amax(1)[:, 2:-2, 2:-2]
    model = trial.fit(VAE(20, seed=trial.seed), 5)
    background = Background(trial.train.binarized())
    normal, strange = scores(model, trial.some(1000), Images(grey))
    return result | {
        f"shapes_{name}": auroc(normal[name], strange[name]) for name in normal
    }


TASKS = {
    "mlp": partial(pictures, "mlp"),
    "conv": partial(pictures, "conv"),
    "conditional": conditional,
    "completion": completion,
    "labels": labels,
    "anomalies": anomalies,
}


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models")
    parser.add_argument("name", choices=TASKS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    trial = Trial(args.seed, args.quick)
    found = TASKS[args.name](trial)
    broken = [name for name, value in found.items() if math.isnan(value)]
    if broken:
        raise ValueError(f"not a number: {', '.join(broken)}")
    print(json.dumps(found | {"training": trial.seconds}))


if __name__ == "__main__":
    main()
