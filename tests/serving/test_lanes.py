"""Large requests wait for each other, small ones for nobody."""

import asyncio

import pytest

from serving.http.problems import Problem
from serving.http.requests import Work
from serving.http.schema import Limits
from serving.lanes import Lanes

LIMITS = Limits(large_pixels=100, large_at_once=1, large_waiting=1)
SMALL, LARGE, MANY = Work(100, 400), Work(101, 101), Work(50, 401)


def test_a_request_is_large_by_its_largest_picture_or_by_all_of_them():
    assert [work.is_large(LIMITS) for work in (SMALL, LARGE, MANY)] == [False, True, True]


def test_a_few_large_requests_of_each_model_run_at_a_time_and_few_wait():
    async def scene() -> list[str]:
        lanes, told = Lanes(LIMITS), []
        done = asyncio.Event()

        async def request(name: str, model: str, work: Work) -> None:
            try:
                async with lanes.entered(model, work) as large:
                    told.append(f"{name} {'large' if large else 'small'}")
                    if large:
                        await done.wait()
            except Problem as problem:
                told.append(f"{name} {problem.status_code} {problem.headers}")

        orders = [
            ("first", "a", LARGE),
            ("second", "a", MANY),
            ("third", "a", LARGE),
            ("other", "b", LARGE),
            ("small", "a", SMALL),
        ]
        async with asyncio.TaskGroup() as group:
            for order in orders:
                group.create_task(request(*order))
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            told.append("done")
            done.set()
        return told

    refused = "third 503 {'Retry-After': '10'}"
    assert asyncio.run(scene()) == [
        "first large",
        refused,
        "other large",
        "small small",
        "done",
        "second large",
    ]


def test_a_client_that_goes_while_it_waits_leaves_its_place():
    async def scene() -> None:
        lanes = Lanes(LIMITS)

        async def enter() -> None:
            async with lanes.entered("a", LARGE):
                pass

        async with lanes.entered("a", LARGE):
            for _ in range(3):
                task = asyncio.create_task(enter())
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
        await asyncio.wait_for(enter(), 5)

    asyncio.run(scene())
