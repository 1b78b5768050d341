"""Distances between uint8 RGB images (n, height, width, 3), and colour transfer, a control."""

import cv2
import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]


def psnr(images: Images, truths: Images) -> NDArray[np.float64]:
    """Peak signal-to-noise ratio of each image to its truth in dB; infinite for equal ones."""
    # (n,) mean squared errors, of 255 steps
    error = np.mean((images.astype(np.float64) - truths) ** 2, axis=(1, 2, 3))
    with np.errstate(divide="ignore"):
        return 10 * np.log10(255**2 / error)


def luminance_gradient(images: Images) -> NDArray[np.float32]:
    """Magnitude of the luminance gradient of each image (n, height, width)."""
    gray = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images]).astype(
        np.float32
    )
    # Central differences, one-sided at the edges: (n, height, width) each.
    rows, columns = np.gradient(gray, axis=(1, 2))
    return np.hypot(rows, columns)


def gradient_correlation(images: Images, truths: Images) -> NDArray[np.float64]:
    """Pearson correlation of luminance-gradient magnitudes, per image: are edges in place?"""
    # (n, height * width)
    a, b = (luminance_gradient(x).reshape(len(x), -1) for x in (images, truths))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    # A flat image has no gradient to correlate: 0 rather than a division by zero.
    norm = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.sum(a * b, axis=1, dtype=np.float64) / np.maximum(norm, 1e-12)


def reinhard(images: Images, exemplars: Images) -> Images:
    """Give images the mean and deviation of exemplars' Lab channels (Reinhard et al., 2001)."""
    return np.stack(
        [_transfer(image, exemplar) for image, exemplar in zip(images, exemplars, strict=True)]
    )


def _transfer(image: NDArray[np.uint8], exemplar: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # float32 in [0, 1], for which OpenCV's L runs from 0 to 100 and a, b are not rounded
    source, target = (
        cv2.cvtColor(x.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) for x in (image, exemplar)
    )
    scale = target.std(axis=(0, 1)) / np.maximum(source.std(axis=(0, 1)), 1e-6)
    moved = (source - source.mean(axis=(0, 1))) * scale + target.mean(axis=(0, 1))
    rgb = cv2.cvtColor(moved.astype(np.float32), cv2.COLOR_LAB2RGB)
    return np.clip(np.rint(rgb * 255), 0, 255).astype(np.uint8)
