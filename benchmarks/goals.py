"""What the models are to reach, and what has been published."""

from typing import NamedTuple


class Goal(NamedTuple):
    """One number of a task of `benchmarks.models`.

    Every seed has to reach the aim. Without an aim the number is for
    information.
    """

    task: str
    key: str
    words: str
    least: float | None = None
    most: float | None = None
    published: str = ""


# Burda et al. 2016, table 1; Kingma et al. 2014, table 1; and for pictures
# that are completed, the tutorial of Pyro after Sohn et al. 2015
GOALS = (
    Goal("mlp", "elbo", "test ELBO, linear layers"),
    Goal("conv", "elbo", "test ELBO, convolutions"),
    Goal(
        *("mlp", "log_likelihood", "log p(x), linear layers"),
        published="VAE -86.76, IWAE-50 -84.78",
    ),
    Goal(
        *("conv", "log_likelihood", "log p(x), convolutions", -88),
        published="VAE -86.76, IWAE-50 -84.78",
    ),
    Goal("mlp", "parameters", "parameters, linear layers"),
    Goal("conv", "parameters", "parameters, convolutions"),
    Goal("conditional", "elbo", "prior of y: test ELBO", -97),
    Goal("conditional", "read", "prior of y: share read as asked", 0.95),
    Goal("conditional", "judge", "accuracy of who reads"),
    Goal("conditional", "variance", "prior of y: variance in a class", 0.6),
    *(
        Goal(
            *("completion", f"nll_{n}", f"-log p, given quarters: {n}"),
            most=most,
            published=f"CVAE {most}",
        )
        for n, most in ((1, 71.8), (2, 51.0), (3, 24.2))
    ),
    *(
        Goal("completion", f"encoder_{n}", f"codes of the encoder: {n}")
        for n in (1, 2, 3)
    ),
    *(
        Goal(
            *("completion", f"answer_{n}", f"one answer, given quarters: {n}"),
            published=f"network {other}",
        )
        for n, other in ((1, 100.4), (2, 61.9), (3, 25.4))
    ),
    Goal(
        *("labels", "error", "test error, 100 labels"),
        most=0.05,
        published="M2 0.1197, M1+M2 0.0333",
    ),
    Goal("labels", "alone", "the labels alone"),
    *(
        Goal("anomalies", prefix + score, words.format(score))
        for prefix, words in (
            ("", "AUROC, a digit left out: {}"),
            ("worst_", "the worst of ten digits: {}"),
            ("shapes_", "AUROC, shapes: {}"),
        )
        for score in ("reconstruction", "elbo", "likelihood", "ratio")
    ),
)
TASKS = tuple(dict.fromkeys(goal.task for goal in GOALS))
