"""Resizing and cropping of uint8 pixels, with antialiasing on the way down."""

import cv2

from imaging.codec import Pixels


def resize_short_side(pixels: Pixels, size: int, *, nearest: bool = False) -> Pixels:
    """Scale so that the shorter side is `size` pixels; the aspect ratio stays.

    With `nearest` no colour appears that was not there: for label maps.
    """
    height, width = pixels.shape[:2]
    scale = size / min(height, width)
    if scale == 1:
        return pixels
    target = (max(size, round(width * scale)), max(size, round(height * scale)))
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    # The exact variant samples pixel centres; the other one, their upper left corners.
    return cv2.resize(pixels, target, interpolation=cv2.INTER_NEAREST_EXACT if nearest else smooth)


def center_crop(pixels: Pixels, height: int, width: int) -> Pixels:
    """Cut the central `height` x `width` pixels.

    Raises:
        ValueError: the image is smaller than that.
    """
    have_height, have_width = pixels.shape[:2]
    if have_height < height or have_width < width:
        raise ValueError(
            f"cannot crop {width}x{height} from an image of {have_width}x{have_height}"
        )
    top, left = (have_height - height) // 2, (have_width - width) // 2
    return pixels[top : top + height, left : left + width]


def fit(pixels: Pixels, size: int) -> Pixels:
    """The central square of the image, scaled to `size` x `size`."""
    return center_crop(resize_short_side(pixels, size), size, size)
