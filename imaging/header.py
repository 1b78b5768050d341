"""What an image file says about itself, and what makes it unusable, before memory is taken for its pixels."""

import io
from typing import Any, NamedTuple

from PIL import Image, ImageCms, TiffImagePlugin, UnidentifiedImageError

from errors import UserError

MAX_PIXELS = 50_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
_ORIENTATION = 0x0112
_PNG = b"\x89PNG\r\n\x1a\n"
GRAY = frozenset({"1", "I;16", "I;16B", "L", "LA", "La"})
_NOT_CMYK = GRAY | {"P", "PA", "RGB", "RGBA", "RGBa", "RGBX"}


class ImageError(UserError):
    """The bytes are not an image that can be used; the message says why in one sentence, `reason` in a word."""

    def __init__(self, message: str, reason: str = "damaged"):
        super().__init__(message)
        self.reason = reason


class Header(NamedTuple):
    """The facts of an image file; width and height are those before it is turned upright."""

    format: str  # JPEG, PNG, WEBP, BMP, TIFF or GIF
    mode: str  # of Pillow
    width: int
    height: int
    deep: bool  # 16 bits per channel
    alpha: bool
    orientation: int  # of EXIF, 1 to 8
    profile: bytes  # ICC; empty if there is none or it does not fit the pixels
    profile_ignored: bool
    plain: bool  # a baseline JPEG of one upright RGB picture, which every decoder shows alike


def sniff(data: bytes) -> str | None:
    """The format that the first 16 bytes of a file announce, whatever its name is."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(_PNG):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    return "BMP" if data.startswith(b"BM") else None


def read_header(data: bytes) -> Header:
    """Read and judge an image's header.

    Raises:
        ImageError: with the reason `empty`, `not_an_image`, `too_large` (above 50 megapixels), `animated` (several
            pictures in one file), `unsupported` (floating point and other rare pixels) or `damaged`.
    """
    if not data:
        raise ImageError("the file is empty", "empty")
    kind = sniff(data[:16])
    if kind is None:
        raise ImageError("the file is not an image (JPEG, PNG, WebP, BMP, TIFF or GIF)", "not_an_image")
    try:
        if kind == "WEBP":
            _check_size(*_webp_size(data))  # Pillow's decoder takes memory for the canvas when it opens the file
        deep = _is_deep(kind, data)
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(*image.size)
            return _judge(kind, image, deep)
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"the image is larger than {MAX_PIXELS // 10**6} megapixels", "too_large") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"the header is damaged, or of a kind of {kind} that cannot be read") from error
    except Exception as error:  # Pillow's plugins raise whatever a damaged header leads them to
        raise ImageError(f"the header is damaged ({error})") from error


def _judge(kind: str, image: Image.Image, deep: bool) -> Header:
    # A camera's JPEG may carry a preview as a second picture; in the other formats, further pictures are animation.
    if kind != "JPEG" and getattr(image, "is_animated", False):
        raise ImageError("the file holds several pictures", "animated")
    if image.mode in {"I", "F", "LAB", "HSV"}:
        raise ImageError(f"pixels of the kind {image.mode!r} cannot be used", "unsupported")
    profile = image.info.get("icc_profile") or b""
    fits = _fits(profile, image.mode) if profile else True
    orientation = _orientation(image)
    baseline = image.format == "JPEG" and image.mode == "RGB" and "progressive" not in image.info
    return Header(
        kind, image.mode, image.width, image.height, deep,
        alpha=image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info,
        orientation=orientation, profile=profile if fits else b"", profile_ignored=not fits,
        plain=baseline and orientation == 1 and not profile,
    )  # fmt: skip


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        limit = MAX_PIXELS // 10**6
        raise ImageError(f"the image is {width}x{height}, larger than {limit} megapixels", "too_large")


def _webp_size(data: bytes) -> tuple[int, int]:
    chunk = data[12:16]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF


def _is_deep(kind: str, data: bytes) -> bool:
    """Whether channels have 16 bits: Pillow shows some of these files as 8-bit ones."""
    if kind == "PNG":
        return data[24] == 16
    if kind != "TIFF":
        return False
    big = b"+" in data[:4]
    tags = TiffImagePlugin.ImageFileDirectory_v2(data[: 16 if big else 8])
    stream = io.BytesIO(data)
    stream.seek(tags.next)
    tags.load(stream)
    if 3 in tags.get(TiffImagePlugin.SAMPLEFORMAT, ()):
        raise ImageError("pixels in floating point cannot be used", "unsupported")
    bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))
    return max(bits if isinstance(bits, tuple) else (bits,)) == 16


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # EXIF that cannot be read says nothing
        return 1
    return orientation if orientation in range(1, 9) else 1


def color_space(profile: bytes) -> str:
    """What an ICC profile describes: `RGB`, `GRAY`, `CMYK` and others; raises OSError if it cannot be read."""
    parsed: Any = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile
    return parsed.xcolor_space.strip()


def _fits(profile: bytes, mode: str) -> bool:
    """Whether a colour profile can be read and describes pixels of this mode."""
    try:
        space = color_space(profile)
    except (OSError, ImageCms.PyCMSError):
        return False
    # Gray pixels and palettes may be given an RGB profile, for they are RGB of a kind.
    return mode in {"RGB": _NOT_CMYK, "GRAY": GRAY, "CMYK": {"CMYK"}}.get(space, ())
