"""Whether a continued picture shows where: at seams, by repetition, in its skyline.

All three are read against real pictures, cut at the same places: what matters is to be as they are.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.luminance import luminance
from imaging.codec import Images

Values = NDArray[np.float64]
PATCH = 16  # pixels; side of what is looked for elsewhere in the picture
FLAT = 4.0  # luminance steps of 255; a patch of less deviation is sky or snow, which may repeat


class Border(NamedTuple):
    """A straight line between pixels.

    `vertical` ones lie between columns `at - 1` and `at`, others between rows.
    """

    orientation: Literal["vertical", "horizontal"]
    at: int
    span: tuple[int, int] | None = None  # the part of the line that counts; all of it if None


def seam_scores(images: Images, borders: Sequence[Border]) -> Values:
    """Energy of luminance gradients across borders over that across other lines, per image.

    Args:
        images: uint8 (n, height, width, 3).
        borders: where the pictures were continued.

    Returns:
        (n,): around 1 where a border is a line like any other, more where it shows.
    """
    gray = luminance(images).astype(np.float64)
    at_borders, elsewhere = [], []
    for border in borders:
        parallel = [other.at - 1 for other in borders if other.orientation == border.orientation]
        # Rows and columns change places, so that every border is a vertical one.
        upright = gray if border.orientation == "vertical" else gray.swapaxes(1, 2)
        rows = slice(*border.span) if border.span else slice(None)
        energy = np.diff(upright[:, rows], axis=2) ** 2  # [..., k] lies between k and k + 1
        at_borders.append(energy[..., border.at - 1].mean(1))
        # All lines but the borders of this orientation.
        elsewhere.append(np.delete(energy, parallel, axis=2).mean((1, 2)))
    return np.mean(at_borders, axis=0) / np.maximum(np.mean(elsewhere, axis=0), 1e-9)


def repetition_scores(images: Images, new: NDArray[np.bool_]) -> Values:
    """How well patches of the new part are found again elsewhere in the same picture, per image.

    Each textured patch of the new part is compared with all patches of the picture that do not
    overlap it, by normalised correlation; a picture's score is the mean of the best matches. 1:
    everything occurs twice.

    Args:
        images: uint8 (n, height, width, 3).
        new: bool (height, width), True where pixels were imagined.
    """
    gray = luminance(images)
    # Half a patch apart; those that lie wholly in the new part.
    rows, columns = (range(0, side - PATCH + 1, PATCH // 2) for side in new.shape)
    corners = [(y, x) for y in rows for x in columns if new[y : y + PATCH, x : x + PATCH].all()]
    return np.array([_repetition(picture, corners) for picture in gray])


def _repetition(picture: NDArray[np.float32], corners: Sequence[tuple[int, int]]) -> float:
    best = []
    for y, x in corners:
        patch = picture[y : y + PATCH, x : x + PATCH]
        if patch.std() < FLAT:
            continue
        found = cv2.matchTemplate(picture, patch, cv2.TM_CCOEFF_NORMED)
        # Itself and what overlaps it. (height - PATCH + 1, width - PATCH + 1) places of a corner
        found[max(0, y - PATCH + 1) : y + PATCH, max(0, x - PATCH + 1) : x + PATCH] = -1
        best.append(float(found.max()))
    return float(np.mean(best)) if best else float("nan")


def skylines(images: Images) -> NDArray[np.float64]:
    """The row of the strongest vertical change of luminance in each column: (n, width).

    The line is smoothed: it is the cheapest path from left to right (dynamic programming), where
    each step costs its distance and each pixel what it lacks of its column's strongest gradient;
    so it exists in any picture.
    """
    gray = luminance(images)
    return np.stack([_skyline(picture) for picture in gray])


def _skyline(picture: NDArray[np.float32], stiffness: float = 0.15) -> NDArray[np.float64]:
    smooth = cv2.GaussianBlur(picture, (0, 0), 1.0)
    gradient = np.abs(np.diff(smooth, axis=0))
    # (height - 1, width): 0 at each column's strongest gradient, 1 where there is none
    cost = 1 - gradient / np.maximum(gradient.max(0, keepdims=True), 1e-6)
    rows, columns = cost.shape
    steps = stiffness * np.abs(np.arange(rows)[:, None] - np.arange(rows)[None])
    # total[r]: the cheapest way to row r of this column; origin[r]: the row it came from
    total, origin = cost[:, 0].astype(np.float64), np.zeros((rows, columns), int)
    for column in range(1, columns):
        # [r, s]: to row r by way of row s of the column before
        through = total[None] + steps
        origin[:, column] = through.argmin(1)
        total = through[np.arange(rows), origin[:, column]] + cost[:, column]
    line = np.empty(columns)
    line[-1] = total.argmin()
    for column in range(columns - 1, 0, -1):
        line[column - 1] = origin[int(line[column]), column]
    # Gradient r lies between rows r and r + 1.
    return line + 0.5


def skyline_jumps(images: Images, columns: Sequence[int], reach: int = 4) -> Values:
    """How far the skyline jumps at vertical borders, in pixels: (n * len(columns),).

    A line through `reach` pixels on each side is continued to the border; the jump is the distance
    of the two ends. Compare its distribution with that of real pictures at the same columns.
    """
    lines = skylines(images)
    jumps = []
    for column in columns:
        before, after = lines[:, column - reach : column], lines[:, column : column + reach]
        # Columns around the middle of each part; the border is reach / 2 away from that.
        x = np.arange(reach) - (reach - 1) / 2
        ends = []
        for part, towards in ((before, reach / 2), (after, -reach / 2)):
            # Least squares; the mean of x is zero.
            slope = (part * x).sum(1) / (x**2).sum()
            ends.append(part.mean(1) + slope * towards)
        jumps.append(np.abs(ends[0] - ends[1]))
    return np.concatenate(jumps)
