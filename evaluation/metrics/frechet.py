"""Fréchet distance of two sets of features, as FID has it (Heusel et al., 2017): for plug-ins."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from errors import UserError

Values = NDArray[np.float64]
FEWEST = 1000  # images a side, for a figure that leads


def frechet_distance(real: ArrayLike, generated: ArrayLike) -> float:
    """|m - m'|^2 + tr(S + S' - 2 (S S')^(1/2)) of the Gaussians with the means m and covariances S
    of both sides (Dowson and Landau, 1982).

    On pooled features of Inception, and of nothing else, it is FID. It is biased upwards, the more
    so the fewer images there are: compare at equal numbers, and with real pictures against others.

    Args:
        real: features (n, d), n >= 2.
        generated: features (m, d), m >= 2.

    Returns:
        [0, infinity), in the squared unit of the features.

    Raises:
        UserError: there are fewer than two images on a side.
        ValueError: features are not (n, d) with one d.
    """
    a, b = np.asarray(real, np.float64), np.asarray(generated, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"features of shapes {a.shape} and {b.shape}: both are (n, d), one d")
    if min(len(a), len(b)) < 2:
        raise UserError(
            f"a Fréchet distance needs at least two images on each side, got {len(a)} and "
            f"{len(b)}: give more"
        )
    means = np.sum((a.mean(0) - b.mean(0)) ** 2)
    a, b = _factor(a), _factor(b)
    # The roots of the eigenvalues of S S' = A'A B'B are the singular values of A B'.
    common = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    # Rounding may leave identical sides a trifle below zero.
    return max(float(means + np.sum(a**2) + np.sum(b**2) - 2 * common), 0.0)


def check_leads(images: int) -> None:
    """See that a Fréchet distance of so many images on each side may be a headline.

    Raises:
        UserError: they are too few: its bias would be the larger part.
    """
    if images < FEWEST:
        raise UserError(
            f"a Fréchet distance of {images} images a side is no headline: measure at least "
            f"{FEWEST}, or let KID lead, which has no bias"
        )


def _factor(features: Values) -> Values:
    """A (min(n, d), d) with A'A = the covariance of features (n, d)."""
    centred = (features - features.mean(0)) / (len(features) - 1) ** 0.5
    if len(centred) <= centred.shape[1]:
        return centred
    return np.asarray(np.linalg.qr(centred, mode="r"))
