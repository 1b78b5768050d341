"""A small network that tells domains apart: has a translation arrived where it should?"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imaging import to_tensor
from imaging.codec import Images

BATCH_SIZE = 32
PREDICTION_BATCH_SIZE = 256
LEARNING_RATE = 2e-3


class DomainClassifier:
    """Says which domain an image belongs to; it has only ever seen real images."""

    def __init__(self, domains: Sequence[str], network: nn.Module):
        self.domains = tuple(domains)
        self.network = network.eval().requires_grad_(False)

    @torch.no_grad()
    def predict(self, images: Images) -> list[str]:
        """Domain of each uint8 image (n, h, w, 3)."""
        starts = range(0, len(images), PREDICTION_BATCH_SIZE)
        answers = [
            self.network(to_tensor(images[i : i + PREDICTION_BATCH_SIZE])).argmax(1) for i in starts
        ]
        return [self.domains[index] for answer in answers for index in answer.tolist()]

    def accuracy(self, images: Images, domain: str) -> float:
        """Share of the images (n, h, w, 3) that are taken for `domain`, in [0, 1].

        Raises:
            ValueError: the classifier does not know the domain.
        """
        if domain not in self.domains:
            raise ValueError(
                f"unknown domain {domain!r}: the classifier knows {', '.join(self.domains)}"
            )
        return float(np.mean([answer == domain for answer in self.predict(images)]))


def train_classifier(
    images: Mapping[str, Images], *, seed: int = 0, steps: int = 300
) -> DomainClassifier:
    """Train a classifier on the real images of each domain, on the CPU in float32.

    The same images and seed give the same classifier; the global random state stays as it is.

    Args:
        images: uint8 (n, h, w, 3) of each domain, all of one size; n may differ.
        seed: for weights, batches and flips.
        steps: optimiser steps on balanced batches of 32 images.

    Raises:
        ValueError: there are fewer than two domains, one is empty, or sizes differ.
    """
    _check(images)
    pools = [torch.from_numpy(np.ascontiguousarray(pool)) for pool in images.values()]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed GPUs too
        network = _network(len(pools))
    draws = torch.Generator().manual_seed(seed)
    adam = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for _ in range(steps):
        batch, labels = _draw(pools, draws)
        loss = F.cross_entropy(network(batch), labels)
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
    return DomainClassifier(tuple(images), network)


def _check(images: Mapping[str, Images]) -> None:
    if len(images) < 2:
        raise ValueError(
            f"a domain classifier needs at least two domains, got {', '.join(images) or 'none'}"
        )
    empty = [domain for domain, pool in images.items() if len(pool) == 0]
    if empty:
        raise ValueError(f"domain {empty[0]!r} has no images to learn from: give at least one")
    if len({pool.shape[1:] for pool in images.values()}) > 1:
        sizes = ", ".join(
            f"{domain} {pool.shape[2]}x{pool.shape[1]}" for domain, pool in images.items()
        )
        raise ValueError(f"the domains' images differ in size ({sizes}): resize them first")


def _network(domains: int) -> nn.Module:
    widths = (3, 16, 32, 64)
    blocks: list[nn.Module] = []
    for before, after in pairwise(widths):
        blocks += [
            nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        ]
    return nn.Sequential(
        *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], domains)
    )


def _draw(pools: Sequence[Tensor], draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """A batch with equally many images of each domain, half of them flipped, and their labels."""
    share = max(BATCH_SIZE // len(pools), 2)
    rows = [torch.randint(len(pool), (share,), generator=draws) for pool in pools]
    pixels = torch.cat([pool[row] for pool, row in zip(pools, rows, strict=True)])
    batch = pixels.permute(0, 3, 1, 2).float().div(127.5).sub(1)
    flips = torch.rand(len(batch), 1, 1, 1, generator=draws) < 0.5
    labels = torch.arange(len(pools)).repeat_interleave(share)
    return torch.where(flips, batch.flip(3), batch), labels
