"""Luminance of RGB images, by the weights of ITU-R BT.601."""

import cv2
import numpy as np
from numpy.typing import NDArray

from imaging.codec import Images


def luminance(images: Images) -> NDArray[np.float32]:
    """Luminance (n, height, width) of RGB images (n, height, width, 3), whole steps in 0..255."""
    gray = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images]
    return np.stack(gray).astype(np.float32)
