"""What an image file says about itself, and what makes it unusable, before memory is taken for its
pixels.
"""

import io
from typing import Any, NamedTuple

from PIL import Image, ImageCms, TiffImagePlugin, UnidentifiedImageError

from imaging.kinds import FORMATS, HEAD_BYTES, Box, ImageError, boxes, refuse_unreadable, sniff

MAX_PIXELS = 50_000_000
_MAX_PIXELS = {"JPEG2000": 36_000_000}  # its decoder takes 18 bytes for each
_ORIENTATION = 0x0112
# TIFF: what a picture in a file is, and that it is a small copy of another
_SUBFILE, _REDUCED = (
    254,
    1,
)
_DNG = 50706
_HIGH_RANGE = {
    16: "PQ",
    18: "HLG",
}  # transfer functions, by their numbers in nclx colour descriptions
GRAY = frozenset({"1", "I;16", "I;16B", "L", "LA", "La"})
_NOT_CMYK = GRAY | {"P", "PA", "RGB", "RGBA", "RGBa", "RGBX"}


class Header(NamedTuple):
    """The facts of an image file; width and height are those before it is turned upright."""

    format: str  # one of imaging.kinds.FORMATS
    mode: str  # of Pillow
    width: int
    height: int
    deep: bool  # 16 bits per channel
    alpha: bool
    orientation: int  # of EXIF, 1 to 8
    profile: bytes  # ICC; empty if there is none or it does not fit the pixels
    profile_ignored: bool
    plain: bool  # a baseline JPEG of one upright RGB picture, which every decoder shows alike


def read_header(data: bytes) -> Header:
    """Read and judge an image's header.

    Raises:
        ImageError: with the reason `empty`, `not_an_image`, `too_large` (above 50 megapixels),
            `animated` (several pictures in one file), `unsupported` (floating point and other rare
            pixels), `damaged`, or that of a kind of picture that cannot be read, such as `heic`.
    """
    if not data:
        raise ImageError("the file is empty", "empty")
    kind = sniff(data[:HEAD_BYTES])
    refuse_unreadable(kind)
    if kind is None:
        raise ImageError(
            "the file is not an image (JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or JPEG 2000)",
            "not_an_image",
        )
    try:
        if kind == "WEBP":
            # Pillow's decoder takes memory for the canvas when it opens the file
            _check_size(*_webp_size(data))
        deep = _is_deep(kind, data)
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(*image.size, _MAX_PIXELS.get(kind, MAX_PIXELS))
            if kind == "AVIF":
                _refuse_high_range(data)
            profile = (
                _jp2_profile(data) if kind == "JPEG2000" else image.info.get("icc_profile") or b""
            )
            return _judge(kind, image, deep, profile)
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(
            f"the image is larger than {MAX_PIXELS // 10**6} megapixels", "too_large"
        ) from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"the header is damaged, or of a kind of {kind} that cannot be read"
        ) from error
    except Exception as error:  # Pillow's plugins raise whatever a damaged header leads them to
        raise ImageError(f"the header is damaged ({error})") from error


def _judge(kind: str, image: Image.Image, deep: bool, profile: bytes) -> Header:
    # A camera's JPEG may carry a preview as a second picture; in the other formats, further
    # pictures are animation.
    if kind != "JPEG" and getattr(image, "is_animated", False):
        raise ImageError("the file holds several pictures", "animated")
    if image.mode in {"I", "F", "LAB", "HSV"}:
        raise ImageError(f"pixels of the kind {image.mode!r} cannot be used", "unsupported")
    fits = _fits(profile, image.mode) if profile else True
    orientation = _orientation(image)
    baseline = image.format == "JPEG" and image.mode == "RGB" and "progressive" not in image.info
    return Header(
        kind,
        image.mode,
        image.width,
        image.height,
        deep or (kind == "JPEG2000" and image.mode == "I;16"),
        alpha=image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info,
        orientation=orientation,
        profile=profile if fits else b"",
        profile_ignored=not fits,
        plain=baseline and orientation == 1 and not profile,
    )


def _check_size(width: int, height: int, limit: int = MAX_PIXELS) -> None:
    if width * height > limit:
        raise ImageError(
            f"the image is {width}x{height}, larger than {limit // 10**6} megapixels", "too_large"
        )


def _webp_size(data: bytes) -> tuple[int, int]:
    chunk = data[12:16]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(
        data[28:30], "little"
    ) & 0x3FFF


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
    if _DNG in tags or tags.get(_SUBFILE, 0) & _REDUCED:  # Pillow would show the preview
        refuse_unreadable("RAW")
    if 3 in tags.get(TiffImagePlugin.SAMPLEFORMAT, ()):
        raise ImageError("pixels in floating point cannot be used", "unsupported")
    bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))
    return max(bits if isinstance(bits, tuple) else (bits,)) == 16


def _refuse_high_range(data: bytes) -> None:
    """Raise an ImageError if an AVIF file's numbers mean more light than a screen's white: decoders
    show them grey.
    """
    for name, start, stop in _inside(data, b"meta", b"iprp", b"ipco"):
        if name == b"colr" and data[start : start + 4] == b"nclx" and start + 8 <= stop:
            transfer = int.from_bytes(data[start + 6 : start + 8], "big")
            if transfer in _HIGH_RANGE:
                raise ImageError(
                    f"pixels of high dynamic range ({_HIGH_RANGE[transfer]}) cannot be used",
                    "unsupported",
                )


def _jp2_profile(data: bytes) -> bytes:
    """The ICC profile of a JPEG 2000 file, which Pillow leaves out; empty if there is none."""
    for name, start, stop in _inside(data, b"jp2h"):
        # an ICC profile, restricted or any
        if name == b"colr" and data[start : start + 1] in (
            b"\2",
            b"\3",
        ):
            return data[start + 3 : stop]
    return b""


def _inside(data: bytes, *path: bytes) -> list[Box]:
    """The boxes in the box that a path leads to."""
    found = list(boxes(data))
    for step in path:
        skip = 4 if step == b"meta" else 0  # version and flags come first
        found = [
            box
            for outer in found
            if outer.name == step
            for box in boxes(data, outer.start + skip, outer.stop)
        ]
    return found


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # EXIF that cannot be read says nothing
        return 1
    return orientation if orientation in range(1, 9) else 1


def color_space(profile: bytes) -> str:
    """What an ICC profile describes: `RGB`, `GRAY`, `CMYK` and others; raises OSError if it cannot
    be read.
    """
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
