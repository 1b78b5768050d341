"""Decoding for keeps: files that a viewer would still show, but only in part or with noise, are
refused.
"""

import os
import re
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from imaging.codec import Pixels, decode
from imaging.colors import Color
from imaging.header import Header, read_header
from imaging.kinds import ImageError

# What the C libraries write when they go on after damage; libjpeg has no other way to tell.
_COMPLAINT = re.compile(
    rb"^(?:Corrupt JPEG data|Premature end of JPEG|Inconsistent progression|Invalid SOS"
    rb"|libpng error|libpng warning: IDAT|tempfile\.tif).*\n?",
    re.MULTILINE,
)


def decode_strictly(data: bytes, background: Color) -> tuple[Header, Pixels]:
    """The header and what `decode` gives, if nothing in the file is damaged.

    What a decoder writes to standard error while it works is taken as its complaints; the rest is
    passed on.

    Raises:
        ImageError: see `read_header`; damage that can be seen at all has the reason `damaged`.
    """
    header = read_header(data)
    if header.format == "PNG":
        _check_png(data)
    complaints: list[str] = []
    with _listening(complaints):
        pixels = decode(data, background)
    if complaints:
        raise ImageError(f"the image is damaged ({complaints[0]})")
    return header, pixels


def _check_png(data: bytes) -> None:
    """Compare every chunk with its checksum, up to the last one, which must be there."""
    position, name = 8, b""
    while name != b"IEND":
        length = int.from_bytes(data[position : position + 4], "big")
        body = data[position + 4 : position + 8 + length]
        name, crc = body[:4], data[position + 8 + length : position + 12 + length]
        if len(crc) < 4:
            raise ImageError("the PNG file is cut short")
        if zlib.crc32(body) != int.from_bytes(crc, "big"):
            raise ImageError(
                f"the checksum of PNG chunk {name.decode('ascii', 'replace')} is wrong"
            )
        position += 12 + length


@contextmanager
def _listening(complaints: list[str]) -> Iterator[None]:
    """Collect the lines of _COMPLAINT that anything in this process writes to standard error."""
    with tempfile.TemporaryFile() as heard:
        stderr = os.dup(2)
        os.dup2(heard.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            heard.seek(0)
            text = heard.read()
            complaints += [
                line.decode(errors="replace").strip() for line in _COMPLAINT.findall(text)
            ]
            if others := _COMPLAINT.sub(b"", text):
                os.write(2, others)
