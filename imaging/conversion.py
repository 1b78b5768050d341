"""Pixels of any kind to plain RGB: alpha, profiles, CMYK, palettes and 16 bits, which OpenCV drops
or ignores.
"""

import io

import cv2
import numpy as np
from PIL import Image, ImageCms

from imaging.colors import Color
from imaging.header import Header, color_space, read_header
from imaging.kinds import FORMATS, ImageError

_ROWS = 256  # converted at once, so that a large image never lies in memory in several depths
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def shown_by_opencv(data: bytes) -> bool:
    """Whether OpenCV alone shows a file as it is meant, by a glance at its header: 1 % of the time
    of a decode.
    """
    if data.startswith(b"\xff\xd8"):
        return _is_simple_jpeg(data)
    return data.startswith(b"\x89PNG") and _is_simple_png(data)


def to_rgb(data: bytes, background: Color) -> np.ndarray:
    """Decode a file to uint8 RGB pixels (height, width, 3): upright, in sRGB, opaque on
    `background`.

    Raises:
        ImageError: the file is not one picture that can be used, or is cut short.
    """
    header = read_header(data)
    try:
        # Nested, so that no step's result outlives the next: 50 megapixels are 200 MB in each of
        # them.
        return _flatten(*_colors(_upright(data, header), header), background)
    except ImageError:
        raise
    except Exception as error:  # Pillow's plugins raise whatever damaged bytes lead them to
        raise ImageError(f"the image is damaged or cut short ({error})") from error


def _is_simple_jpeg(data: bytes) -> bool:
    position = 2
    while position + 10 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xE2 and data[position + 4 : position + 15] == b"ICC_PROFILE":
            return False
        # the frame: nothing about colour follows
        if 0xC0 <= marker <= 0xCF and marker not in (
            0xC4,
            0xC8,
            0xCC,
        ):
            return data[position + 9] != 4
        fill = marker == 0xFF
        position += 1 if fill else 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return True  # damaged: the decoder will say so


def _is_simple_png(data: bytes) -> bool:
    if len(data) < 33 or data[24] == 16 or data[25] in (4, 6):  # depth; colour with alpha
        return False
    position = 33
    while position + 8 <= len(data) and (name := data[position + 4 : position + 8]) != b"IDAT":
        if name in (b"iCCP", b"tRNS", b"eXIf", b"acTL"):
            return False
        position += 12 + int.from_bytes(data[position : position + 4], "big")
    return True


def _load(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        image.load()
        return image


def _upright(data: bytes, header: Header) -> Image.Image:
    image = _load(data)
    if header.deep:
        # What Pillow shows of PNG and TIFF was read to find damage: its 8 bits may be the wrong
        # ones.
        image = (
            Image.fromarray(_scaled(np.array(image)))
            if header.format == "JPEG2000"
            else _load_deep(data)
        )
    return (
        image.transpose(_UPRIGHT[header.orientation]) if header.orientation in _UPRIGHT else image
    )


def _load_deep(data: bytes) -> Image.Image:
    """A PNG or TIFF file of 16 bits."""
    pixels = _scaled(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(
            pixels, cv2.COLOR_BGR2RGB if pixels.shape[-1] == 3 else cv2.COLOR_BGRA2RGBA
        )
    return Image.fromarray(pixels)


def _scaled(deep: np.ndarray | None) -> np.ndarray:
    """Scale 16 bits to 8: the full range stays the full range, unlike where Pillow clips."""
    if deep is None or deep.dtype != np.uint16:
        raise ImageError("16-bit pixels of this kind cannot be used", "unsupported")
    scaled = np.empty(deep.shape, np.uint8)
    for top in range(0, len(deep), _ROWS):
        scaled[top : top + _ROWS] = (deep[top : top + _ROWS].astype(np.uint32) + 128) // 257
    return scaled


def _colors(image: Image.Image, header: Header) -> tuple[Image.Image, Image.Image | None]:
    """The image in sRGB, and its alpha channel if it has one."""
    alpha = None
    if image.mode in {"La", "RGBa"}:
        # alpha had been multiplied in
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    if header.alpha:
        image = _as(image, "RGBA")
        alpha = image.getchannel("A")
        image = image.convert("RGB")
    if not header.profile:
        return _as(image, "RGB"), alpha
    image = _as(image, {"GRAY": "L", "CMYK": "CMYK"}.get(color_space(header.profile), "RGB"))
    profile, srgb = (
        ImageCms.ImageCmsProfile(io.BytesIO(header.profile)),
        ImageCms.createProfile("sRGB"),
    )
    converted = ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB")
    assert converted is not None
    return converted, alpha


def _as(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)


def _flatten(image: Image.Image, alpha: Image.Image | None, background: Color) -> np.ndarray:
    if alpha is None:
        return np.array(image)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, _ROWS):
        rows = (0, top, image.width, min(top + _ROWS, image.height))
        opacity = np.asarray(alpha.crop(rows), np.uint16)[..., None]
        colors = np.asarray(image.crop(rows), np.uint16)
        # at most 255 * 255
        mixed = colors * opacity + np.array(background, np.uint16) * (255 - opacity)
        pixels[top : top + _ROWS] = (mixed + 127) // 255
    return pixels
