"""Hostile requests of all kinds get an answer that says what is wrong, and nobody else notices
them.
"""

import asyncio
import re
from collections import Counter
from pathlib import Path

import httpx
import pytest

import imaging
from serving.http.api import make_api
from serving.http.schema import WITH_PRIOR, WITHOUT_PRIOR
from tests.pipelines.hostile import Corpus
from tests.serving.attacks import FIELDS, Attacker, files_of
from tests.serving.local import LocalBackend

COUNT = 112


@pytest.fixture(scope="module")
def attacker(hostile_images: Corpus) -> Attacker:
    return Attacker(files_of(hostile_images.folder), seed=1)


def memory() -> int:
    """Resident bytes of this process."""
    return int(re.findall(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[0]) * 1024


def test_hostile_requests_reach_every_route() -> None:
    assert {*FIELDS} == {*WITHOUT_PRIOR, *WITH_PRIOR}


@pytest.mark.slow
# Starlette leaves the file of a part that has no end to the garbage collector
@pytest.mark.filterwarnings("ignore:.*SpooledTemporaryFile:pytest.PytestUnraisableExceptionWarning")
def test_hostile_requests_are_told_what_is_wrong_and_plain_ones_are_answered_meanwhile(
    attacker, tiny_bundle
):
    async def scene() -> tuple[Counter[int], list[bytes], list[int]]:
        transport = httpx.ASGITransport(
            make_api(LocalBackend(m=tiny_bundle)), raise_app_exceptions=False
        )
        plain = {"files": {"image": attacker.photograph}, "data": {"to": "winter", "seed": "1"}}
        statuses: Counter[int] = Counter()
        pictures, sizes = [], []
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            for number, sent in enumerate(attacker.requests(COUNT, panoramas=False)):
                answer = await client.request(sent.method, sent.path, **sent.options)
                assert answer.status_code < 500, (
                    sent.method,
                    sent.path,
                    str(sent.options)[:500],
                    answer.text,
                )
                if answer.status_code >= 400 and sent.method != "HEAD":
                    assert answer.headers["content-type"] == "application/problem+json"
                    assert 10 < len(answer.json()["detail"]) < 1100
                statuses[answer.status_code] += 1
                if number % 14 == 13:
                    pictures.append((await client.post("/v1/translate", **plain)).content)
                    sizes.append(memory())
        return statuses, pictures, sizes

    statuses, pictures, sizes = asyncio.run(scene())
    assert len(pictures) == COUNT // 14
    assert set(pictures) == {pictures[0]}
    assert imaging.decode(pictures[0]).shape == (24, 32, 3)
    assert {200, 400, 413, 415, 422} <= statuses.keys()
    assert sizes[-1] < sizes[1] + 200e6


def test_the_same_seed_draws_the_same_requests():
    first, second = (
        [str(sent) for sent in Attacker({"a": b"x"}, 5).requests(60, panoramas=True)]
        for _ in range(2)
    )
    assert first == second
    assert len(set(first)) > 40
