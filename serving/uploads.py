"""Uploaded bytes to pixels, within limits."""

import io
from collections.abc import Awaitable, Callable

from PIL import Image
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import imaging
from imaging.codec import Pixels
from serving.problems import Problem
from serving.schema import Limits


class BodyLimit:
    """ASGI middleware that stops reading a request whose body is above a limit, announced or not."""

    def __init__(self, app: ASGIApp, max_bytes: int):
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            announced = Headers(scope=scope).get("content-length", "")
            receive = self._counted(receive, int(announced) if announced.isdigit() else 0)
        await self._app(scope, receive, send)

    def _counted(self, receive: Receive, announced: int) -> Callable[[], Awaitable[Message]]:
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if max(seen, announced) > self._max_bytes:
                limit = f"{self._max_bytes / 2**20:.3g} MB"
                raise Problem(413, f"the request is larger than {limit}: send smaller or compressed images")
            return message

        return counted


def decode_upload(data: bytes, field: str, limits: Limits) -> Pixels:
    """Decode an uploaded image.

    Raises:
        Problem: 413 if the image is too large, 415 if it is no image.
    """
    _check_size(*_announced_size(data), field, limits)
    try:
        pixels = imaging.decode(data)
    except imaging.ImageError as error:
        raise Problem(415, f"field {field!r}: {error}; send a PNG, JPEG or WebP file") from error
    _check_size(pixels.shape[1], pixels.shape[0], field, limits)
    return pixels


def _announced_size(data: bytes) -> tuple[int, int]:
    """Width and height by the file's header, before memory is taken for pixels; 0 x 0 if Pillow does not know it."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, OSError, ValueError, SyntaxError):
        return 0, 0  # the decoder has a limit of its own, and says what is wrong


def _check_size(width: int, height: int, field: str, limits: Limits) -> None:
    if max(width, height) > limits.max_side or width * height > limits.max_pixels:
        raise Problem(
            413,
            f"field {field!r}: the image is {width}x{height}; scale it to at most {limits.max_side} pixels a side "
            f"and {limits.max_pixels / 1e6:g} megapixels",
        )
