"""Reading tokens from a picture that is given in part, or is to go on past its borders.

The edge of a picture is not where its content ends: tokens beside it tell of an edge, and what is
imagined beside them has to join one. So the encoder is shown the given part as if it went on, and
nothing of the empty canvas farther away, of which its norms would take notice.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

# tokens beyond the known part in which it seems to go on: two win two thirds of what an edge costs
# the prior, four or eight win no more (docs/LOG.md)
MARGIN = 2

Box = tuple[slice, slice]  # rows, columns


def read_known(
    encode: Callable[[Tensor], Tensor], pixels: Tensor, kept: Tensor, known: Tensor, least: int
) -> Tensor:
    """Tokens (b, rows, columns) of the known cells of a canvas; those of other cells mean nothing.

    Args:
        encode: images to tokens (b, h / stride, w / stride).
        pixels: (b, 3, rows * stride, columns * stride).
        kept: bool, of the pixels; others are not looked at.
        known: bool (rows, columns), at least one; at least one pixel of the surroundings of known
            cells is kept.
        least: rows and columns that `encode` must be given; the canvas has as many.
    """
    stride = kept.shape[0] // known.shape[0]
    # The norms of the encoder look at all it is shown: the box alone, without empty canvas.
    box = bounding_box(known)
    rows, columns = (
        _with_margin(side, length, least) for side, length in zip(box, known.shape, strict=True)
    )
    place = scaled((rows, columns), stride)
    tokens = torch.zeros(len(pixels), *known.shape, dtype=torch.long, device=pixels.device)
    seen = continued(pixels[(..., *place)], kept[place], rings=2 * MARGIN * stride)
    tokens[:, rows, columns] = encode(seen)
    return tokens


def _with_margin(side: slice, length: int, least: int) -> slice:
    # Near the end of a canvas the box moves back.
    start, stop = max(side.start - MARGIN, 0), min(side.stop + MARGIN, length)
    start = max(0, min(start, length - least))
    return slice(start, max(stop, start + least))


def bounding_box(mask: Tensor) -> Box:
    """The smallest rectangle around the true cells of a mask (h, w)."""
    rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def scaled(box: Box, factor: int) -> Box:
    """A box of cells in pixels."""
    rows, columns = (slice(side.start * factor, side.stop * factor) for side in box)
    return rows, columns


def continued(images: Tensor, kept: Tensor, *, rings: int) -> Tensor:
    """Images (b, c, h, w) whose lost pixels go on as the nearest kept ones (h, w), for `rings`.

    Farther away lies the mean colour of the kept ones.
    """
    # (1, 1, h, w)
    known = kept[None, None].to(images)
    mean = (images * known).sum((2, 3), keepdim=True) / known.sum().clamp_min(1)
    images = images * known
    for _ in range(rings):
        if bool((known == 1).all()):
            return images
        # One ring of pixels at a time, each the mean of its known neighbours.
        total = F.avg_pool2d(images, 3, stride=1, padding=1, divisor_override=1)
        count = F.avg_pool2d(known, 3, stride=1, padding=1, divisor_override=1)
        images = torch.where(known > 0, images, total / count.clamp_min(1))
        known = (count > 0).to(known)
    return torch.where(known > 0, images, mean)
