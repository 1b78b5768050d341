"""Windows over a canvas of tokens that is larger than what a prior sees at once."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

Window = tuple[slice, slice]  # rows and columns of the canvas
Piece = tuple[Tensor, Tensor]  # a canvas (b, h, w) and what is known of it (h, w)


def lattice(canvas: Sequence[int], window: Sequence[int], context: float) -> Iterator[Window]:
    """Windows that cover a canvas (rows, columns) from top to bottom and left to right.

    Args:
        canvas: not smaller than a window.
        window: rows and columns.
        context: share of a window's sides that overlaps with the window before; the last ones
            overlap more.
    """
    for top in _origins(canvas[0], window[0], context):
        for left in _origins(canvas[1], window[1], context):
            yield slice(top, top + window[0]), slice(left, left + window[1])


def grown(tokens: Tensor, known: Tensor, window: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Copies of a canvas (b, h, w) and what is known of it (h, w), no smaller than a window.

    What is added is unknown.
    """
    height, width = (max(pair) for pair in zip(known.shape, window, strict=True))
    canvas, filled = tokens.new_zeros(len(tokens), height, width), known.new_zeros(height, width)
    canvas[:, : known.shape[0], : known.shape[1]] = tokens
    filled[: known.shape[0], : known.shape[1]] = known
    return canvas, filled


def around(cell: tuple[int, int], canvas: Sequence[int], window: Sequence[int]) -> Window:
    """The window with a cell in its middle, or as near to it as the canvas allows.

    So the release moves its window.
    """
    top, left = (
        min(max(place - side // 2, 0), length - side)
        for place, length, side in zip(cell, canvas, window, strict=True)
    )
    return slice(top, top + window[0]), slice(left, left + window[1])


def cells(mask: Tensor) -> list[tuple[int, int]]:
    """Where a mask (h, w) is true, in raster order."""
    return [(int(row), int(column)) for row, column in torch.nonzero(mask).tolist()]


def _origins(length: int, window: int, context: float) -> list[int]:
    # The last window ends with the canvas, whatever its overlap.
    step = max(window - math.ceil(context * window), 1)
    return [*range(0, length - window, step), length - window]
