"""Samples through blocks are the samples, each block is fetched once, and few are kept."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipelines.reading import blocks
from pipelines.reading.blocks import BlockReader, block_numbers
from pipelines.reading.reader import Samples, ShardReader
from pipelines.storage.remote import IN_FLIGHT


class Server:
    """Files of a data set that note what they are asked for."""

    def __init__(self, samples: Samples):
        self.samples = samples
        self.asked: list[tuple[str, int, int]] = []
        self.open = threading.Event()
        self.open.set()
        self.is_gone = False
        self._files = samples.files
        samples.files = SimpleNamespace(root="data", read=self._read)  # type: ignore[assignment]

    def _read(self, shard: Any, offset: int, size: int) -> bytes:
        self.open.wait()
        self.asked.append((shard.name, offset, size))
        if self.is_gone:
            raise OSError("gone")
        return self._files.read(shard, offset, size)


@pytest.fixture
def server(root: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """About two samples a block, of several shards."""
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 4096)
    return Server(ShardReader(root).samples("train", "summer"))


def begun(server: Server) -> np.ndarray:
    """Number of the block of each sample, counted one by one."""
    numbers, last = [], None
    for shard, offset in zip(server.samples.shard, server.samples.offset, strict=True):
        stretch = int(shard), int(offset) // 4096
        numbers.append(0 if last is None else numbers[-1] + (stretch != last))
        last = stretch
    return np.array(numbers)


def test_a_block_is_what_begins_within_one_stretch_of_a_shard(server: Server, root: Path) -> None:
    numbers = block_numbers(server.samples)
    assert np.array_equal(numbers, begun(server))
    assert len(server.samples.shards) < len(np.unique(numbers)) < len(numbers)
    assert len(block_numbers(ShardReader(root).samples("validation", "summer"))) == 0


def test_every_sample_is_what_it_is_and_every_block_is_fetched_once(
    server: Server, root: Path
) -> None:
    reader, plain = BlockReader(server.samples), ShardReader(root).samples("train", "summer")
    for index in range(len(plain)):
        assert np.array_equal(reader.read(index), plain.read(index))
    reader.close()
    numbers = begun(server)
    wanted = []
    for block in np.unique(numbers):
        first, *_, last = [*np.flatnonzero(numbers == block)] * 2
        start, end = int(plain.offset[first]), int(plain.offset[last] + plain.size[last])
        wanted.append((plain.shards[plain.shard[first]].name, start, end - start))
    assert server.asked == wanted


def test_what_was_wanted_is_on_its_way_before_it_is_read(server: Server) -> None:
    reader = BlockReader(server.samples)
    last = len(server.samples) - 1
    for index in (last, last, 0):
        reader.want(index)
    deadline = time.monotonic() + 30
    while len(server.asked) < 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    reader.read(last)
    reader.read(0)
    reader.close()
    assert len(server.asked) == 2


def test_what_was_used_least_lately_makes_room(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "WINDOW", 1)
    reader = BlockReader(server.samples)
    _, first = np.unique(begun(server), return_index=True)
    zero, one, two, three = (int(index) for index in first[:4])
    for index in (zero, one, two, zero, three):  # three times a window are kept
        reader.read(index)
    assert len(server.asked) == 4
    for index in (two, zero, three):
        reader.read(index)
    assert len(server.asked) == 4
    reader.read(one)
    assert len(server.asked) == 5
    reader.close()


def test_what_failed_is_asked_for_again(server: Server) -> None:
    reader = BlockReader(server.samples)
    server.is_gone = True
    with pytest.raises(OSError, match="gone"):
        reader.read(3)
    server.is_gone = False
    assert reader.read(3).shape[2] == 3
    reader.close()


def test_all_who_wait_for_what_fails_are_told_why(server: Server) -> None:
    reader = BlockReader(server.samples)
    server.is_gone = True
    server.open.clear()
    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(reader.read, 3) for _ in range(3)]
        threading.Timer(0.1, server.open.set).start()
        assert all(isinstance(each.exception(), OSError) for each in readers)
    reader.close()


def test_closing_waits_for_requests_under_way_and_makes_no_others(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1)
    reader = BlockReader(server.samples)
    server.open.clear()
    for index in range(len(server.samples)):
        reader.want(index)
    assert len(server.samples) > IN_FLIGHT
    assert sum(each.name.startswith("blocks") for each in threading.enumerate()) == IN_FLIGHT
    threading.Timer(0.1, server.open.set).start()
    reader.close()
    assert len(server.asked) == IN_FLIGHT
