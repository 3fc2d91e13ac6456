"""How strange a row looks to a model, and how well that tells rows apart.

Each score is a number for each row, and higher is stranger. None of them
is right everywhere: a model may find a row of another kind likely (Nalisnick
et al. 2019), so each is to be tried on rows that are known to be strange.
"""

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Normal

from minivae import validate
from minivae.data import Rows, batches, check_rows, seeded
from minivae.evaluate import log_importance_weights, prepared
from minivae.models import VAE, Autoencoder, at_rest
from minivae.objective import importance_bound


class Background:
    """p(x) of independent values, each with its own mean: a simple model.

    It knows where ink is common and nothing of how pixels go together, so
    what it finds likely needs no digit. Ren et al. 2019 train a second deep
    model for this, on data some of whose values were drawn anew.

    Args:
        data: to take the means from, those that the model learned from.
        likelihood: that of the model: "bernoulli", with the mean that each
            value has with one more 0 and one more 1, or "gaussian", with a
            standard deviation for each value, at least 0.001.
        mutation: probability that a 0 or 1 is drawn anew, by a fair coin.
            With none, a margin that was always blank makes noise there so
            unlikely to the background that its ratio looks normal.

    Raises:
        TypeError, ValueError: the data are of another kind or range, or the
            likelihood is another.

    Example:
        >>> from minivae.data import Table
        >>> background = Background(Table(torch.eye(2)), mutation=0.2)
        >>> background.log_prob(torch.ones(1, 2)).exp()  # 1/2 for each value
        tensor([0.2500], dtype=torch.float64)
    """

    def __init__(
        self,
        data: Rows,
        likelihood: str = "bernoulli",
        mutation: float = 0.1,
    ) -> None:
        check_rows("data", data)
        mutation = validate.probability("mutation", mutation)
        validate.choice("likelihood", likelihood, ("bernoulli", "gaussian"))
        self.likelihood, self.shape = likelihood, data.shape
        x = data.x().cpu().double()
        self.values: Bernoulli | Normal
        if likelihood == "bernoulli":
            validate.finite("data", x, (0, 1))
            mean = (x.sum(0) + 1) / (len(x) + 2)
            mean = (1 - mutation) * mean + 0.5 * mutation
            self.values = Bernoulli(mean, validate_args=False)
        else:
            sigma = x.std(0, correction=0).clamp_min(1e-3)
            self.values = Normal(x.mean(0), sigma)

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) of rows (B, *shape), nats, float64 (B,), on the CPU."""
        x = validate.rows("x", x, self.shape, torch.float64).cpu()
        return self.values.log_prob(x).flatten(1).sum(1)


def anomaly_scores(
    model: Autoencoder,
    data: Rows,
    n_samples: int = 100,
    seed: int = 0,
    background: Background | None = None,
) -> dict[str, Tensor]:
    """How strange each row is to a model, by several scores.

    An & Cho 2015 and Ren et al. 2019. All rows get the same noise, so a
    score belongs to its row and not to those beside it. Only what draws grey
    pixels as 0 or 1 goes by their place; `binarized` does so beforehand.

    Args:
        model: an autoencoder, VAE or CVAE.
        data: to score, prepared once as the likelihood wants.
        n_samples: K, codes for each row.
        seed: selects their noise.
        background: to compare with; of the same likelihood.

    Returns:
        Nats, higher is stranger, float64 (N,) each, on the CPU:
        "reconstruction", -log p(x|z) at the code of `encode_mean`, or the
        squared error of an autoencoder, which has nothing else; "elbo", -ELBO
        as the mean of K codes; "likelihood", -log p(x) from the same codes
        (Burda et al. 2016, equation 8), never more than "elbo"; and "ratio",
        -log p(x) / p(x) of the background, if there is one.

    Raises:
        TypeError: model or data of another kind.
        ValueError: an option is out of range, or the background has another
            likelihood.

    Example:
        >>> from minivae.data import Table
        >>> model, data = VAE(n_latent=2, shape=(4,)), Table(torch.eye(4))
        >>> for weight in model.parameters():
        ...     _ = torch.nn.init.zeros_(weight)
        >>> anomaly_scores(model, data)["likelihood"][:2]  # 4 ln 2
        tensor([2.7726, 2.7726], dtype=torch.float64)
    """
    validate.kind("model", model, Autoencoder)
    n_samples = validate.whole("n_samples", n_samples, 1, 100)
    seed = validate.whole("seed", seed, 0, 0)
    if background is not None:
        validate.kind("background", background, Background)
        kind = getattr(getattr(model, "likelihood", None), "name", "none")
        if background.likelihood != kind:
            raise ValueError(
                f"background: expected the likelihood of the model, {kind}, "
                f"got {background.likelihood}; give one whose densities can "
                "be compared, or leave it out"
            )
    generator = seeded("cpu", "anomalies", seed)
    noise = torch.randn(n_samples, 1, model.n_latent, generator=generator)
    middle = torch.zeros(1, model.n_latent)
    size = max(1, 4000 // n_samples)  # K times B rows pass the decoder
    rows = prepared(model, data)
    parts = []
    with at_rest(model):
        for x, y in batches(rows, size, device=model.device, shuffle=False):
            # without noise the code is that of encode_mean
            nats = model(x, y, middle)["reconstruction"]
            found = {"reconstruction": nats.cpu().double()}
            if isinstance(model, VAE):
                nats = log_importance_weights(model, x, y, n_samples, noise)
                evidence = importance_bound(nats.double())
                found["elbo"] = -nats.double().mean(0)
                found["likelihood"] = -evidence
                if background is not None:
                    found["ratio"] = background.log_prob(x) - evidence
            parts.append(found)
    return {name: torch.cat([p[name] for p in parts]) for name in parts[0]}


def auroc(normal: Tensor, strange: Tensor) -> float:
    """The probability that a strange row scores higher than a normal one.

    The area under the ROC curve (Hanley & McNeil 1982), over all pairs;
    equal scores count half.

    Args:
        normal, strange: scores, (N,) and (M,).

    Returns:
        From 0 to 1: 1 tells all apart, 0.5 is chance, and below it strange
        rows look more normal than normal ones.

    Raises:
        TypeError, ValueError: there are no scores, or some are not finite.

    Example:
        >>> auroc(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 3.0]))
        0.875
    """
    for name, scores in (("normal", normal), ("strange", strange)):
        validate.tensor(name, scores, "(N,)")
        if not scores.numel():
            raise ValueError(
                f"{name}: expected at least one score, got none; give those "
                "that anomaly_scores returns"
            )
        validate.finite(name, scores)
    from sklearn.metrics import roc_auc_score

    scores = torch.cat([normal.cpu(), strange.cpu()])
    odd = torch.arange(len(scores)) >= len(normal)
    return float(roc_auc_score(odd, scores))
