"""Bytes, pixels and tensors: the one place where an image is decoded, resized or encoded."""

from imaging.codec import SUFFIXES, decode, encode, read, write
from imaging.geometry import center_crop, fit, resize_short_side
from imaging.grid import grid
from imaging.kinds import ImageError
from imaging.tensors import to_pixels, to_tensor

__all__ = [
    "SUFFIXES",
    "ImageError",
    "center_crop",
    "decode",
    "encode",
    "fit",
    "grid",
    "read",
    "resize_short_side",
    "to_pixels",
    "to_tensor",
    "write",
]
