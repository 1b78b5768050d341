"""Pictures of a report: labelled rows of images, embedded so that one file holds everything."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from imaging import encode
from imaging.codec import Pixels

READABLE_HEIGHT = 160  # screen pixels that small images are enlarged towards
LARGEST_SCALE = 3


@dataclass(frozen=True)
class Row:
    """Images side by side under one label; uint8 (h, w, 3), in the order of the row above and
    below.
    """

    label: str
    images: Sequence[Pixels]


@dataclass(frozen=True)
class Figure:
    """A titled block of rows, with a sentence that says what one sees."""

    title: str
    caption: str
    rows: Sequence[Row]
    columns: Sequence[str] = ()  # words above the images, one each


@dataclass(frozen=True)
class Embedded:
    """An image as HTML needs it: its data, its size on the page, and words for those who cannot see
    it.
    """

    uri: str
    width: int
    height: int
    alt: str


def embed(figure: Figure, *, lossless: bool = True) -> list[tuple[str, list[Embedded]]]:
    """Labels and embedded images of a figure's rows; small images are shown enlarged by a whole
    factor.

    Args:
        figure: what is shown.
        lossless: as PNG, else as JPEG of a quarter of the size.

    Raises:
        ValueError: the figure shows nothing.
    """
    heights = [pixels.shape[0] for row in figure.rows for pixels in row.images]
    if not heights:
        raise ValueError(f"figure {figure.title!r} has no images: leave it out of the report")
    scale = min(LARGEST_SCALE, max(1, READABLE_HEIGHT // max(heights)))
    image_format = "png" if lossless else "jpeg"
    return [(row.label, _embed_row(row, figure, scale, image_format)) for row in figure.rows]


def _embed_row(row: Row, figure: Figure, scale: int, image_format: str) -> list[Embedded]:
    count = len(row.images)
    columns = figure.columns or [f"{number} of {count}" for number in range(1, count + 1)]
    return [
        Embedded(
            uri=f"data:image/{image_format};base64,{_base64(pixels, image_format)}",
            width=pixels.shape[1] * scale,
            height=pixels.shape[0] * scale,
            alt=f"{figure.title}: {row.label}, {column}",
        )
        for pixels, column in zip(row.images, columns, strict=True)
    ]


def _base64(pixels: Pixels, image_format: str) -> str:
    return base64.b64encode(encode(pixels, image_format, quality=90)).decode()
