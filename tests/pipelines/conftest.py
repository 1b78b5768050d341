"""A data set in several shards, and what tests of reading say about batches."""

import hashlib
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

import imaging
from pipelines.images_to_shards import build_shards
from pipelines.reading.reader import ShardReader
from pipelines.shards_to_batches import Batch, Batches

COUNTS = {"summer": 26, "winter": 18}
DOMAINS = tuple(COUNTS)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of smooth random images, all different, in several shards."""
    base = tmp_path_factory.mktemp("data")
    for domain, count in COUNTS.items():
        for number in range(count):
            coarse = np.random.default_rng(number + count * 1000).integers(
                0, 256, (4, 5, 3), dtype=np.uint8
            )
            imaging.write(base / domain / f"{number}.png", cv2.resize(coarse, (50, 40)))
    build_shards(
        {domain: base / domain for domain in DOMAINS}, out=base / "out", size=32, shard_samples=7
    )
    return base / "out"


@pytest.fixture(scope="session")
def reader(root: Path) -> ShardReader:
    return ShardReader(root)


def take(batches: Batches, steps: int, start: int = 0) -> list[Batch]:
    """Some successive batches."""
    stream = batches.iterate(start)
    taken = list(islice(stream, steps))
    stream.close()
    return taken


def digest(*parts: Batch) -> str:
    """Of a global batch, whose parts the ranks hold."""
    whole = np.concatenate([part.pixels for part in parts], axis=1)
    return hashlib.sha256(str(parts[0].position).encode() + whole.tobytes()).hexdigest()


def digests(batches: Iterable[Batch]) -> list[str]:
    """Of batches of a single rank."""
    return [digest(batch) for batch in batches]


def flip_byte(shard: Path, index: int = 0) -> str:
    """Change one bit in the middle of a sample; the sample's key."""
    import pyarrow.parquet as pq

    row = pq.read_table(shard.with_suffix(".parquet")).to_pylist()[index]
    data = bytearray(shard.read_bytes())
    data[row["offset"] + row["size"] // 2] ^= 1
    shard.write_bytes(data)
    return row["key"]
