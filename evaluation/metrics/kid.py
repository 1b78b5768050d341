"""Kernel inception distance (Binkowski et al., 2018) on any features, with its uncertainty.

Named after its features: on those of EfficientNet-Lite0 it is KID-Lite0, never "FID" or "KID"
alone, since figures of different features do not compare.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t

from errors import UserError
from evaluation.metrics.intervals import DRAWS, LEVEL, Interval, counts, percentiles

Values = NDArray[np.float64]
Kernel = Callable[[Values, Values], Values]  # (n, d) and (m, d) to (n, m)
SPLITS = 200
CMMD_WIDTH, CMMD_SCALE = 10.0, 1000.0


class Floor(NamedTuple):
    """KID of real images against other real images: what no model can be better than."""

    mean: float
    deviation: float  # of one KID, over splits
    images: int  # on each side

    def deviations(self, kid: float) -> float:
        """How many of its deviations a KID at as many images lies above the floor."""
        return (kid - self.mean) / self.deviation


class _Kernels(NamedTuple):
    """Similarities of all pairs, diagonals of the first two left out."""

    real: Values  # (n, n)
    generated: Values  # (m, m)
    between: Values  # (n, m)


def cubic(a: Values, b: Values) -> Values:
    """(x . y / d + 1)^3 of all pairs: the kernel of KID."""
    return (a @ b.T / a.shape[1] + 1) ** 3


def gaussian(a: Values, b: Values) -> Values:
    """1000 exp(-|x - y|^2 / 200) of all pairs: under it, `kid` is CMMD (Jayasumana et al., 2024).

    That is meant for features of CLIP of length 1. The authors' code also counts each image's pair
    with itself, which makes figures of few images larger.
    """
    squares = np.sum(a**2, 1)[:, None] + np.sum(b**2, 1) - 2 * a @ b.T
    return CMMD_SCALE * np.exp(-squares.clip(min=0) / (2 * CMMD_WIDTH**2))


def kid(real: ArrayLike, generated: ArrayLike, *, kernel: Kernel = cubic) -> float:
    """Squared maximum mean discrepancy under a kernel, (x . y / d + 1)^3 for KID; unbiased.

    Its expectation is 0 for samples of one distribution whatever their number, and more for others;
    a single figure may be negative.

    Args:
        real: features (n, d), n >= 2.
        generated: features (m, d), m >= 2.
        kernel: `cubic` or `gaussian`.

    Returns:
        no unit, around [0, infinity), on the scale of the features.

    Raises:
        UserError: there are fewer than two images on a side.
        ValueError: features are not (n, d) with one d.
    """
    real, generated = _checked(real, generated)
    n, m = len(real), len(generated)
    return float(_weighted(_kernels(real, generated, kernel), np.ones((1, n)), np.ones((1, m)))[0])


def kid_interval(
    real: ArrayLike,
    generated: ArrayLike,
    *,
    kernel: Kernel = cubic,
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """`kid` with a bootstrap interval over the images of both sides.

    An image that a resample holds twice is no pair with itself: counted as one, it would make
    every resample's KID larger. Memory is taken for (n + m)^2 numbers.

    Args:
        real: features (n, d), n >= 2.
        generated: features (m, d), m >= 2.
        kernel: as in `kid`.
        level: share of resamples inside of the interval, in (0, 1).
        draws: resamples.
        seed: of the resamples.

    Raises:
        UserError, ValueError: as `kid`.
    """
    real, generated = _checked(real, generated)
    n, m = len(real), len(generated)
    kernels = _kernels(real, generated, kernel)
    value = float(_weighted(kernels, np.ones((1, n)), np.ones((1, m)))[0])
    resampled = _weighted(kernels, counts(n, draws, seed), counts(m, draws, seed + 1))
    return percentiles(value, resampled, level)


def kid_difference(
    real: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """`kid` of the second pictures less that of the first, against the same real ones.

    Row i of both was made from the same image. A resample holds the same real images and the same
    rows of both, so that what makes them easy or hard for both drops out; so does what real images
    have in common with each other, which is left out. Memory is taken for (n + m)^2 numbers.

    Args:
        real: features (n, d), n >= 2.
        first: features (m, d), m >= 2.
        second: features (m, d), of the same images in the same order.
        level: share of resamples inside of the interval, in (0, 1).
        draws: resamples.
        seed: of the resamples.

    Raises:
        UserError: there are fewer than two images on a side.
        ValueError: numbers of pictures differ, or as `kid`.
    """
    real, first = _checked(real, first)
    real, second = _checked(real, second)
    n, m = len(real), len(first)
    if m != len(second):
        raise ValueError(f"{m} and {len(second)} pictures: a difference is of the same images")
    once = np.ones((1, n)), np.ones((1, m))
    resamples = counts(n, draws, seed), counts(m, draws, seed + 1)
    value, resampled = np.zeros(1), np.zeros(draws)
    for sign, generated in ((1, second), (-1, first)):
        inside = _without_diagonal(cubic(generated, generated))
        between = cubic(real, generated)
        value += sign * _distance(inside, between, *once)
        resampled += sign * _distance(inside, between, *resamples)
    return percentiles(float(value[0]), resampled, level)


def kid_blocks(real: ArrayLike, generated: ArrayLike, *, blocks: int = 10) -> Interval:
    """Mean of `kid` over disjoint blocks of images, with the 95 % interval of Student's t.

    Blocks are independent, so the interval is right even where both sides are alike; it is wider
    than the bootstrap's, and takes memory of one block. Images count in their order: shuffle them
    if it means anything.

    Args:
        real: features (n, d).
        generated: features (m, d).
        blocks: at least 2, with two images of each side in every block.

    Raises:
        UserError: there are fewer than two images of a side in a block.
        ValueError: as `kid`, or there are fewer than two blocks.
    """
    if blocks < 2:
        raise ValueError(f"{blocks} blocks: an interval needs at least 2")
    real, generated = _checked(real, generated)
    parts = zip(np.array_split(real, blocks), np.array_split(generated, blocks), strict=True)
    values = np.array([kid(a, b) for a, b in parts])
    reach = t.ppf((1 + LEVEL) / 2, blocks - 1) * values.std(ddof=1) / blocks**0.5
    return Interval(
        float(values.mean()), float(values.mean() - reach), float(values.mean() + reach)
    )


def kid_floor(
    real: ArrayLike,
    images: int,
    *,
    kernel: Kernel = cubic,
    splits: int = SPLITS,
    seed: int = 0,
) -> Floor:
    """`kid` between disjoint random parts of the real images: the floor at equal numbers.

    Args:
        real: features (n, d) of one domain.
        images: on each side, at most n / 2.
        kernel: as in `kid`.
        splits: how often they are drawn.
        seed: of the splits.

    Raises:
        UserError: there are too few real images for two sides.
    """
    table = _checked(real, real)[0]
    if images < 2 or 2 * images > len(table):
        raise UserError(
            f"a floor at {images} images a side needs {max(2 * images, 4)} real ones, got "
            f"{len(table)}: measure on fewer images or give more real ones"
        )
    similarity = kernel(table, table)
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(splits):
        order = rng.permutation(len(table))
        a, b = order[:images], order[images : 2 * images]
        ours, theirs = (_without_diagonal(similarity[np.ix_(side, side)]) for side in (a, b))
        split = _Kernels(ours, theirs, similarity[np.ix_(a, b)])
        values.append(_weighted(split, np.ones((1, images)), np.ones((1, images)))[0])
    return Floor(float(np.mean(values)), float(np.std(values, ddof=1)), images)


def _checked(real: ArrayLike, generated: ArrayLike) -> tuple[Values, Values]:
    a, b = np.asarray(real, np.float64), np.asarray(generated, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"features of shapes {a.shape} and {b.shape}: both are (n, d), one d")
    if min(len(a), len(b)) < 2:
        raise UserError(
            f"KID needs at least two images on each side, got {len(a)} and {len(b)}: give more"
        )
    return a, b


def _kernels(real: Values, generated: Values, kernel: Kernel) -> _Kernels:
    ours, theirs = (_without_diagonal(kernel(side, side)) for side in (real, generated))
    return _Kernels(ours, theirs, kernel(real, generated))


def _without_diagonal(similarity: Values) -> Values:
    np.fill_diagonal(similarity, 0)
    return similarity


def _weighted(kernels: _Kernels, real: Values, generated: Values) -> Values:
    """KID (draws,) where images count as often as weights (draws, n) and (draws, m) say."""
    apart = _distance(kernels.generated, kernels.between, real, generated)
    return _inside(kernels.real, real) + apart


def _distance(inside: Values, between: Values, real: Values, generated: Values) -> Values:
    """KID (draws,) but for what real images have in common: inside (m, m), between (n, m)."""
    across = np.sum(real @ between * generated, axis=1) / (real.sum(1) * generated.sum(1))
    return _inside(inside, generated) - 2 * across


def _inside(similarity: Values, weights: Values) -> Values:
    """Mean similarity of two different images of one side."""
    pairs = weights.sum(1) ** 2 - (weights**2).sum(1)
    return np.sum(weights @ similarity * weights, axis=1) / pairs
