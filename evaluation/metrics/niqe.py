"""NIQE (Mittal, Soundararajan and Bovik, 2013): how natural an image looks, without any reference.

Blocks of an image are described by 36 figures of its locally normalised luminance, at two scales.
An image's score is the distance of their Gaussian to a model's, which was fitted to photographs:
the authors' from a file, or one fitted to the data at hand.
"""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.ndimage import correlate
from scipy.special import gamma

from errors import UserError, first_line
from evaluation.metrics.luminance import luminance
from imaging.codec import Images

Values = NDArray[np.float64]
STANDARD_BLOCK = 96  # pixels; what the authors' model was fitted with
WINDOW, SIGMA = 7, 7 / 6  # pixels, of local means and deviations
SHARP = 0.75  # of an image's sharpest block: below, blocks say nothing of quality
FIGURES = 36
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))  # rows down, columns to the right


class NiqeModel(NamedTuple):
    """Mean and covariance of natural blocks' figures, and the blocks' side."""

    mean: Values  # (36,)
    covariance: Values  # (36, 36)
    block: int  # pixels


def read_model(path: Path, block: int = STANDARD_BLOCK) -> NiqeModel:
    """The authors' model from an .npz file with `mu_pris_param` and `cov_pris_param`.

    Raises:
        UserError: the file is missing or holds something else.
    """
    try:
        with np.load(path) as found:
            mean, covariance = (found[f"{name}_pris_param"] for name in ("mu", "cov"))
            return NiqeModel(mean.reshape(FIGURES), covariance.reshape(FIGURES, FIGURES), block)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} holds no parameters of NIQE ({first_line(error)}): give an .npz file with "
            "mu_pris_param and cov_pris_param"
        ) from error


def fit_model(images: Images, block: int) -> NiqeModel:
    """A model of natural images like these, from the sharp blocks of each.

    Scores of models of different data or blocks do not compare.

    Args:
        images: uint8 (n, h, w, 3), real ones.
        block: side of the blocks in pixels, even, at most h and w; the authors' are 96.

    Raises:
        UserError: the images are smaller than a block, or have too few sharp blocks.
    """
    rows = []
    for gray in _grays(images, block):
        figures, sharpness = _figures(gray, block)
        rows.append(figures[sharpness > SHARP * sharpness.max()])
    table = np.concatenate(rows)
    table = table[np.isfinite(table).all(1)]
    if len(table) < 2:
        raise UserError(
            f"NIQE finds {len(table)} sharp blocks of {block} px in these images and needs at "
            "least 2 to fit a model: give more images"
        )
    return NiqeModel(table.mean(0), np.cov(table, rowvar=False), block)


def niqe(images: Images, model: NiqeModel) -> Values:
    """Distance of each image's blocks to the model's: sqrt(d' ((C + C_image) / 2)^-1 d).

    Luminance is the 8-bit one of ITU-R BT.601, as in the authors' program; others who take another
    luminance or another resizing get other scores.

    Args:
        images: uint8 (n, h, w, 3), h and w at least `model.block`; what is left over to the right
            and below whole blocks does not count.
        model: of natural images.

    Returns:
        (n,), no unit, at least 0, less is more natural; nan for an image without any structure.

    Raises:
        UserError: the images are smaller than a block.
    """
    return np.array([_score(gray, model) for gray in _grays(images, model.block)])


