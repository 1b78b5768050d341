"""How much of a codebook the tokens of unseen images use, with intervals over images."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from errors import UserError
from evaluation.metrics.intervals import DRAWS, LEVEL, Interval, counts, percentiles
from vqi2i.networks.quantizers import Usage

Values = NDArray[np.float64]
AT_ONCE = 2**24  # numbers of resampled counts in memory


class CodebookUse(NamedTuple):
    """What images make of a codebook of `size` codes.

    All of it grows with the number of images while the codebook is large: compare at equal numbers.
    """

    used: Interval  # share of codes that occur, in [0, 1]
    perplexity: Interval  # codes as if all were used alike, exp of the entropy, in [1, size]
    dead: int  # codes that no image has, in [0, size]
    entropy: float  # of the codes' shares, in bits, in [0, log2 size]


def codebook_use(
    tokens: Tensor, size: int, *, level: float = LEVEL, draws: int = DRAWS, seed: int = 0
) -> CodebookUse:
    """Share used, perplexity (van den Oord et al., 2017, report it), dead codes and entropy.

    Intervals are bootstrap over images, since tokens of one image are no independent draws.
    A resample holds fewer different images than there are, and thus fewer codes: its figures lie
    below those of all images, and so may the interval of a large codebook. They are shifted up by
    their mean distance before the percentiles are taken.

    Args:
        tokens: int64 (n, h, w), in 0 .. size - 1.
        size: of the codebook.
        level: share of resamples inside of the intervals, in (0, 1).
        draws: resamples.
        seed: of the resamples.

    Raises:
        UserError: there are no images.
        ValueError: tokens are not (n, h, w), or not of this codebook.
    """
    table = _counts(tokens, size)
    usage = Usage.of(torch.from_numpy(table.sum(0)))
    used, perplexity = _resampled(table, counts(len(table), draws, seed))
    return CodebookUse(
        used=_around(usage.used, used, 1 / size, 1, level),
        perplexity=_around(usage.perplexity, perplexity, 1, size, level),
        dead=size - round(usage.used * size),
        entropy=float(np.log2(usage.perplexity)),
    )


def _counts(tokens: Tensor, size: int) -> Values:
    """How often each code occurs in each image: (n, size)."""
    if tokens.ndim != 3:
        raise ValueError(f"tokens of shape {tuple(tokens.shape)}: they are (n, h, w)")
    if not tokens.numel():
        raise UserError("the use of a codebook needs tokens of at least one image, got none")
    if tokens.min() < 0 or tokens.max() >= size:
        raise ValueError(f"tokens {tokens.min()} to {tokens.max()} of a codebook of {size} codes")
    flat = tokens.cpu().flatten(1)
    found = torch.zeros(len(flat), size, dtype=torch.float64)
    return found.scatter_add_(1, flat, torch.ones(flat.shape, dtype=torch.float64)).numpy()


def _resampled(table: Values, weights: Values) -> tuple[Values, Values]:
    """Share used and perplexity (draws,) where images count as often as weights (draws, n) say."""
    usages = []
    for part in np.array_split(weights, -(-weights.shape[0] * table.shape[1] // AT_ONCE)):
        usages += [Usage.of(each) for each in torch.from_numpy(part @ table)]
    return np.array([each.used for each in usages]), np.array([each.perplexity for each in usages])


def _around(value: float, resampled: Values, low: float, high: float, level: float) -> Interval:
    """The interval of resampled figures (draws,) brought around the figure, in [low, high]."""
    found = percentiles(value, resampled + value - resampled.mean(), level)
    return Interval(value, max(found.low, low), min(found.high, high))
