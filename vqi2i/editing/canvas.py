"""A picture before it is decoded: tokens, styles and what was given.

Applications change canvases; one decode ends.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Given:
    """The pixels that a picture grew from."""

    pixels: Tensor  # (b, 3, h, w) in [-1, 1], the size of the picture; ignored outside of `kept`
    kept: Tensor  # bool (h, w)


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """A batch of pictures as tokens on a canvas, which may reach beyond the picture's borders."""

    tokens: Tensor  # (b, rows, columns) int64
    known: Tensor  # bool (rows, columns); False while tokens are still being imagined
    size: tuple[int, int]  # of the picture in pixels
    offset: tuple[int, int] = (0, 0)  # pixels of the canvas above and to the left of the picture
    domain: str  # whose content the tokens are
    own: Tensor  # (b, style_dim) in that domain
    shown_in: str  # the domain in which the picture is shown
    style: Tensor  # (b, style_dim) of it, or (b, style_dim, rows, columns)
    given: Given | None = None
    feather: int | None = None  # put the given pixels back, with a border as soft as this

    @property
    def is_as_given(self) -> bool:
        """Whether nothing has been imagined yet."""
        return self.given is not None and bool(self.given.kept.all())

    @property
    def shows_its_own(self) -> bool:
        """Whether the picture is shown in the domain and the style that it was given in."""
        return self.shown_in == self.domain and self.style is self.own

    def losing(self, mask: Tensor, known: Tensor) -> "Canvas":
        """The canvas without the pixels that a mask (h, w) takes; cells not in `known` are lost."""
        given = self.given and Given(pixels=self.given.pixels, kept=self.given.kept & mask)
        return replace(self, known=known, given=given)

    def borders(self, stride: int) -> tuple[int, int, int, int]:
        """Pixels of the canvas left, right, above and below of the picture, as for `F.pad`."""
        (top, left), (height, width) = self.offset, self.size
        rows, columns = self.tokens.shape[1:]
        # `F.pad` begins with the last axis: left, right, then above, below.
        return left, columns * stride - left - width, top, rows * stride - top - height

    def cut(self, rows: slice, columns: slice, stride: int) -> "Canvas":
        """Some rows and columns of cells as a picture of their own; its style must not vary."""
        place = (
            slice(rows.start * stride, rows.stop * stride),
            slice(columns.start * stride, columns.stop * stride),
        )
        given = self.given and _padded(self.given, self.borders(stride))
        return replace(
            self,
            tokens=self.tokens[:, rows, columns],
            known=self.known[rows, columns],
            size=(place[0].stop - place[0].start, place[1].stop - place[1].start),
            offset=(0, 0),
            style=self.own,
            given=given and Given(pixels=given.pixels[(..., *place)], kept=given.kept[place]),
        )

    def infilled(self, tokens: Tensor, known: Tensor) -> "Canvas":
        """The same canvas with other tokens."""
        return replace(self, tokens=tokens, known=known)

    def grown(
        self, *, left: int, right: int, top: int, bottom: int, stride: int, least: int
    ) -> "Canvas":
        """The canvas with room for so many more pixels.

        New cells, and those partly beyond a moved border, are unknown.

        Args:
            left: pixels, like the other sides.
            right: of the picture.
            top: of the picture.
            bottom: of the picture.
            stride: pixels per cell along each side.
            least: cells that a canvas must have along each side.
        """
        rows = _Axis.grown(
            self.offset[0], self.size[0], self.tokens.shape[1], top, bottom, stride, least
        )
        columns = _Axis.grown(
            self.offset[1], self.size[1], self.tokens.shape[2], left, right, stride, least
        )
        # Cells that stay, then the new ones around them: zeros, and False for what is known.
        kept = self.tokens[:, : rows.kept, : columns.kept]
        sides = (columns.before, columns.after, rows.before, rows.after)
        return replace(
            self,
            tokens=F.pad(kept, sides),
            known=F.pad(self.known[: rows.kept, : columns.kept], sides),
            size=(self.size[0] + top + bottom, self.size[1] + left + right),
            offset=(rows.offset, columns.offset),
            style=_carried(self.style, rows, columns) if self.style.ndim == 4 else self.style,
            given=_padded(self.given, (left, right, top, bottom)),
        )


@dataclass(frozen=True)
class _Axis:
    """What becomes of the cells along one side of a canvas."""

    kept: int  # cells, from the first on
    before: int  # new cells
    after: int  # new cells
    offset: int  # pixels of the canvas before the picture

    @classmethod
    def grown(
        cls,
        offset: int,
        size: int,
        cells: int,
        more_before: int,
        more_after: int,
        stride: int,
        least: int,
    ):
        """A picture of `size` pixels, `offset` pixels into its cells, with more on either side."""
        # -(-a // b) is a / b rounded up. The canvas's own pixels before the picture are used first.
        before = max(-(-(more_before - offset) // stride), 0)
        # A cell that reaches past a border which moves has seen padding: only whole ones stay.
        kept = (offset + size) // stride if more_after else cells
        needed = -(-(offset + size + more_after) // stride) if more_after else cells
        # At least `least` cells in all, which are added behind.
        after = max(needed, least - before) - kept
        return cls(kept, before, after, before * stride + offset - more_before)


def _carried(style: Tensor, rows: _Axis, columns: _Axis) -> Tensor:
    """A field of styles whose borders go on into what is new."""
    field = style[:, :, : rows.kept, : columns.kept]
    return F.pad(field, (columns.before, columns.after, rows.before, rows.after), mode="replicate")


def _padded(given: Given | None, sides: tuple[int, int, int, int]) -> Given | None:
    return given and Given(pixels=F.pad(given.pixels, sides), kept=F.pad(given.kept, sides))


def known_cells(kept: Tensor, canvas: Canvas, stride: int) -> Tensor:
    """Cells (rows, columns) that lose no pixel; pixels beyond the picture count as kept."""
    # (1, 1, rows * stride, columns * stride): 1 where a pixel is lost, 0 beyond the picture
    lost = F.pad((~kept).float()[None, None], canvas.borders(stride))
    return F.max_pool2d(lost, stride)[0, 0] == 0


def guessed(canvas: Canvas) -> Tensor:
    """Tokens to look at while some are unknown: each picture's most common one stands for these."""
    rows = canvas.tokens.flatten(1)
    common = torch.stack(
        [
            row[canvas.known.flatten()].mode().values if canvas.known.any() else row[0]
            for row in rows
        ]
    )
    return torch.where(canvas.known, canvas.tokens, common[:, None, None])
