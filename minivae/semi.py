"""Few labels: a CVAE that also reads the labels which it is not told."""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from minivae import validate
from minivae.data import Images, seeded
from minivae.models import CVAE, Autoencoder, at_rest
from minivae.objective import normal_like


class M2(CVAE):
    """A CVAE for which most labels are withheld, with a classifier q(y|x).

    Kingma et al. 2014 (semi-supervised learning), model M2: p(y) is
    uniform, and q(y, z|x) = q(y|x) q(z|x, y). A row with a label has the
    bound on log p(x, y) of a CVAE, and its label teaches q(y|x) besides. In
    a row without one, the bound is on log p(x): its mean over q(y|x), all
    labels summed, plus the entropy of q(y|x). So each unlabelled row costs
    n_classes passes; all of them share the noise of their row.

    `jitter` helps where labels are very few, and is no part of the published
    model: in training the classifier sees each picture moved, turned and
    stretched a little at random, and is to read two such views alike
    (Sajjadi et al. 2016): the KL between its answers counts alpha times.

    Args:
        sizes: n_latent and hidden, as for `CVAE`, which has the options too.
        conditions: (C,): labels are 0 to C - 1.
        classifier: a name in `NETWORKS`, of which it is the encoder in its
            usual size; None is that of `network`. Or your own module, from
            x (B, *shape) to log odds (B, C).
        alpha: weight of the cross-entropy of a label that is given.
        jitter: standard deviation of the six numbers of the affine map that
            moves a picture, in units of half its width; 0 leaves it.

    Raises:
        TypeError, ValueError: an option is of another kind or out of range.

    Example:
        >>> model, x = M2(n_latent=2, hidden=(8,)), torch.zeros(2, 1, 28, 28)
        >>> y = torch.tensor([[5.0], [math.nan]])  # a 5, and any digit
        >>> model(x, y)["loss"].shape, model.classify(x).shape
        (torch.Size([2]), torch.Size([2, 10]))
    """

    def __init__(
        self,
        *sizes: Any,
        classifier: Any = None,
        alpha: float = 50.0,
        jitter: float = 0.0,
        **options: Any,
    ) -> None:
        usual: dict[str, Any] = {"conditions": (10,), "condition_dropout": 0.0}
        super().__init__(*sizes, **usual | options)
        one_label = len(self.conditions) == 1 and self.conditions[0] > 1
        if not one_label or self.n_samples > 1 or self.free_bits:
            raise ValueError(
                "conditions, n_samples, free_bits: expected one label, one "
                f"sample and none free, got {self.conditions}, "
                f"{self.n_samples} and {self.free_bits}; leave them out"
            )
        if jitter and len(self.shape) != 3:
            raise ValueError(
                f"jitter: expected 0 for rows of {self.shape}, which are no "
                f"pictures, got {jitter!r:.40}; leave it out"
            )
        self.alpha = validate.number("alpha", alpha, 50, zero=True)
        self.jitter = validate.number("jitter", jitter, 0.1, zero=True)
        self.options |= {"alpha": self.alpha, "jitter": self.jitter}
        self.options |= {"classifier": classifier}
        made = classifier or self.options["network"]
        if isinstance(made, str):
            n, seed = self.conditions[0], self.options["seed"] + 1
            made = Autoencoder(n, None, self.shape, made, seed=seed).encoder
        self.classifier: Any = made

    def condition_vector(self, y: Tensor | None, n: int) -> Tensor:
        """What both networks are told, (n, C + 1), as by a CVAE.

        Args:
            y: labels (n,), or conditions (n, 1), of which none is withheld.
            n: rows.

        Raises:
            TypeError, ValueError: a label is missing or of no class.
        """
        vector = self._maybe_withheld(y, n)
        if isinstance(y, Tensor):
            validate.finite("y", y.to(self.dtype))
        return vector

    def _maybe_withheld(self, y: Tensor | None, n: int) -> Tensor:
        if isinstance(y, Tensor) and y.dtype == torch.int64:
            y = y.to(self.dtype)[:, None]
        return super().condition_vector(y, n)

    def forward(self, x: Tensor, y: Any = None, noise: Any = None) -> dict:
        """The loss and its parts, in nats, one value for each row.

        Kingma et al. 2014, equations 6 to 9.

        Args:
            x: rows, (B, *shape), such as the likelihood expects.
            y: labels (B,), or conditions (B, 1) with NaN where a label is
                withheld; None withholds all.
            noise: as for a VAE, (B, L).

        Returns:
            "reconstruction", -log p(x|z, y); "kl", from q(y, z|x) to
            p(y) p(z), in which a given y counts as log C; both are means
            over q(y|x) where y is withheld, and -(reconstruction + kl) is
            the bound. "cross_entropy", -log q(y|x) of a given y, else 0;
            with jitter, "consistency". "loss" is all of them with their
            weights. Each (B,).
        """
        x, n = self._rows(x), self.conditions[0]
        if y is None:
            y = x.new_full((len(x), 1), torch.nan)
        # all zeros where a label is withheld
        label, given = self._maybe_withheld(y, len(x)).split([n, 1], 1)
        log_q = self.log_q(x)  # (B, C)
        q = label + (1 - given) * log_q.exp()
        # each row with each label, and with the noise of its row
        each = torch.arange(n).repeat_interleave(len(x))  # (C * B,)
        noise = normal_like(x.new_empty(len(x), self.n_latent), noise)
        noise = noise.expand(len(x), -1)  # or one for all rows
        rows = x.expand(n, *x.shape).flatten(0, 1)
        terms = super().forward(rows, each, noise.repeat(n, 1))
        nats = {k: (v.view(n, -1).T * q).sum(1) for k, v in terms.items()}
        kl = math.log(n) + ((1 - given) * q * log_q).sum(1)  # to p(y)
        nats["kl"] += kl
        nats["cross_entropy"] = -(label * log_q).sum(1)
        nats["loss"] += self.beta * kl + self.alpha * nats["cross_entropy"]
        if self.jitter:
            view, other = log_q.detach(), self.log_q(x)
            nats["consistency"] = (view.exp() * (view - other)).sum(1)
            nats["loss"] += self.alpha * nats["consistency"]
        return nats

    def log_q(self, x: Tensor) -> Tensor:
        """log q(y|x), in training that of a view of each picture.

        Args:
            x: rows, (B, *shape).

        Returns:
            (B, C). With jitter, each call in training draws other views.
        """
        if self.jitter and self.training:
            still = torch.eye(2, 3, device=x.device).expand(len(x), 2, 3)
            moved = still + self.jitter * torch.randn_like(still)
            grid = affine_grid(moved, list(x.shape), align_corners=False)
            x = grid_sample(x, grid, align_corners=False)
        return self.classifier(x).to(self.dtype).log_softmax(-1)

    def classify(self, x: Tensor) -> Tensor:
        """q(y|x), the probabilities of the labels of rows x (B, *shape).

        The error on a test set is one line:
        `(model.classify(test.x()).argmax(1) != test.labels).float().mean()`.

        Returns:
            (B, C), rows sum to 1, on the CPU.
        """
        with at_rest(self):
            parts = [self.log_q(p).exp() for p in self._rows(x).split(1000)]
        return torch.cat(parts).cpu()


