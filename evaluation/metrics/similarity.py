"""How near images come to their truths, pixel by pixel: PSNR, SSIM, edges."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from errors import UserError
from evaluation.metrics.luminance import luminance
from imaging.codec import Images

Values = NDArray[np.float64]
PEAK = 255.0
CEILING = 100.0  # dB
SIGMA, REACH = 1.5, 5  # pixels, of SSIM's Gaussian window
SSIM_WINDOW = 2 * REACH + 1  # pixels along a side
STABILISER = ((0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2)  # C1 and C2 of the article


def psnr(images: Images, truths: Images) -> Values:
    """Peak signal-to-noise ratio, 10 log10(255^2 / mean squared error).

    Args:
        images: uint8 (n, h, w, 3).
        truths: uint8 (n, h, w, 3), one of each image.

    Returns:
        (n,) in dB, more is nearer; identical images give infinity.
    """
    error = np.mean((images.astype(np.float64) - truths) ** 2, axis=(1, 2, 3))
    with np.errstate(divide="ignore"):
        return 10 * np.log10(PEAK**2 / error)


def finite_psnr(images: Images, truths: Images) -> Values:
    """`psnr`, at most 100 dB: what an identical image counts, so that means stay finite."""
    return np.minimum(psnr(images, truths), CEILING)


def ssim(images: Images, truths: Images) -> Values:
    """Structural similarity (Wang, Bovik, Sheikh and Simoncelli, 2004).

    Means, variances and covariance under a Gaussian window of 1.5 px (11 x 11), each channel for
    itself; the mean is over channels and all places where the window lies inside the image.

    Args:
        images: uint8 (n, h, w, 3), h and w at least 11.
        truths: uint8 (n, h, w, 3), one of each image.

    Returns:
        (n,) in [-1, 1]; 1 for identical images.

    Raises:
        UserError: the images are smaller than the window.
    """
    if min(images.shape[1:3]) < SSIM_WINDOW:
        raise UserError(
            f"SSIM needs images of at least {SSIM_WINDOW} px, got "
            f"{images.shape[2]}x{images.shape[1]}: enlarge them or leave it out"
        )
    return np.array([_ssim(a, b) for a, b in zip(images, truths, strict=True)])


def _ssim(image: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    a, b = image.astype(np.float64), truth.astype(np.float64)
    mean_a, mean_b = _windowed(a), _windowed(b)
    variance = _windowed(a * a) - mean_a**2 + _windowed(b * b) - mean_b**2
    covariance = _windowed(a * b) - mean_a * mean_b
    level, contrast = STABILISER
    luminances = (2 * mean_a * mean_b + level) / (mean_a**2 + mean_b**2 + level)
    structures = (2 * covariance + contrast) / (variance + contrast)
    return float((luminances * structures).mean())


def _windowed(channels: Values) -> Values:
    """Means under the window, (h - 10, w - 10, 3), where it lies inside."""
    means = gaussian_filter(channels, SIGMA, radius=REACH, axes=(0, 1))
    return means[REACH:-REACH, REACH:-REACH]


def luminance_gradient(images: Images) -> NDArray[np.float32]:
    """Magnitude of the luminance gradient of each image (n, height, width)."""
    # Central differences, one-sided at the edges: (n, h, w) each.
    rows, columns = np.gradient(luminance(images), axis=(1, 2))
    return np.hypot(rows, columns)


def gradient_correlation(images: Images, truths: Images) -> Values:
    """Pearson correlation of luminance-gradient magnitudes, per image: are edges in place?

    Args:
        images: uint8 (n, h, w, 3).
        truths: uint8 (n, h, w, 3), one of each image.

    Returns:
        (n,) in [-1, 1]; 0 where an image has no edges.
    """
    # (n, h * w)
    a, b = (luminance_gradient(x).reshape(len(x), -1) for x in (images, truths))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    # A flat image has no gradient to correlate: 0 rather than a division by zero.
    norm = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.sum(a * b, axis=1, dtype=np.float64) / np.maximum(norm, 1e-12)
