"""Fidelity and variety apart: precision, recall, density and coverage of features."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

from errors import UserError

Values = NDArray[np.float64]
NEAREST = 5  # of the articles' choices, 3 and 5, the one of density and coverage


class Manifold(NamedTuple):
    """Shares of images, all without unit; read them beside those of real against real images."""

    precision: float  # generated images that lie among real ones, in [0, 1]
    recall: float  # real images that lie among generated ones, in [0, 1]
    density: float  # how many real images a generated one lies near, over those expected; >= 0
    coverage: float  # real images that have a generated one near, in [0, 1]


class Memberships(NamedTuple):
    """What each image adds to the figure of the same name; the mean is the figure."""

    precision: Values  # (m,) of generated images
    recall: Values  # (n,) of real ones
    density: Values  # (m,) of generated images
    coverage: Values  # (n,) of real ones


def manifold(real: ArrayLike, generated: ArrayLike, *, nearest: int = NEAREST) -> Manifold:
    """Precision and recall (Kynkaanniemi et al., 2019), density and coverage (Naeem et al., 2020).

    An image's neighbourhood is the ball that reaches to its `nearest`-th neighbour on its own side
    (Euclidean). For samples of one distribution density expects 1 and coverage
    1 - prod_{i=1..k} (n - i) / (n + m - i).

    Args:
        real: features (n, d), n > nearest.
        generated: features (m, d), m > nearest.
        nearest: k of the k-th neighbour.

    Raises:
        UserError: there are too few images on a side.
        ValueError: features are not (n, d) with one d.
    """
    return Manifold(*(float(each.mean()) for each in memberships(real, generated, nearest=nearest)))


def memberships(real: ArrayLike, generated: ArrayLike, *, nearest: int = NEAREST) -> Memberships:
    """As `manifold`, image by image: for intervals over images."""
    a, b = np.asarray(real, np.float64), np.asarray(generated, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"features of shapes {a.shape} and {b.shape}: both are (n, d), one d")
    if min(len(a), len(b)) <= nearest:
        raise UserError(
            f"precision and recall need more than {nearest} images on each side, got {len(a)} and "
            f"{len(b)}: give more"
        )
    between = cdist(a, b)
    near_real = between <= _radii(a, nearest)[:, None]  # [i, j]: j lies in the ball of i
    near_generated = between <= _radii(b, nearest)[None]
    return Memberships(
        precision=np.asarray(near_real.any(0), np.float64),
        recall=np.asarray(near_generated.any(1), np.float64),
        density=np.asarray(near_real.sum(0) / nearest, np.float64),
        coverage=np.asarray(near_real.any(1), np.float64),
    )


def _radii(features: Values, nearest: int) -> Values:
    """Distance (n,) of each image to its neighbour; the nearest of all is the image itself."""
    distances = np.asarray(cdist(features, features), np.float64)
    return np.partition(distances, nearest, axis=1)[:, nearest]
