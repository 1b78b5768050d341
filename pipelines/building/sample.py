"""One file to what is stored of it: checked, turned into plain RGB, scaled; or the reason why not.

The words for what was done to an image: `copied` (byte for byte) or, if it was encoded anew, any of
`turned` (EXIF), `flattened` (alpha), `profile` (ICC to sRGB), `profile_ignored` (it is damaged or
does not fit), `cmyk`, `deep` (16 bits to 8), `palette`, `gray`, `half` (cut from a side-by-side
picture), `shrunk`, `enlarged`, `encoded`.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

import imaging
from imaging.codec import Pixels
from imaging.header import GRAY, Header
from imaging.strict import decode_strictly
from pipelines.building.inputs import MAX_BYTES
from pipelines.building.plan import Entry, Half, ShardJob
from pipelines.schema import BuildOptions


class Sample(NamedTuple):
    """What is stored of a file."""

    data: bytes  # JPEG, or PNG for label maps
    pixels: Pixels  # those of `data`, before compression
    source_side: int  # the source's short side in pixels
    changes: tuple[str, ...]


class Unusable(Exception):  # noqa: N818
    """Raised with (reason, detail)."""


def prepare(entry: Entry, job: ShardJob, options: BuildOptions) -> Sample:
    """Read, check and scale one image, half image or label map.

    Raises:
        Unusable: with a reason and details for the report; nothing else.
    """
    try:
        data = _read(entry)
        header, pixels = decode_strictly(data, options.background_rgb)
        if job.labels and header.deep:
            raise Unusable("unsupported", "a label map of 16 bits would lose values")
        if job.half:
            pixels = _cut(pixels, job.half)
        height, width = pixels.shape[:2]
        _check_shape(height, width, options)
        side = min(height, width)
        plain = header.plain and data.endswith(b"\xff\xd9")  # nothing hangs on behind the picture
        if plain and side == options.size and not job.labels and not job.half:
            return Sample(data, pixels, side, ("copied",))
        scaled = imaging.resize_short_side(pixels, options.size, nearest=job.labels)
        encoded = imaging.encode(scaled, "png" if job.labels else "jpeg")
        return Sample(encoded, scaled, side, (*_changes(header, job), _scaling(side, options.size)))
    except Unusable:
        raise
    except imaging.ImageError as error:
        raise Unusable(error.reason, str(error)) from error
    except OSError as error:
        raise Unusable("unreadable", error.strerror or str(error)) from error
    except Exception as error:  # one odd file must not end a build of millions
        raise Unusable(f"error:{type(error).__name__}", str(error)) from error


def _read(entry: Entry) -> bytes:
    """The file's bytes, if they are still those that were planned with."""
    path: Path = entry.path
    with path.open("rb") as stream:
        data = stream.read(MAX_BYTES + 1)
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise Unusable("changed", "its bytes are not those of the time when the build was planned")
    return data


def _cut(pixels: Pixels, half: Half) -> Pixels:
    width = pixels.shape[1]
    if width % 2:
        raise Unusable("uneven_halves", f"a width of {width} has no equal halves")
    part = pixels[:, : width // 2] if half == "left" else pixels[:, width // 2 :]
    return np.ascontiguousarray(part)


def _check_shape(height: int, width: int, options: BuildOptions) -> None:
    if max(height, width) > options.max_aspect * min(height, width):
        raise Unusable("too_elongated", f"{width}x{height} is longer than {options.max_aspect:g}:1")
    if min(height, width) < min(options.min_side, options.size):
        raise Unusable("too_small", f"{width}x{height} is smaller than {options.min_side} pixels")


def _changes(header: Header, job: ShardJob) -> tuple[str, ...]:
    done = {
        "turned": header.orientation != 1,
        "flattened": header.alpha,
        "profile": bool(header.profile),
        "profile_ignored": header.profile_ignored,
        "cmyk": header.mode == "CMYK",
        "deep": header.deep,
        "palette": header.mode in {"P", "PA"},
        "gray": header.mode in GRAY,
        "half": job.half is not None,
    }
    return tuple(word for word, was in done.items() if was)


def _scaling(side: int, size: int) -> str:
    return "encoded" if side == size else "shrunk" if side > size else "enlarged"
