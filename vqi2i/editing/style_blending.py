"""Styles that change over a canvas: where each of several is met, and what lies between them."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from vqi2i.errors import UserError

Direction = Literal["horizontal", "vertical", "radial"]


def shares(
    direction: Direction,
    grid: Sequence[int],
    *,
    stride: int,
    size: Sequence[int],
    offset: Sequence[int],
) -> Tensor:
    """How far each cell (rows, columns) lies from the first style to the last, in [0, 1].

    Args:
        direction: from left to right, from top to bottom, or from the middle to the corners.
        grid: rows and columns of cells.
        stride: pixels per cell along each side.
        size: height and width of the picture in pixels.
        offset: pixels of the canvas above and to the left of the picture.
    """
    # (rows,) and (columns,): 0 at the picture's first cell, 1 at its last
    y, x = (
        (torch.arange(count) * stride - start) / max(length - stride, 1)
        for count, start, length in zip(grid, offset, size, strict=True)
    )
    if direction == "radial":
        # Pixels from the middle, by half of the diagonal: 1 in the corners.
        away = torch.stack(
            torch.meshgrid((y - 0.5) * size[0], (x - 0.5) * size[1], indexing="ij")
        ).norm(dim=0)
        share = away / (torch.tensor(size).float().norm() / 2)
    else:
        share = (x[None] if direction == "horizontal" else y[:, None]).expand(*grid)
    return share.clamp(0, 1)


def blend(styles: Tensor, share: Tensor) -> Tensor:
    """Styles (style_dim, rows, columns) between styles (k, style_dim) met at equal distances.

    Args:
        styles: k >= 2 of them.
        share: (rows, columns) in [0, 1]; see `shares`.

    Raises:
        UserError: fewer than two styles.
    """
    if len(styles) < 2:
        raise UserError(f"a transition needs at least two styles, got {len(styles)}")
    # Which two styles a cell lies between, and how far it is from the first of them.
    place = share.to(styles.device) * (len(styles) - 1)
    before = place.floor().long().clamp(max=len(styles) - 2)
    rest = (place - before)[..., None]
    # (rows, columns, style_dim) to (style_dim, rows, columns)
    return torch.lerp(styles[before], styles[before + 1], rest.to(styles)).permute(2, 0, 1)
