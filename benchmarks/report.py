"""Medians with their spread, ratios within a round, and tables of them."""

from math import ceil, inf
from statistics import median, quantiles

from benchmarks.goals import GOALS

# what is divided by what, and the ratio to reach (None: for information)
RATIOS = (
    ("minivae-classic", "standard", 4.0),
    ("minivae", "standard", 7.0),
    ("minivae-float32", "standard", 2.3),
    ("minivae-float32", "bare-float32", 0.85),
    ("minivae-bfloat16", "bare-bfloat16", 0.85),
    ("minivae-compiled", "bare-compiled", 0.85),
    ("minivae-compiled", "minivae-bfloat16", None),
    ("minivae-classic", "standard-workers", None),
    ("minivae-classic", "pythae", None),
    ("minivae-classic", "pyro", None),
)


def spread(values: list[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    if len(values) == 1:
        return (values[0],) * 3
    low, _, high = quantiles(values, n=4, method="inclusive")
    return low, median(values), high


def ratio(top: list[float], bottom: list[float]) -> list[float]:
    """Ratios of two lists, round by round.

    A machine is faster in one minute and slower in the next; both sides of
    a ratio come from the same round.
    """
    return [a / b for a, b in zip(top, bottom, strict=True)]


def number(value: float) -> str:
    """Three digits or more, thousands set apart."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def spelled(values: list[float], form=number) -> str:
    """The median, and the quartiles in brackets."""
    low, mid, high = map(form, spread(values))
    return f"{mid} ({low} to {high})" if len(values) > 1 else mid


def verdict(value: float, aim: float | None, most: bool = False) -> str:
    """What was aimed at, and whether it was reached.

    Args:
        value: measured.
        aim: to reach; None is no aim.
        most: whether the aim is an upper limit.
    """
    if aim is None:
        return ""
    reached = value <= aim if most else value >= aim
    bound = "at most" if most else "at least"
    return f"{bound} {number(aim)}: {'yes' if reached else 'no'}"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Rows of text as a Markdown table with aligned columns."""
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    rule = tuple("-" * w for w in widths)
    return "\n".join(
        f"| {' | '.join(map(str.ljust, row, widths))} |"
        for row in (head, rule, *rows)
    )


def rates_table(rates: dict[str, list[float]]) -> str:
    """Digits per second of each loop."""
    return table(
        ("loop", "digits per second"),
        [(name, spelled(values)) for name, values in rates.items()],
    )


def ratios_table(rates: dict[str, list[float]]) -> str:
    """The ratios of which both sides were measured."""
    rows = []
    for top, bottom, aim in RATIOS:
        if top in rates and bottom in rates:
            values = ratio(rates[top], rates[bottom])
            rows.append(
                (
                    f"{top} / {bottom}",
                    spelled(values),
                    verdict(spread(values)[1], aim),
                )
            )
    return table(("ratio", "median (quartiles)", "aim"), rows)


def quality_table(found: dict[str, dict[str, list[float]]]) -> str:
    """Test ELBO and seconds of cold processes, and both aims.

    Args:
        found: name -> "elbo" in nats and "seconds", one for each seed.
    """
    standard = found.get("standard", {"elbo": [], "seconds": []})
    rows = []
    for name, one in found.items():
        row = [
            name,
            spelled(one["elbo"], "{:.2f}".format),
            spelled(one["seconds"]),
            "",
            "",
            "",
        ]
        if standard["elbo"] and name != "standard":
            times = ratio(one["seconds"], standard["seconds"])
            gain = spread(one["elbo"])[1] - spread(standard["elbo"])[1]
            reached = "yes" if gain >= 0 else "no"
            row[3:5] = spelled(times), f"{gain:+.2f}: {reached}"
            if name == "minivae-short":
                row[5] = verdict(spread(times)[1], 0.1, most=True)
        rows.append(tuple(row))
    head = ("run", "test ELBO", "seconds", "of standard")
    return table((*head, "ELBO no lower", "a tenth"), rows)


def memory_table(peaks: dict[str, list[float]]) -> str:
    """Peak resident sizes; the first is what the others are measured by."""
    base, *_ = peaks.values()
    rows = []
    for name, values in peaks.items():
        share = ratio(values, base)
        most = verdict(spread(share)[1], 1.3, most=True)
        rows.append((name, spelled(values), spelled(share), most))
    rows[0] = (*rows[0][:2], "", "")
    return table(("process", "peak in MB", "ratio", "aim"), rows)


def models_table(found: dict[str, list[dict]]) -> str:
    """What the models reached, held against their goals.

    Args:
        found: task -> a result for each seed; what was not measured is left
            out.
    """
    rows = []
    for task, key, words, least, most, published in GOALS:
        values = [one[key] for one in found.get(task, [])]
        if values:
            aim, worst = (least, min) if most is None else (most, max)
            reached = verdict(worst(values), aim, most is not None)
            rows.append((words, spelled(values), reached, published))
    return table(("measured", "median (quartiles)", "aim", "published"), rows)


def costs_table(found: dict[str, list[dict]]) -> str:
    """What that took: training, the whole process, peak memory."""
    keys = ("training", "seconds", "peak")
    return table(
        ("task", "seconds of training", "seconds in all", "peak in MB"),
        [
            (task, *(spelled([one[key] for one in runs]) for key in keys))
            for task, runs in found.items()
        ],
    )


def pays_from(cost: float, eager: float, compiled: float) -> float:
    """Epochs from which on compiling is the faster way.

    Args:
        cost: seconds, once.
        eager, compiled: seconds for an epoch.
    """
    saved = eager - compiled
    return cost / saved if saved > 0 else inf


def compile_table(
    cost: dict[str, list[float]], eager: float, compiled: float
) -> str:
    """What compiling costs once, and how soon that has paid.

    Args:
        cost: "cold" or "warm" -> seconds, one for each round.
        eager, compiled: seconds for an epoch.
    """
    rows = []
    for state, values in cost.items():
        epochs = pays_from(spread(values)[1], eager, compiled)
        pays = f"{ceil(epochs)} epochs" if epochs < inf else "never"
        rows.append((state, spelled(values), pays))
    return table(("cache", "cost in seconds", "pays from"), rows)
