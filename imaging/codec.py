"""Encoded bytes to uint8 RGB pixels and back.

Building, training, evaluation and serving share this decoder: OpenCV and Pillow disagree on EXIF
orientation, 16-bit depth and truncated files, so two decoders would mean two data sets. OpenCV
decodes what it shows as it is meant, `imaging.conversion` the rest.
"""

import os
from pathlib import Path

import numpy as np

from errors import UserError
from imaging.header import MAX_PIXELS
from imaging.kinds import ImageError

# Read once by OpenCV when it is loaded: a header that promises more is refused before memory is
# taken.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))

import cv2

from imaging.colors import Color
from imaging.conversion import shown_by_opencv, to_rgb

Pixels = np.ndarray  # uint8, (height, width, 3), RGB
Images = np.ndarray  # uint8, (n, height, width, 3), RGB

_READABLE = {
    ".jpg",
    ".jpeg",
    ".png",
    ".webp",
    ".bmp",
    ".tif",
    ".tiff",
    ".gif",
    ".avif",
    ".jp2",
    ".j2k",
    ".jpx",
}
_NAMED = {".heic", ".heif", ".hif", ".jxl", ".dng", ".psd"}  # that nothing here can read
SUFFIXES = frozenset(_READABLE | _NAMED)  # of files that are meant as pictures
WHITE: Color = (255, 255, 255)
_FORMATS = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}


def decode(data: bytes, background: Color = WHITE) -> Pixels:
    """Decode an image file's bytes to uint8 RGB pixels (height, width, 3).

    EXIF orientation is applied, alpha flattened on `background`, colour profiles and CMYK become
    sRGB, and 16 bits are scaled to 8.

    Raises:
        ImageError: the bytes are empty, cut short, too large (above 50 megapixels), several
            pictures in one, of a kind that cannot be read, such as HEIC, or no image at all;
            `reason` says which.
    """
    if not data:
        raise ImageError("the file is empty", "empty")
    if not shown_by_opencv(data):
        return to_rgb(data, background)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise ImageError(
            "the image is larger than 50 megapixels or its header is damaged", "too_large"
        ) from error
    if pixels is None:
        raise ImageError("the file is not an image or is cut short")
    return pixels


def encode(pixels: Pixels, image_format: str = "png", quality: int = 95) -> bytes:
    """Encode uint8 RGB pixels as `png`, `jpeg` (4:4:4) or `webp`."""
    if image_format not in _FORMATS:
        raise ValueError(
            f"unknown image format {image_format!r}: choose one of {', '.join(_FORMATS)}"
        )
    options = {
        "png": [cv2.IMWRITE_PNG_COMPRESSION, 1],
        "jpeg": [
            cv2.IMWRITE_JPEG_QUALITY,
            quality,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        ],
        "webp": [cv2.IMWRITE_WEBP_QUALITY, quality],
    }[image_format]
    ok, buffer = cv2.imencode(
        _FORMATS[image_format], cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options
    )
    assert ok
    return buffer.tobytes()


def read(path: Path) -> Pixels:
    """Decode the image file at `path`; every error names the file."""
    try:
        return decode(Path(path).read_bytes())
    except ImageError as error:
        raise ImageError(f"{path}: {error}", error.reason) from error


def write(path: Path, pixels: Pixels) -> None:
    """Encode `pixels` by the suffix of `path` (.png, .jpg or .webp) and write them; folders are
    made.
    """
    formats = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
    if path.suffix.lower() not in formats:
        raise UserError(f"{path}: cannot write {path.suffix!r} files: use .png, .jpg or .webp")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(pixels, formats[path.suffix.lower()]))