def few_labels(
    digits: Images, n_per_class: int = 10, seed: int = 0, share: float = 0.3
) -> Images:
    """All pictures, of which a few of each class keep their label.

    With 100 labels among 60,000, hardly every second batch of 512 would hold
    one. So the labelled rows are repeated until they are this share of all,
    and about that share of each batch.

    Args:
        digits: pictures with labels, (N, ...).
        n_per_class: labels to keep of each class.
        seed: selects them.
        share: of the rows that have a label, below 1.

    Returns:
        N pictures and the repeated ones, with conditions (N', 1), NaN where
        the label is withheld, and no other labels.

    Raises:
        TypeError, ValueError: there are no labels, or an option is out of
            range.

    Example:
        >>> images = torch.zeros(6, 28, 28, dtype=torch.uint8)
        >>> digits = Images(images, torch.tensor([0, 0, 0, 1, 1, 1]))
        >>> few = few_labels(digits, n_per_class=1, share=0.5)
        >>> len(few), few.conditions.isnan().sum().item()
        (8, 4)
    """
    validate.kind("digits", digits, Images)
    n_per_class = validate.whole("n_per_class", n_per_class, 1, 10)
    seed = validate.whole("seed", seed, 0, 0)
    share = validate.probability("share", share)
    if digits.labels is None or share == 1:
        raise ValueError(
            "digits, share: expected labelled pictures and a share below 1, "
            f"got {digits!r} and {share:g}; see `Images`"
        )
    n, y = len(digits), torch.full((len(digits), 1), math.nan)
    order = torch.randperm(n, generator=seeded("cpu", "few labels", seed))
    kinds = digits.labels.cpu()[order]
    few = torch.cat([order[kinds == k][:n_per_class] for k in kinds.unique()])
    y[few, 0] = digits.labels.cpu()[few].float()
    more = round(share / (1 - share) * (n / len(few) - 1)) - 1  # of each
    rows = torch.cat([torch.arange(n), few.repeat(max(more, 0))])
    told: dict[str, Any] = {"labels": None, "conditions": y.to(digits.device)}
    return replace(digits, **told)[rows]
