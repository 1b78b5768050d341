"""Jobs on their way to the replicas of a model, and what becomes of them when a replica dies."""

import asyncio
import logging
import math
from dataclasses import replace
from typing import Any, Literal

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle

from errors import UserError
from serving.engine import ComposeJob, JobResult, TranslateJob
from serving.http.problems import Problem

_log = logging.getLogger(__name__)


class Sender:
    """Sends the jobs of one model to its replicas.

    A replica may die of itself, or of any of its jobs: each is sent once more, one at a time, so
    that the one that kills again is known by that and the others are done.
    """

    def __init__(self, handle: DeploymentHandle):
        self._handle = handle
        self._again = asyncio.Lock()

    async def send(
        self, method: Literal["translate", "compose"], job: TranslateJob | ComposeJob
    ) -> JobResult:
        """The outcome of a job.

        Raises:
            Problem: 503 if too many jobs are waiting, 500 if this one has killed two replicas.
            UserError: the replica says that whoever asked can mend it.
        """
        try:
            return await self._sent(method, job)
        except RayActorError:
            _log.warning("a replica died with a request; it is sent to another one")
        async with self._again:
            try:
                return await self._sent(method, replace(job, alone=True))
            except RayActorError as error:
                raise _deadly() from error

    async def _sent(self, method: str, job: TranslateJob | ComposeJob) -> JobResult:
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
    _log.error("two replicas died over one request, which is not sent to a third")
    return Problem(
        500,
        "the model died over this request, which is not tried again: send a smaller or another "
        "image",
    )
