"""What pictures look like from near, over real ones: sharpness and specks."""

import cv2
import numpy as np
from numpy.typing import NDArray

from errors import UserError
from evaluation.metrics.similarity import luminance_gradient
from imaging.codec import Images

Values = NDArray[np.float64]
NEIGHBOURS = 3  # pixels along each side of the median's window


def sharpness(images: Images, real: float) -> Values:
    """Mean luminance gradient of each image over that of real pictures.

    Blur lowers it, noise raises it: read it beside KID-Lite0. Gradients depend on the scale, so
    both sides are of one size. The mean over images is the ratio of the means.

    Args:
        images: uint8 (n, h, w, 3), h and w at least 2.
        real: mean of `gradients` of real pictures.

    Returns:
        (n,), no unit, in [0, infinity); 1 is as sharp as real pictures, 0 is flat.

    Raises:
        UserError: the real pictures are flat.
    """
    return _over(gradients(images), real, "sharpness", "are flat")


def specks(images: Images, real: float) -> Values:
    """How much chroma leaves the median of its neighbours, over that of real pictures.

    A median keeps edges and drops lone pixels: what it takes away are specks of other colours,
    which discriminators let through. The log tells of them first (2026-11-27), with figures of
    another scale. The mean over images is the ratio of the means.

    Args:
        images: uint8 (n, h, w, 3).
        real: mean of `speck_energy` of real pictures.

    Returns:
        (n,), no unit, in [0, infinity); 1 is as many as in real pictures, 0 is none.

    Raises:
        UserError: the real pictures have none, as gray ones have.
    """
    return _over(speck_energy(images), real, "specks", "have no lone pixels of other colours")


def gradients(images: Images) -> Values:
    """Mean magnitude of the luminance gradient of each image.

    Args:
        images: uint8 (n, h, w, 3), h and w at least 2.

    Returns:
        (n,) in steps of luminance (of 255) per pixel, in [0, 255 sqrt(2)].
    """
    return luminance_gradient(images).mean((1, 2), dtype=np.float64)


def speck_energy(images: Images) -> Values:
    """Mean squared distance of each pixel's chroma (Cb, Cr) from the median around it (3 x 3).

    Args:
        images: uint8 (n, h, w, 3).

    Returns:
        (n,) in squared steps of chroma (of 255), in [0, 2 x 255^2].
    """
    return np.array([_speck_energy(image) for image in images])


def _speck_energy(image: NDArray[np.uint8]) -> float:
    chroma = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)[..., 1:]  # (h, w, 2), BT.601
    # The image's edge goes on beyond itself; each channel has a median of its own.
    around = cv2.medianBlur(np.ascontiguousarray(chroma), NEIGHBOURS)
    lone = chroma.astype(np.float64) - around
    return float(np.sum(lone**2, axis=2).mean())


def _over(values: Values, real: float, measure: str, trouble: str) -> Values:
    if real <= 0:
        raise UserError(f"the real pictures {trouble}: leave {measure} out, which compares with it")
    return values / real
