"""What becomes of jobs whose replica dies, over a replica that is told when to."""

import asyncio
from collections.abc import Callable

import numpy as np
import pytest
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError

from serving.engine import JobResult, TranslateJob
from serving.http.problems import Problem
from serving.sender import Sender

JOBS = [
    TranslateJob(image=np.zeros((1, 1, 3), np.uint8), source="summer", target="winter", seed=seed)
    for seed in range(6)
]


class Replica:
    """A handle that takes `seconds` per job; a job that is `deadly` kills all that are there with
    it.
    """

    def __init__(
        self, deadly: Callable[[TranslateJob], bool] = lambda job: False, seconds: float = 0.01
    ):
        self.sent: list[TranslateJob] = []
        self.cancelled = 0
        self._deadly, self._seconds = deadly, seconds
        self._there: list[asyncio.Future[None]] = []

    @property
    def translate(self) -> "Replica":
        return self

    def remote(self, job: TranslateJob) -> "_Response":
        self.sent.append(job)
        return _Response(self, self._run(job))

    async def _run(self, job: TranslateJob) -> JobResult:
        death = asyncio.get_running_loop().create_future()
        self._there.append(death)
        try:
            deadly = self._deadly(job)
            await asyncio.wait([death], timeout=self._seconds / 2 if deadly else self._seconds)
            if deadly and not death.done():
                for other in self._there:
                    if not other.done():
                        other.set_exception(RayActorError())
            if death.done():
                death.result()
            return [job.image]
        finally:
            self._there.remove(death)


class _Response:
    def __init__(self, replica: Replica, answer):
        self._replica, self._answer = replica, answer

    def __await__(self):
        return self._answer.__await__()

    def cancel(self) -> None:
        self._replica.cancelled += 1


async def send_all(replica: Replica, jobs: list[TranslateJob]) -> list[JobResult | BaseException]:
    sender = Sender(replica)  # type: ignore[arg-type]
    return await asyncio.gather(
        *(sender.send("translate", job) for job in jobs), return_exceptions=True
    )


def seeds(jobs: list[TranslateJob]) -> list[int]:
    return [job.seed for job in jobs]


def test_a_request_that_kills_two_replicas_is_not_sent_to_a_third():
    replica = Replica(deadly=lambda job: True)
    (outcome,) = asyncio.run(send_all(replica, JOBS[:1]))
    assert isinstance(outcome, Problem)
    assert outcome.status_code == 500
    assert "not tried again" in outcome.detail
    assert seeds(replica.sent) == [0, 0]


def test_the_only_request_of_a_replica_that_is_killed_from_outside_succeeds():
    replica = Replica(deadly=lambda job: not job.alone)
    (outcome,) = asyncio.run(send_all(replica, JOBS[:1]))
    assert isinstance(outcome, list)


def test_one_of_several_that_kills_is_found_by_a_second_death_and_the_others_succeed():
    replica = Replica(deadly=lambda job: job.seed == 2)
    outcomes = asyncio.run(send_all(replica, JOBS))
    assert [isinstance(outcome, list) for outcome in outcomes] == [
        True,
        True,
        False,
        True,
        True,
        True,
    ]
    assert isinstance(outcomes[2], Problem)
    again = replica.sent[len(JOBS) :]
    assert sorted(seeds(again)) == seeds(JOBS)
    assert all(job.alone for job in again)


def test_nothing_fails_when_a_replica_is_killed_from_outside():
    killed = False

    def once(job: TranslateJob) -> bool:
        nonlocal killed
        killed, before = True, killed
        return not before

    replica = Replica(deadly=once)
    assert all(isinstance(outcome, list) for outcome in asyncio.run(send_all(replica, JOBS)))
    assert len(replica.sent) == 2 * len(JOBS)


def test_who_comes_while_a_deadly_request_is_tried_again_is_not_taken_for_it():
    async def scene() -> list[JobResult | BaseException]:
        replica = Replica(deadly=lambda job: job.seed == 0, seconds=0.05)
        sender = Sender(replica)  # type: ignore[arg-type]
        first = [asyncio.create_task(sender.send("translate", job)) for job in JOBS[:2]]
        # the first death is over, the deadly one is on its second journey
        await asyncio.sleep(0.07)
        later = asyncio.create_task(sender.send("translate", JOBS[5]))
        return await asyncio.gather(*first, later, return_exceptions=True)

    deadly, *innocent = asyncio.run(scene())
    assert isinstance(deadly, Problem)
    assert all(isinstance(outcome, list) for outcome in innocent)


def test_a_request_whose_client_goes_is_taken_back_from_its_replica():
    async def scene() -> Replica:
        replica = Replica(seconds=60)
        task = asyncio.create_task(Sender(replica).send("translate", JOBS[0]))  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return replica

    assert asyncio.run(scene()).cancelled == 1


def test_a_full_queue_says_when_to_try_again():
    class Full(Replica):
        async def _run(self, job: TranslateJob) -> JobResult:
            raise BackPressureError(num_queued_requests=9, max_queued_requests=8, retry_after_s=1.5)

    (problem,) = asyncio.run(send_all(Full(), JOBS[:1]))
    assert isinstance(problem, Problem)
    assert (problem.status_code, problem.headers) == (503, {"Retry-After": "2"})
