"""Model calls of fixed shapes, so that a picture does not depend on what shares its batch.

Arithmetic on a batch of 3 differs from that on a batch of 4 in the last bits, which is enough to
flip a token. So the number of rows in a call follows from the picture's size alone, and rows that
nobody needs are filled with copies.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vqi2i.errors import UserError
from vqi2i.networks.stopping import may_stop


@dataclass(frozen=True, kw_only=True)
class CallLimits:
    """How much a model call may hold."""

    rows: int = 4  # pictures per call
    pixels: int = 2**18  # pixels per call; a larger picture runs alone
    tile_pixels: int = 2**20  # a larger canvas is decoded in tiles of that size

    def __post_init__(self) -> None:
        if min(self.rows, self.pixels, self.tile_pixels) < 1:
            raise UserError(f"a model call holds at least one row and one pixel, got {self}")

    def rows_for(self, pixels: int) -> int:
        """Rows of a call on pictures of so many pixels each."""
        return max(1, min(self.rows, self.pixels // pixels))


def padded(images: Tensor, stride: int, *, least: int) -> Tensor:
    """Images (b, 3, h, w) on whole strides: the pixels of the right and the lower edge go on.

    Args:
        images: of any size.
        stride: image pixels per token, or per feature at the smallest scale.
        least: so many of these along a side every layer can take.
    """
    height, width = (max(-(-side // stride), least) * stride for side in images.shape[2:])
    return F.pad(
        images, (0, width - images.shape[3], 0, height - images.shape[2]), mode="replicate"
    )


def in_calls(
    function: Callable[..., Tensor], rows_per_call: int, *inputs: Tensor | Sequence[object]
) -> Tensor:
    """The rows of `function` of equally long inputs, exactly `rows_per_call` rows at a time.

    Tensors are cut along their first axis; other sequences are cut as they are.
    """
    results = []
    for start in range(0, len(inputs[0]), rows_per_call):
        may_stop()
        parts = [rows[start : start + rows_per_call] for rows in inputs]
        count = len(parts[0])
        # The last call is filled up as well; the rows of its copies are cut off.
        results.append(function(*(_filled(part, rows_per_call - count) for part in parts))[:count])
    return torch.cat(results)


def _filled(rows: Tensor | Sequence[object], missing: int) -> Tensor | Sequence[object]:
    """Rows and `missing` copies of the last one."""
    if not missing:
        return rows
    if isinstance(rows, Tensor):
        return torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])])
    return [*rows, *[rows[-1]] * missing]
