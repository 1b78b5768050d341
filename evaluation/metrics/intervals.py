"""Bootstrap intervals: how far a figure could be off because other images were not drawn."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95
DRAWS = 2000


class Interval(NamedTuple):
    """A figure and where it would lie for other images of the same kind, 19 times of 20."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether a difference stands."""
        return self.low > 0 or self.high < 0


def counts(images: int, draws: int, seed: int) -> NDArray[np.float64]:
    """How often each image occurs in each resample with replacement: (draws, images)."""
    rng = np.random.default_rng(seed)
    equal = np.full(images, 1 / images)
    return rng.multinomial(images, equal, size=draws).astype(np.float64)


def percentiles(value: float, resampled: NDArray[np.float64], level: float = LEVEL) -> Interval:
    """The interval that holds the share `level` of the resampled figures (draws,)."""
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def bootstrap_mean(
    values: ArrayLike, *, level: float = LEVEL, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Mean of one figure per image, with the percentile interval of Efron (1979).

    Args:
        values: (n,), one figure of each image, finite; in their own unit.
        level: share of resamples inside of the interval, in (0, 1).
        draws: resamples.
        seed: the same seed and n resample the same images.

    Raises:
        ValueError: there are no values, or one is not finite.
    """
    table = _checked(values)
    means = counts(len(table), draws, seed) @ table / len(table)
    return percentiles(float(table.mean()), means, level)


def paired_bootstrap(
    values: ArrayLike, others: ArrayLike, *, level: float = LEVEL, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Mean of `values - others` where both were measured on the same images, in their order.

    What makes an image easy or hard for both drops out, so that differences stand which two
    intervals beside each other would hide.

    Args:
        values: (n,), one figure of each image.
        others: (n,), the same figure of the same images, of another model.
        level: share of resamples inside of the interval, in (0, 1).
        draws: resamples.
        seed: of the resamples.

    Raises:
        ValueError: the numbers of images differ, or as in `bootstrap_mean`.
    """
    a, b = _checked(values), _checked(others)
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} images: paired figures are of the same images")
    return bootstrap_mean(a - b, level=level, draws=draws, seed=seed)


def _checked(values: ArrayLike) -> NDArray[np.float64]:
    table = np.asarray(values, np.float64)
    if table.ndim != 1 or not len(table) or not np.isfinite(table).all():
        raise ValueError("an interval needs one finite figure of at least one image")
    return table