def _grays(images: Images, block: int) -> NDArray[np.float32]:
    """Luminance (n, h, w), cut to whole blocks."""
    height, width = images.shape[1:3]
    if block < 4 or block % 2:
        raise UserError(f"NIQE's blocks of {block} px cannot be halved: give an even number from 4")
    if min(height, width) < block:
        raise UserError(
            f"NIQE with blocks of {block} px needs images of at least as many, got "
            f"{width}x{height}: enlarge them or fit a model with smaller blocks"
        )
    return luminance(images)[:, : height // block * block, : width // block * block]


def _score(gray: NDArray[np.float32], model: NiqeModel) -> float:
    figures, _ = _figures(gray, model.block)
    whole = figures[np.isfinite(figures).all(1)]  # a flat block has no shape
    if not len(whole):
        return float("nan")
    own = np.cov(whole, rowvar=False) if len(whole) > 1 else np.zeros_like(model.covariance)
    difference = model.mean - whole.mean(0)
    inverse = np.linalg.pinv((model.covariance + own) / 2)
    return float(np.sqrt(difference @ inverse @ difference))


def _figures(gray: NDArray[np.float32], block: int) -> tuple[Values, Values]:
    """Figures (blocks, 36) and sharpness (blocks,), the mean local deviation at the full scale."""
    large = gray.astype(np.float64)
    normalised, deviation = _normalised(large)
    smaller, _ = _normalised(_halved(large))
    figures = [_shapes(_blocks(normalised, block)), _shapes(_blocks(smaller, block // 2))]
    return np.concatenate(figures, axis=1), _blocks(deviation, block).mean((1, 2))


def _normalised(gray: Values) -> tuple[Values, Values]:
    """(I - mean) / (deviation + 1) under a Gaussian window, and the deviation."""
    mean = _windowed(gray)
    deviation = np.sqrt(np.abs(_windowed(gray**2) - mean**2))
    return (gray - mean) / (deviation + 1), deviation


def _windowed(gray: Values) -> Values:
    """Means under the window. In flat sky the algorithm counts on which side of 0 rounding errors
    lie: summed in two passes, which is faster, they would differ from those of other programs.
    """
    reach = np.arange(WINDOW) - WINDOW // 2
    line = reach**2 / (2 * SIGMA**2)
    weights = np.exp(-(line[:, None] + line))
    return correlate(gray, weights / weights.sum(), mode="nearest")


def _halved(gray: Values) -> Values:
    """Half the size by bicubic interpolation with antialiasing (Keys, 1981, widened by two)."""
    x = (np.arange(8) - 3.5) / 2  # distances of eight pixels from the middle of two, in new pixels
    near, far = 1.5 * np.abs(x) ** 3 - 2.5 * x**2 + 1, -0.5 * np.abs(x) ** 3 + 2.5 * x**2
    weights = np.where(np.abs(x) <= 1, near, far - 4 * np.abs(x) + 2) / 2
    padded = np.pad(gray, 3, mode="symmetric")
    rows = sliding_window_view(padded, 8, axis=0)[::2] @ weights
    return sliding_window_view(rows, 8, axis=1)[:, ::2] @ weights


def _blocks(field: Values, block: int) -> Values:
    """(rows * columns, block, block), row by row."""
    height, width = field.shape
    parted = field.reshape(height // block, block, width // block, block)
    return parted.swapaxes(1, 2).reshape(-1, block, block)


def _shapes(blocks: Values) -> Values:
    """Eighteen figures of each block: its values' Gaussian, and those of four products of
    neighbours.
    """
    exponent, left, right = _asymmetric_gaussian(blocks)
    columns = [exponent, (left + right) / 2]
    for shift in NEIGHBOURS:
        exponent, left, right = _asymmetric_gaussian(blocks * np.roll(blocks, shift, axis=(1, 2)))
        mean = (right - left) * gamma(2 / exponent) / gamma(1 / exponent)
        columns += [exponent, mean, left, right]
    return np.stack(columns, axis=1)


def _asymmetric_gaussian(blocks: Values) -> tuple[Values, Values, Values]:
    """Exponent and the two scales of each block's values by their moments (Lasmar et al., 2009);
    nan for blocks without values on both sides of 0.
    """
    values = blocks.reshape(len(blocks), -1)
    squares = values**2
    with np.errstate(invalid="ignore", divide="ignore"):
        left, right = (
            np.sqrt((squares * side).sum(1) / side.sum(1)) for side in (values < 0, values > 0)
        )
        ratio, moment = left / right, np.abs(values).mean(1) ** 2 / squares.mean(1)
        moment = moment * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    found = np.isfinite(moment)
    tried, ratios = _exponents()
    nearest = np.abs(ratios - np.where(found, moment, 0)[:, None]).argmin(1)
    exponent = np.where(found, tried[nearest], np.nan)
    scale = np.sqrt(gamma(1 / exponent) / gamma(3 / exponent))
    return exponent, left * scale, right * scale


@cache
def _exponents() -> tuple[Values, Values]:
    """Exponents of generalised Gaussians that are tried, and E[|x|]^2 / E[x^2] of each."""
    tried = np.arange(0.2, 10.001, 0.001)
    return tried, gamma(2 / tried) ** 2 / (gamma(1 / tried) * gamma(3 / tried))
