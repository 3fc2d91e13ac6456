"""Two figures that a reader moves: the bound, and the trick.

All of it is computed in the page, in JavaScript that tests hold against
PyTorch. So both work in JupyterLab, and on a page that no kernel serves.
"""

import math
from typing import Any

import anywidget
import torch
import traitlets
from matplotlib.figure import Figure

from minivae import validate
from minivae.data import seeded
from minivae.evaluate import code_grid, log_joint
from minivae.explorer.scripts import joined
from minivae.explorer.still import FOLDER, Still, style
from minivae.objective import gaussian_log_density
from minivae.toys import Arc

RIGHT, TOP = (1.5, -1.4), (0.0, 2.0)
N_DRAWN = 6  # points beside these two
N_NOISE = 8
BLUE = "#332288"
# (least, most) of each number; the same in bound.js and trick.js
REACH = {"theta": (0.1, 2.5), "mu": (-3.0, 3.0), "sigma": (0.02, 2.0)}
REACH_OF_TRICK = {"mu": (-2.0, 2.0), "sigma": (0.02, 1.0)}


class Bound(Still, anywidget.AnyWidget):
    """Evidence, ELBO and gap of the toy `Arc`, under the reader's hand.

    Made by `bound`. What follows is synchronised both ways, so Python can
    observe it and set it.

    Args:
        theta: as for `bound`.

    Attributes:
        points: the points x, eight pairs of numbers.
        point: which of them is chosen.
        theta: the width of the noise.
        q: mean and standard deviation of the q of each point.

    Example:
        >>> widget = Bound(theta=0.5)
        >>> widget.point, widget.q[0]
        (0, [0.0, 1.0])
    """

    _esm = joined(FOLDER / "bound.js")
    _css = style("axes")
    points: Any = traitlets.List().tag(sync=True)
    point = traitlets.Int(0).tag(sync=True)
    theta = traitlets.Float(1.0).tag(sync=True)
    q: Any = traitlets.List().tag(sync=True)

    def __init__(self, theta: float = 1.0) -> None:
        _, drawn = Arc().sample_pairs(N_DRAWN, seeded("cpu", "bound"))
        points = [list(RIGHT), list(TOP), *drawn.tolist()]
        points = [[round(v, 2) for v in point] for point in points]
        super().__init__(
            points=points, theta=theta, q=[[0.0, 1.0] for _ in points]
        )

    @traitlets.validate("theta")
    def _valid_theta(self, proposal: dict) -> float:
        return _within("theta", proposal["value"])

    @traitlets.validate("point")
    def _valid_point(self, proposal: dict) -> int:
        if not 0 <= proposal["value"] < len(self.points):
            raise traitlets.TraitError(
                f"point: expected 0 to {len(self.points) - 1}, "
                f"got {proposal['value']}"
            )
        return proposal["value"]

    @traitlets.validate("q")
    def _valid_q(self, proposal: dict) -> list:
        pairs = [list(pair) for pair in proposal["value"]]
        if len(pairs) != len(self.points) or any(len(p) != 2 for p in pairs):
            raise traitlets.TraitError(
                f"q: expected {len(self.points)} pairs of mean and standard "
                f"deviation, got {proposal['value']!r:.80}"
            )
        return [[_within("mu", m), _within("sigma", s)] for m, s in pairs]

    def _figure(self) -> Figure:
        """What the page begins with, drawn from the models of the package."""
        points, line = torch.tensor(self.points), code_grid(1, 1200, 6.0)
        mu, sigma = torch.tensor(self.q).T
        log_q = gaussian_log_density(
            line[:, None], mu[:, None], 2 * sigma.log()[:, None]
        )  # (1200, 8)
        cell = 12 / len(line)

        def means(theta: float) -> tuple[torch.Tensor, torch.Tensor]:
            """Log evidence and ELBO of each point."""
            joint = log_joint(Arc(theta), points, line)
            evidence = joint.logsumexp(0) + math.log(cell)
            return evidence, (log_q.exp() * (joint - log_q)).sum(0) * cell

        thetas = torch.logspace(-1, math.log10(2.5), 40).tolist()
        evidence, elbo = means(self.theta)
        figure = Figure(figsize=(9, 3.4), dpi=110, layout="constrained")
        left, right = figure.subplots(1, 2)
        one, z = self.point, line[:, 0]
        joint = log_joint(Arc(self.theta), points[[one]], line)[:, 0]
        posterior = (joint - evidence[one]).exp()
        left.fill_between(z, posterior, color="0.88")
        left.plot(z, posterior, color="0.1", label="p(z|x)")
        left.plot(z, log_q[:, one].exp(), "--", color=BLUE, label="q(z)")
        left.set(xlabel="code z", ylabel="density", xlim=(-3.2, 3.2))
        left.set_title(
            f"log p(x) {evidence[one]:.3f} = ELBO {elbo[one]:.3f} "
            f"+ gap {evidence[one] - elbo[one]:.3f}",
            size="medium",
        )
        means_of = torch.tensor(
            [[part.mean() for part in means(theta)] for theta in thetas]
        ).T
        right.semilogx(thetas, means_of[0], color="0.1", label="log evidence")
        right.semilogx(thetas, means_of[1], "--", color=BLUE, label="bound")
        top = math.ceil(means_of[0].max())
        right.set(
            xlabel="theta, the width of the noise",
            ylabel="nats per point",
            ylim=(top - 6, top),
            xticks=[0.1, 0.2, 0.5, 1, 2],
            xticklabels=["0.1", "0.2", "0.5", "1", "2"],
        )
        right.minorticks_off()
        for axes in (left, right):
            axes.legend(frameon=False)
            axes.spines[["top", "right"]].set_visible(False)
        return figure

    def __repr__(self) -> str:
        return f"Bound(theta={self.theta:g})"


