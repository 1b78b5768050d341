"""A web server that takes 100 ms for every answer does not hold a consumer back."""

import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

import imaging
from pipelines.images_to_shards import build_shards
from pipelines.reading.reader import ShardReader
from pipelines.shards_to_batches import Batches
from pipelines.storage.shard_cache import CacheSettings
from tests.servers import web_server

WANTED = 300  # images per second: what a consumer can have that shares two cores with other tests
IMAGES = 1200


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


def _rate(root: str, start: int) -> float:
    """Images per second of a consumer that wants WANTED, first request included."""
    reader = ShardReader(root, CacheSettings(gigabytes=0))
    batches = Batches(
        reader, domains=("summer", "winter"), crop=64, global_batch=20, seed=0, order="blocks"
    )
    begin = time.monotonic()
    stream = batches.iterate(start)
    for step, _ in enumerate(islice(stream, IMAGES // 40), start=1):
        time.sleep(max(0.0, begin + step * 40 / WANTED - time.monotonic()))
    seconds = time.monotonic() - begin
    stream.close()
    return IMAGES / seconds


@pytest.mark.slow
def test_a_slow_server_feeds_as_many_images_as_a_folder(large: Path) -> None:
    with web_server(large, delay=0.1) as web:
        pairs = [(_rate(str(large), start), _rate(web.url, start)) for start in (0, 20 * 75)]
    local, remote = (max(rates) for rates in zip(*pairs, strict=True))
    print(f"{local:.0f} images/s from the folder, {remote:.0f} from the server")
    assert remote >= 0.8 * local
