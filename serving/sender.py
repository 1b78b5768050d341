"""Jobs on their way to the replicas of a model, and what becomes of them when a replica dies."""

import asyncio
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle

from errors import UserError
from serving.engine import ComposeJob, Outcome, TranslateJob
from serving.problems import Problem

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Journey:
    """A job between here and its replica."""

    had_company: bool = False


class Sender:
    """Sends the jobs of one model to its replicas; it sees all that are under way.

    A job that was the only one when its replica died is what killed it, and is sent nowhere else. Where there were
    several, any of them may be: each is sent once more, one at a time, so that the one that kills again is known by
    that and the others are done.
    """

    def __init__(self, handle: DeploymentHandle):
        self._handle = handle
        self._under_way: set[_Journey] = set()
        self._again = asyncio.Lock()

    async def send(self, method: Literal["translate", "compose"], job: TranslateJob | ComposeJob) -> Outcome:
        """The outcome of a job.

        Raises:
            Problem: 503 if too many jobs are waiting, 500 if this one has killed a replica.
        """
        with self._journey() as journey:
            try:
                return await self._sent(method, job)
            except RayActorError as error:
                if not journey.had_company:
                    raise _deadly() from error
        _log.warning("a replica died while it had several requests; each of them is sent to another one")
        async with self._again:
            with self._journey():
                try:
                    return await self._sent(method, replace(job, alone=True))
                except RayActorError as error:
                    raise _deadly() from error

    @contextmanager
    def _journey(self) -> Iterator[_Journey]:
        journey = _Journey(had_company=bool(self._under_way))
        for other in self._under_way:
            other.had_company = True
        self._under_way.add(journey)
        try:
            yield journey
        finally:
            self._under_way.remove(journey)

    async def _sent(self, method: str, job: TranslateJob | ComposeJob) -> Outcome:
        response: Any = getattr(self._handle, method).remote(job)
        try:
            return await response
        except asyncio.CancelledError:  # the client has gone, or was told 408
            response.cancel()
            raise
        except RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise error.cause from None
            raise
        except BackPressureError as error:
            seconds = str(math.ceil(error.retry_after_s or 1))
            detail = f"too many requests are waiting: try again in {seconds} s"
            raise Problem(503, detail, {"Retry-After": seconds}) from error


def _deadly() -> Problem:
    _log.error("a replica died over one request, which is not sent to another one")
    return Problem(500, "the model died over this request, which is not tried again: send a smaller or another image")