class Trick(Still, anywidget.AnyWidget):
    """Codes that move with mu and sigma while their noise stays.

    Made by `trick`. What follows is synchronised both ways.

    Args:
        seed: as for `trick`.

    Attributes:
        mu, sigma: mean and standard deviation of q.
        noise: eight draws from the standard normal distribution.

    Example:
        >>> widget = Trick()
        >>> widget.mu, widget.sigma, len(widget.noise)
        (0.5, 0.4, 8)
    """

    _esm = joined(FOLDER / "trick.js")
    _css = style("axes")
    mu = traitlets.Float(0.5).tag(sync=True)
    sigma = traitlets.Float(0.4).tag(sync=True)
    noise = traitlets.List(traitlets.Float()).tag(sync=True)

    def __init__(self, seed: int = 0) -> None:
        drawn = torch.randn(N_NOISE, generator=seeded("cpu", "trick", seed))
        super().__init__(noise=drawn.tolist())

    @traitlets.validate("mu", "sigma")
    def _valid_number(self, proposal: dict) -> float:
        name = proposal["trait"].name
        return _within(name, proposal["value"], REACH_OF_TRICK)

    @traitlets.validate("noise")
    def _valid_noise(self, proposal: dict) -> list:
        noise = proposal["value"]
        if len(noise) != N_NOISE or not all(map(math.isfinite, noise)):
            raise traitlets.TraitError(
                f"noise: expected {N_NOISE} finite numbers, got {noise!r:.80}"
            )
        return noise

    def _figure(self) -> Figure:
        """The codes of the noise, and a mean over them, against mu."""
        figure = Figure(figsize=(9, 2.8), dpi=110, layout="constrained")
        left, right = figure.subplots(1, 2)
        noise = torch.tensor(self.noise)
        codes = (self.mu + self.sigma * noise).tolist()
        ties = [self.noise, codes], [[1] * N_NOISE, [0] * N_NOISE]
        left.plot(*ties, color=BLUE, alpha=0.5)
        left.plot(self.noise, ties[1][0], "o", color="0.1", mfc="white")
        left.plot(codes, ties[1][1], "s", color=BLUE)
        left.set(
            xlim=(-3.2, 3.2),
            ylim=(-0.2, 1.2),
            yticks=[0, 1],
            yticklabels=["code z", "noise"],
            xlabel=f"mu = {self.mu:g}, sigma = {self.sigma:g}",
        )
        left.spines[["top", "right", "left"]].set_visible(False)
        mu = torch.linspace(*REACH_OF_TRICK["mu"], 81)
        anew = seeded("cpu", "trick anew")
        fresh = torch.randn(len(mu), N_NOISE, generator=anew)
        x = torch.tensor(RIGHT).expand(N_NOISE, 2)
        for drawn, look, label in (
            (fresh, ".", "noise drawn anew"),
            (noise.expand_as(fresh), "-", "noise held"),
        ):
            z = (mu[:, None] + self.sigma * drawn)[..., None]
            mean = Arc().log_likelihood(x, z).mean(1)
            ink = BLUE if look == "-" else "0.5"
            right.plot(mu, mean, look, color=ink, label=label)
        right.set(xlabel="mu", ylabel="mean of log p(x|z), nats")
        right.legend(frameon=False)
        return figure

    def __repr__(self) -> str:
        return f"Trick(mu={self.mu:g}, sigma={self.sigma:g})"


def _within(name: str, value: float, reach: dict = REACH) -> float:
    least, most = reach[name]
    if not least <= value <= most:
        raise traitlets.TraitError(
            f"{name}: expected {least:g} to {most:g}, got {value}"
        )
    return float(value)


def bound(theta: float = 1.0) -> Bound:
    """Move q and theta of a toy, and see what the ELBO loses.

    For one point of `Arc`, bars of its log evidence, its ELBO and the gap
    between them; for eight points, their mean log evidence against theta and
    the bound under it. Buttons find the best normal q of each point, and the
    best theta for the present q: in turn, they are the EM algorithm.

    Args:
        theta: the width of the noise to begin with, 0.1 to 2.5.

    Returns:
        A widget: display it in JupyterLab.

    Raises:
        TypeError, ValueError: theta is no such number.

    Example:
        >>> bound(theta=0.3)
        Bound(theta=0.3)
    """
    theta = validate.number("theta", theta, 1.0)
    least, most = REACH["theta"]
    if not least <= theta <= most:
        raise ValueError(f"theta: expected {least:g} to {most:g}, got {theta}")
    return Bound(theta)


def trick(seed: int = 0) -> Trick:
    """Move mu and sigma while the noise is held: the codes move along.

    Args:
        seed: of the noise to begin with.

    Returns:
        A widget: display it in JupyterLab.

    Raises:
        TypeError, ValueError: the seed is no whole number from 0.

    Example:
        >>> trick()
        Trick(mu=0.5, sigma=0.4)
    """
    return Trick(validate.whole("seed", seed, 0, 0))
