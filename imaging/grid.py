"""Contact sheets."""

from collections.abc import Sequence

import numpy as np

from imaging.codec import Pixels


def grid(images: Sequence[Pixels], columns: int, gap: int = 2) -> Pixels:
    """Tile images row by row on white, `columns` in a row; cells take the size of the largest
    image.
    """
    if not images:
        raise ValueError("a grid needs at least one image")
    height = max(image.shape[0] for image in images)
    width = max(image.shape[1] for image in images)
    rows = -(-len(images) // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        sheet[top : top + image.shape[0], left : left + image.shape[1]] = image
    return sheet
