import hashlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import pytest

from pipelines.storage.shard_cache import CacheSettings, ShardCache

SIZE = 1000


class Origin:
    """Files that count how often they are fetched."""

    def __init__(self, seconds: float = 0.0):
        self.seconds = seconds
        self.fetched: list[str] = []

    def content(self, name: str) -> bytes:
        return name.encode() * (SIZE // len(name))

    def open(self, cache: ShardCache, name: str) -> int:
        data = self.content(name)

        def fetch(target: BinaryIO) -> None:
            self.fetched.append(name)
            time.sleep(self.seconds)
            target.write(data)

        return cache.open(name, hashlib.sha256(data).hexdigest(), len(data), fetch)

    def read(self, cache: ShardCache, name: str) -> bytes:
        with os.fdopen(self.open(cache, name), "rb") as stream:
            return stream.read()


def _cache(folder: Path, files: float = 10) -> ShardCache:
    return ShardCache(CacheSettings(folder=str(folder), gigabytes=files * SIZE / 1e9))


def test_those_who_want_a_file_at_the_same_time_fetch_it_once(tmp_path: Path) -> None:
    origin = Origin(seconds=0.2)
    answers: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: answers.append(origin.read(_cache(tmp_path), "shard")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [origin.content("shard")] * 4
    assert origin.fetched == ["shard"]


def test_files_of_others_stay_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(bytes(100 * SIZE))
    origin, cache = Origin(), _cache(tmp_path, files=2)
    for name in "abc":
        assert origin.read(cache, name) == origin.content(name)
    assert (tmp_path / "holiday.jpg").stat().st_size == 100 * SIZE
    assert len([path for path in tmp_path.iterdir() if len(path.name) == 64]) == 2


def test_what_was_opened_longest_ago_makes_room(tmp_path: Path) -> None:
    origin, cache = Origin(), _cache(tmp_path, files=3)
    held = origin.open(cache, "a")
    for name in ("b", "c", "a", "d", "a", "c", "b"):  # d takes the place of b, then b that of d
        assert origin.read(cache, name) == origin.content(name)
        time.sleep(0.01)
    assert origin.fetched == ["a", "b", "c", "d", "b"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir() if path.is_file()) <= 3 * SIZE
    for name in ("d", "e", "f"):
        origin.read(cache, name)
    # gone meanwhile, but not for who had it open
    assert origin.read(cache, "a") == os.pread(held, SIZE, 0)
    assert origin.fetched[-1] == "a"
    os.close(held)


def test_a_file_that_is_larger_than_the_cache_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no room for"):
        Origin().open(_cache(tmp_path, files=0.5), "a")


def test_other_bytes_than_the_manifest_names_are_not_kept(tmp_path: Path) -> None:
    cache = _cache(tmp_path)
    with pytest.raises(
        ValueError, match=r"far/000000\.tar is not the file that the manifest names"
    ):
        cache.open("far/000000.tar", "0" * 64, SIZE, lambda target: target.write(bytes(SIZE)))  # type: ignore[arg-type]
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


def test_what_a_killed_process_left_is_fetched_anew(tmp_path: Path) -> None:
    origin, cache = Origin(), _cache(tmp_path)
    data = origin.content("a")
    name = hashlib.sha256(data).hexdigest()
    (tmp_path / f"{name}.part").write_bytes(data[:10])
    assert origin.read(cache, "a") == data
    (tmp_path / name).write_bytes(data[:-1])
    assert origin.read(cache, "a") == data
    assert origin.fetched == ["a", "a"]
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [name]


def test_many_files_that_arrive_at_once_do_not_disturb_the_count(tmp_path: Path) -> None:
    origin, cache = Origin(), _cache(tmp_path, files=200)
    names = [f"shard {number}" for number in range(160)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda name: origin.read(cache, name), names)) == list(
            map(origin.content, names)
        )
