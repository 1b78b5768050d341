"""The real pictures that a model is measured on, in memory, all of one size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import NamedTuple

import numpy as np

from errors import UserError
from evaluation.results import Subject
from imaging.codec import Images

FEWEST = 6  # images of a domain that sets can be compared by: more than the manifold's neighbours


class DomainImages(NamedTuple):
    """Real pictures of one domain, uint8 (n, h, w, 3)."""

    test: Images
    keys: Sequence[str]  # (n,) where each test image comes from
    training: Images  # (m, h, w, 3)


class Direction(NamedTuple):
    """Test images of one domain on their way into another, all (n, h, w, 3)."""

    source: Images
    exemplar: Images  # of the target domain: whose style is asked for
    truth: Images | None  # what should come out, where that is known
    keys: Sequence[str]


@dataclass(frozen=True)
class TestSet:
    """Everything real that an evaluation looks at.

    Attributes:
        about: what the images are, with their fingerprint.
        domains: real pictures by domain, two domains or more.
        truths: for every direction with a known truth, its test images.
        truth_has_exemplars_style: whether the exemplars of `truths` show the truth's style; else
            the truth itself is the one picture that does.
        gaps: what was left out, in sentences.
    """

    __test__ = False  # no test of ours, whatever its name begins with

    about: Subject
    domains: Mapping[str, DomainImages]
    truths: Mapping[tuple[str, str], Direction] = field(default_factory=dict)
    truth_has_exemplars_style: bool = False
    gaps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for domain, images in self.domains.items():
            for what, some in (("test", images.test), ("training", images.training)):
                if len(some) < FEWEST:
                    raise UserError(
                        f"domain {domain} has {len(some)} {what} images in {self.about.name}: "
                        f"figures need at least {FEWEST}; add images, or build the shards with a "
                        "larger share for --test"
                    )

    def directions(self) -> list[tuple[str, str]]:
        """Every ordered pair of two domains."""
        return list(permutations(self.domains, 2))

    def direction(self, source: str, target: str, seed: int) -> Direction:
        """The test images of a direction; exemplars are drawn where no truth comes with its own.

        Within one domain an exemplar is never the image itself.
        """
        if (known := self.truths.get((source, target))) is not None:
            return known
        ours, theirs = self.domains[source], self.domains[target]
        count = len(ours.test)
        rng = np.random.default_rng([seed, *f"{source}>{target}".encode()])
        if source == target:
            # A cycle through all of them, in a random order.
            order = rng.permutation(count)
            chosen = np.empty(count, int)
            chosen[order] = np.roll(order, 1)
        else:
            # As evenly as their numbers allow.
            rounds = -(-count // len(theirs.test))
            drawn = [rng.permutation(len(theirs.test)) for _ in range(rounds)]
            chosen = np.concatenate(drawn)[:count]
        return Direction(ours.test, theirs.test[chosen], None, ours.keys)
