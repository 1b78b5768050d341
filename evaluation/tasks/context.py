"""What all tasks of an evaluation share, looked at once."""

from collections.abc import Callable
from functools import cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from evaluation.images import TestSet
from evaluation.metrics.niqe import NiqeModel, fit_model
from evaluation.networks.feature_classifier import FeatureClassifier, fit
from evaluation.networks.sight import Features, Networks, Seen
from evaluation.results import Settings
from imaging import to_pixels, to_tensor
from imaging.codec import Images
from vqi2i.model import Encoded
from vqi2i.translator import Translator

BATCH = 32  # images that pass through a model at a time
LARGEST_BLOCK = 96  # pixels; of NIQE, as its authors chose


class Translates(Protocol):
    """Whatever shows images of one domain in another."""

    @property
    def domains(self) -> tuple[str, ...]: ...

    def translate(
        self,
        images: Tensor,
        *,
        source: str,
        target: str,
        style: Tensor | None = None,
        seed: int = 0,
    ) -> Tensor:
        """(n, 3, h, w) in [-1, 1] in and out."""
        ...


class Context:
    """The real pictures, the networks, and what they say of each other.

    Args:
        images: real pictures.
        networks: what metrics look through.
        settings: how much is measured.
    """

    def __init__(self, images: TestSet, networks: Networks, settings: Settings):
        self.images = images
        self.networks = networks
        self.settings = settings
        self.test = cache(self._test)
        self.training = cache(self._training)
        self.second = cache(self._second)
        self.niqe = cache(self._niqe)
        self.classifier = cache(self._classifier)

    def _test(self, domain: str) -> Seen:
        """What networks say of the domain's test images."""
        return self.networks.see_real(self.images.domains[domain].test)

    def _training(self, domain: str) -> Seen:
        """What networks say of the domain's training images, places left out."""
        return self.networks.see_real(self.images.domains[domain].training, maps=False)

    def unseen(self, domain: str) -> dict[str, Features]:
        """Features of as many training images as there are test images, as far as there are."""
        count = len(self.images.domains[domain].test)
        features = self.training(domain).features
        return {name: each[:count] for name, each in features.items()}

    def _second(self, domain: str) -> np.ndarray | None:
        """The second network's features of test images, then of as many training images."""
        images = self.images.domains[domain]
        pool = np.concatenate([images.test, images.training[: len(images.test)]])
        return self.networks.second_opinion(pool)

    def _niqe(self, domain: str) -> NiqeModel:
        """A model of natural images fitted to the domain's training images."""
        images = self.images.domains[domain].training
        # A quarter of the side: sixteen blocks of a square picture, an even number of pixels each.
        block = min(LARGEST_BLOCK, min(images.shape[1:3]) // 8 * 2)
        return fit_model(images, block)

    def _classifier(self) -> FeatureClassifier:
        """What tells the domains apart by Lite0's features, taught on training images."""
        features = {
            d: torch.from_numpy(self.training(d).features["lite0"]) for d in self.images.domains
        }
        return fit(features, self.settings.seed)

    def seed(self, *names: str) -> int:
        """A seed for one use, the same whatever else is measured."""
        words = [self.settings.seed, *"/".join(names).encode()]
        return int(np.random.default_rng(words).integers(2**31))


def in_batches(make: Callable[[Tensor, int], Tensor], images: Images) -> Images:
    """Pictures that a model makes of others, a batch at a time.

    Args:
        make: from (b, 3, h, w) in [-1, 1] and the index of the first.
        images: uint8 (n, h, w, 3).
    """
    starts = range(0, len(images), BATCH)
    made = [to_pixels(make(to_tensor(images[i : i + BATCH]), i)) for i in starts]
    return np.stack([pixels for part in made for pixels in part])


def encoded(model: Translator, images: Images, domain: str) -> Encoded:
    """Tokens and styles of a domain's pictures, uint8 (n, h, w, 3)."""
    starts = range(0, len(images), BATCH)
    parts = [model.encode(to_tensor(images[i : i + BATCH]), domain) for i in starts]
    return Encoded(*(torch.cat(each) for each in zip(*parts, strict=True)))
