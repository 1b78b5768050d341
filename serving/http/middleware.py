"""What is done with every request, whatever its route."""

from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.http.problems import Problem


class BodyLimit:
    """Stops reading a request whose body is above a limit, announced or not."""

    def __init__(self, app: ASGIApp, max_bytes: int):
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            announced = Headers(scope=scope).get("content-length", "")
            receive = self._counted(receive, int(announced) if announced.isdecimal() else 0)
        await self._app(scope, receive, send)

    def _counted(self, receive: Receive, announced: int) -> Callable[[], Awaitable[Message]]:
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if max(seen, announced) > self._max_bytes:
                limit = f"{self._max_bytes / 2**20:.3g} MB"
                raise Problem(
                    413, f"the request is larger than {limit}: send smaller or compressed images"
                )
            return message

        return counted


class Head:
    """Answers HEAD as GET, without the body."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def bare(message: Message) -> None:
            await send(
                {**message, "body": b""} if message["type"] == "http.response.body" else message
            )

        await self._app({**scope, "method": "GET"}, receive, bare)
