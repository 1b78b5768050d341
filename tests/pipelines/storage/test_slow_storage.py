"""A web server that takes 100 ms for every answer does not hold back who wants 300 images/s."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

import imaging
from pipelines.images_to_shards import build_shards
from pipelines.reading.order import WINDOW
from pipelines.reading.reader import ShardReader
from pipelines.shards_to_batches import Batches
from pipelines.storage.shard_cache import CacheSettings
from tests.servers import Web, web_server

WANTED = 300  # images per second
IMAGES = 1200
DELAY = 0.1  # seconds


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More blocks than are mixed at a time: 2 x 3,500 noisy images of 22 KB."""
    base = tmp_path_factory.mktemp("large")
    for seed, domain in enumerate(("summer", "winter")):
        draws = np.random.default_rng(seed)
        (base / domain).mkdir()
        for number in range(3500):
            pixels = draws.integers(0, 256, (96, 96, 3), dtype=np.uint8)
            (base / domain / f"{number}.jpg").write_bytes(imaging.encode(pixels, "jpeg"))
    build_shards(
        {d: base / d for d in ("summer", "winter")}, out=base / "out", size=96, test_fraction=0
    )
    return base / "out"


@contextmanager
def _batches(web: Web) -> Iterator[Iterator[object]]:
    """Batches of 2 x 20 images from a server, nothing of them kept on disk."""
    reader = ShardReader(web.url, CacheSettings(gigabytes=0))
    batches = Batches(
        reader, domains=("summer", "winter"), crop=64, global_batch=20, seed=0, order="blocks"
    )
    stream = batches.iterate(0)
    try:
        yield stream
    finally:
        stream.close()


def _blocks(web: Web) -> int:
    return sum(request.startswith("GET") and request.endswith(".tar") for request in web.requests())


# Counted instead of timed: what else runs on the machine changes seconds, not requests.
@pytest.mark.slow
def test_waits_for_a_slow_server_are_few_and_beside_each_other(large: Path) -> None:
    with web_server(large, delay=DELAY) as web, _batches(web) as stream:
        for _ in islice(stream, IMAGES // 40):
            pass
        waited = _blocks(web) * DELAY / web.most_at_once()
    print(f"{IMAGES / waited:.0f} images for every second of waiting")
    assert IMAGES / waited >= 2 * WANTED


@pytest.mark.slow
def test_the_next_images_are_asked_for_while_a_batch_is_in_use(large: Path) -> None:
    with web_server(large, delay=DELAY) as web, _batches(web) as stream:
        next(stream)
        deadline = time.monotonic() + 60
        # One batch has 40 images, hence at most 40 blocks.
        while _blocks(web) < 2 * WINDOW and time.monotonic() < deadline:
            time.sleep(DELAY)
        assert _blocks(web) >= 2 * WINDOW
