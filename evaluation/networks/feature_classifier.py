"""A linear classifier on frozen features: has a picture arrived in its domain?

It learns from real pictures alone; its accuracy on real pictures that it has not seen stands beside
every figure, since no translation can be told better than those.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from errors import UserError

FOLDS = 5
DECAY = 1.0  # of the weights, on standardised features: unseen photographs are told best
STEPS = 200


class _Linear(NamedTuple):
    """Logistic regression on standardised features."""

    mean: Tensor  # (d,)
    deviation: Tensor  # (d,)
    weight: Tensor  # (d, domains)
    bias: Tensor  # (domains,)

    def answers(self, features: Tensor) -> Tensor:
        """Number of the likeliest domain of each picture: int64 (n,)."""
        standard = (features.double() - self.mean) / self.deviation
        return (standard @ self.weight + self.bias).argmax(1)


class FeatureClassifier:
    """Says which domain pictures belong to, by their features.

    Attributes:
        domains: their names.
        held_out: of each domain, the share of real pictures that is told right by a classifier that
            has not seen them, in [0, 1].
    """

    def __init__(self, linear: _Linear, held_out: Mapping[str, float]):
        self.domains = tuple(held_out)
        self.held_out = dict(held_out)
        self._linear = linear

    def takes_for(self, features: Tensor, domain: str) -> Tensor:
        """Whether each picture is taken for `domain`: bool (n,).

        Args:
            features: (n, d), by the network that those in training came from.
            domain: one of `domains`.

        Raises:
            ValueError: the classifier does not know the domain.
        """
        if domain not in self.domains:
            raise ValueError(f"{domain!r} is none of {', '.join(self.domains)}")
        return self._linear.answers(features) == self.domains.index(domain)

    def accuracy(self, features: Tensor, domain: str) -> float:
        """Share of pictures (n, d) that are taken for `domain`, in [0, 1]; raises as `takes_for`.

        Chance is one over the number of domains.
        """
        return float(self.takes_for(features, domain).double().mean())


def fit(features: Mapping[str, Tensor], seed: int = 0) -> FeatureClassifier:
    """Logistic regression with weight decay on standardised features; domains weigh alike.

    The objective is convex and starts from zero, so the same features give the same classifier.
    Held-out accuracy is that of five-fold cross-validation.

    Args:
        features: (n, d) of real pictures of each domain, one d; n may differ.
        seed: of the folds.

    Raises:
        UserError: there are fewer than two domains, or fewer than five pictures of one.
        ValueError: features are not (n, d) with one d.
    """
    _check(features)
    table = torch.cat(list(features.values())).double()
    sizes = torch.tensor([len(each) for each in features.values()])
    labels = torch.arange(len(features)).repeat_interleave(sizes)
    folds = _folds(sizes, seed)
    right = torch.empty(len(table), dtype=torch.bool)
    for fold in range(FOLDS):
        out = folds == fold
        linear = _regression(table[~out], labels[~out])
        right[out] = linear.answers(table[out]) == labels[out]
    held_out = {
        domain: float(right[labels == number].double().mean())
        for number, domain in enumerate(features)
    }
    return FeatureClassifier(_regression(table, labels), held_out)


def _check(features: Mapping[str, Tensor]) -> None:
    if len(features) < 2:
        raise UserError(
            f"domain accuracy needs pictures of two domains, got {', '.join(features) or 'none'}: "
            "leave it out"
        )
    if any(each.ndim != 2 for each in features.values()) or (
        len({each.shape[1] for each in features.values()}) > 1
    ):
        shapes = ", ".join(f"{domain} {tuple(each.shape)}" for domain, each in features.items())
        raise ValueError(f"features are (n, d), one d: {shapes}")
    for domain, each in features.items():
        if len(each) < FOLDS:
            raise UserError(
                f"domain accuracy needs at least {FOLDS} training images of each domain, got "
                f"{len(each)} of {domain}: give more or leave it out"
            )


def _folds(sizes: Tensor, seed: int) -> Tensor:
    """A fold for each picture, (sum of sizes,): each has its share of every domain."""
    draw = torch.Generator().manual_seed(seed)
    parts = [torch.randperm(size, generator=draw) % FOLDS for size in sizes.tolist()]
    return torch.cat(parts)


def _regression(features: Tensor, labels: Tensor) -> _Linear:
    """Minimise cross-entropy + DECAY / 2 |weights|^2 on features (n, d), float64."""
    mean, deviation = features.mean(0), features.std(0)
    deviation = torch.where(deviation > 0, deviation, 1.0)  # a constant one stays at zero
    standard = (features - mean) / deviation
    balance = 1 / labels.bincount().double()
    weight = torch.zeros(features.shape[1], len(balance), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(len(balance), dtype=torch.float64, requires_grad=True)
    descent = torch.optim.LBFGS([weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        descent.zero_grad()
        # weighted, cross_entropy divides by the sum of weights: every domain has the same share
        loss = F.cross_entropy(standard @ weight + bias, labels, balance)
        loss = loss + DECAY / 2 * weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        descent.step(lambda: float(objective().detach()))
    return _Linear(mean, deviation, weight.detach(), bias.detach())
