"""Fidelity and variety apart: precision, recall, density and coverage of features."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

from errors import UserError

NEAREST = 5  # of the articles' choices, 3 and 5, the one of density and coverage


class Manifold(NamedTuple):
    """Shares of images, all without unit; read them beside those of real against real images."""

    precision: float  # generated images that lie among real ones, in [0, 1]
    recall: float  # real images that lie among generated ones, in [0, 1]
    density: float  # how many real images a generated one lies near, over those expected; >= 0
    coverage: float  # real images that have a generated one near, in [0, 1]


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
    return Manifold(
        precision=float(near_real.any(0).mean()),
        recall=float(near_generated.any(1).mean()),
        density=float(near_real.sum(0).mean() / nearest),
        coverage=float(near_real.any(1).mean()),
    )


def _radii(features: NDArray[np.float64], nearest: int) -> NDArray[np.float64]:
    """Distance (n,) of each image to its neighbour; the nearest of all is the image itself."""
    distances = np.asarray(cdist(features, features), np.float64)
    return np.partition(distances, nearest, axis=1)[:, nearest]
