"""Large requests beside small ones: nobody waits for long behind somebody's panorama."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from serving.http.problems import Problem
from serving.http.requests import Work
from serving.http.schema import Limits


class Lanes:
    """One lane for the large requests of each model; small ones go as they come.

    A large request waits here before its images are decoded, so that what waits takes no memory for
    pixels.
    """

    def __init__(self, limits: Limits):
        self._limits = limits
        # Made when a model is first asked for.
        self._rooms = defaultdict(lambda: asyncio.Semaphore(limits.large_at_once))
        self._waiting: defaultdict[str, int] = defaultdict(int)

    @asynccontextmanager
    async def entered(self, model: str, work: Work) -> AsyncIterator[bool]:
        """Wait for a place, and hold it; whether the request is a large one.

        Raises:
            Problem: 503 if too many wait already.
        """
        if not work.is_large(self._limits):
            yield False
            return
        await self._acquire(model)
        try:
            yield True
        finally:
            self._rooms[model].release()

    async def _acquire(self, model: str) -> None:
        room = self._rooms[model]
        # A free place is taken at once, whatever the limit of those that wait.
        if room.locked() and self._waiting[model] >= self._limits.large_waiting:
            detail = (
                "too many large requests are waiting: try again in 10 s, or send smaller images"
            )
            raise Problem(503, detail, {"Retry-After": "10"})
        self._waiting[model] += 1
        try:
            await room.acquire()
        finally:
            # Also where who waited has gone away.
            self._waiting[model] -= 1
