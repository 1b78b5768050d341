"""Uploaded bytes to pixels, within limits that are checked by the files' headers before anything is
decoded.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from fastapi import UploadFile

import imaging
from imaging.codec import Pixels
from imaging.header import read_header
from serving.http.problems import Problem
from serving.http.schema import Limits

Size = tuple[int, int]  # height and width
_MOST_SCANS = (
    256  # of a JPEG; real ones have some ten, and every one of them goes over the whole picture
)
_SCAN = b"\xff\xda"


class Upload(NamedTuple):
    """An image file that was sent, and how large it says it is."""

    field: str
    data: bytes
    size: Size


async def received(files: Sequence[tuple[str, UploadFile]], limits: Limits) -> list[Upload]:
    """Read uploads and the headers of the images that they hold.

    Args:
        files: with the names that problems call them.
        limits: on files and pixels.

    Raises:
        Problem: 413 if they are too many, or an image or all of them together are too large; 415 if
            one is no image.
    """
    if len(files) > limits.max_files:
        raise Problem(
            413, f"{len(files)} files were sent: at most {limits.max_files} can be in one request"
        )
    contents = [(f"field {name!r}", await file.read()) for name, file in files]
    uploads = await asyncio.to_thread(
        lambda: [_announced(field, data, limits) for field, data in contents]
    )
    _check_sum([upload.size for upload in uploads], limits)
    return uploads


async def decoded(uploads: Sequence[Upload], limits: Limits) -> list[Pixels]:
    """The pixels of uploads.

    Raises:
        Problem: 413 if there are more than the headers said, and too many; 415 if an image is
            damaged.
    """
    pictures = await asyncio.to_thread(lambda: [_decoded(upload, limits) for upload in uploads])
    _check_sum([picture.shape[:2] for picture in pictures], limits)
    return pictures


def _announced(field: str, data: bytes, limits: Limits) -> Upload:
    try:
        header = read_header(data)
    except imaging.ImageError as error:
        raise _unusable(field, error) from error
    if header.format == "JPEG" and data.count(_SCAN) > _MOST_SCANS:
        raise Problem(
            415, f"{field}: the JPEG has more than {_MOST_SCANS} scans; send it as a baseline JPEG"
        )
    turned = header.orientation >= 5
    size = (header.width, header.height) if turned else (header.height, header.width)
    _check_size(size, field, limits)
    return Upload(field, data, size)


def _decoded(upload: Upload, limits: Limits) -> Pixels:
    try:
        pixels = imaging.decode(upload.data)
    except imaging.ImageError as error:
        raise _unusable(upload.field, error) from error
    _check_size(pixels.shape[:2], upload.field, limits)
    return pixels


def _unusable(field: str, error: imaging.ImageError) -> Problem:
    if error.reason == "too_large":
        return Problem(413, f"{field}: {error}; scale it down")
    return Problem(415, f"{field}: {error}; send a PNG, JPEG or WebP file")


def _check_size(size: Size, field: str, limits: Limits) -> None:
    height, width = size
    if max(size) > limits.max_side or width * height > limits.max_pixels:
        raise Problem(
            413,
            f"{field}: the image is {width}x{height}; scale it to at most {limits.max_side} "
            f"pixels a side and {limits.max_pixels / 1e6:g} megapixels",
        )


def _check_sum(sizes: Sequence[Size], limits: Limits) -> None:
    pixels = sum(height * width for height, width in sizes)
    if pixels > limits.max_sent_pixels:
        raise Problem(
            413,
            f"the images have {pixels / 1e6:.1f} megapixels together and at most "
            f"{limits.max_sent_pixels / 1e6:g} can be in one request: send fewer, or scale them "
            "down",
        )
