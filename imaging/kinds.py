"""What the first bytes of a file announce, whatever its name is: pictures that can be read, and
those that cannot.
"""

from collections.abc import Iterator
from typing import NamedTuple

from PIL import features

from errors import UserError

HEAD_BYTES = 64  # of a file, that `sniff` wants to see
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000")
_PILLOW_MAY_LACK = {
    "AVIF": "avif",
    "JPEG2000": "jpg_2000",
}  # formats, and what Pillow calls its part for them
_JPEG2000 = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
_JPEG_XL = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
_RAW = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0")  # Fujifilm, Olympus, Panasonic
# Brands of ISO media files; the first two say that others, which follow, tell what lies inside.
_CONTAINERS = frozenset({b"mif1", b"msf1"})
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys(
        (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"), "HEIC"
    ),
    b"crx ": "RAW",
}


class ImageError(UserError):
    """The bytes are not an image that can be used; the message says why in one sentence, `reason`
    in a word.
    """

    def __init__(self, message: str, reason: str = "damaged"):
        super().__init__(message)
        self.reason = reason


class Box(NamedTuple):
    """A part of an ISO media file or of a JPEG 2000 file: bytes start..stop-1 of it are its
    content.
    """

    name: bytes
    start: int
    stop: int


def sniff(data: bytes) -> str | None:
    """The kind of picture that a file's first HEAD_BYTES announce: one of FORMATS, or one that
    cannot be read.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "RAW" if data[8:10] == b"CR" else "TIFF"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(_JPEG2000):
        return "JPEG2000"
    return _rarer(data)


def refuse_unreadable(kind: str | None) -> None:
    """Raise an ImageError that names a kind of picture which nothing here can decode, and the
    remedy.
    """
    if kind in _UNREADABLE:
        name, reason = _UNREADABLE[kind]
        raise ImageError(
            f"the file is {name}, which cannot be decoded here: convert it to JPEG", reason
        )
    if kind in _PILLOW_MAY_LACK and not features.check(_PILLOW_MAY_LACK[kind]):
        raise ImageError(
            f"this installation of Pillow cannot decode {kind}: convert the file to JPEG",
            kind.lower(),
        )


_UNREADABLE = {
    "HEIC": ("a HEIC picture", "heic"),
    "HEIF": ("a HEIF picture of a rare kind", "heif"),
    "JPEGXL": ("a JPEG XL picture", "jpeg_xl"),
    "RAW": ("a camera's raw file", "camera_raw"),
    "PSD": ("a Photoshop document", "photoshop"),
}


def boxes(data: bytes, start: int = 0, stop: int | None = None) -> Iterator[Box]:
    """The boxes that lie one after the other in a part of a file, up to one that is damaged."""
    stop = len(data) if stop is None else stop
    while start + 8 <= stop:
        size, begin = int.from_bytes(data[start : start + 4], "big"), start + 8
        if size == 1:  # the length follows in 8 bytes
            size, begin = int.from_bytes(data[begin : begin + 8], "big"), begin + 8
        end = start + size if size else stop
        if not begin <= end <= stop:
            return
        yield Box(data[start + 4 : start + 8], begin, end)
        start = end


def _rarer(data: bytes) -> str | None:
    if data[4:8] == b"ftyp":
        return _of_brands(data)
    if data.startswith(_JPEG_XL):
        return "JPEGXL"
    if data.startswith(_RAW):
        return "RAW"
    if data.startswith(b"8BPS"):
        return "PSD"
    return "BMP" if data.startswith(b"BM") else None


def _of_brands(data: bytes) -> str | None:
    """The kind of an ISO media file; None for films."""
    first = data[8:12]
    if first not in _CONTAINERS:
        return _BRANDS.get(first)
    end = min(int.from_bytes(data[:4], "big"), len(data))
    others = [data[place : place + 4] for place in range(16, end - 3, 4)]
    return next((_BRANDS[brand] for brand in others if brand in _BRANDS), "HEIF")
