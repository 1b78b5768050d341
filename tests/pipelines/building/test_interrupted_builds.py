"""A build that is killed at any moment goes on to the same bytes, and what was finished is left
alone.
"""

import hashlib
import os
import random
import time
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

import imaging
from pipelines.building import inputs
from pipelines.building.shard_commit import read_commit
from pipelines.images_to_shards import build_shards
from pipelines.progress import Progress
from tests.processes import begin

SETTINGS = {"size": 40, "test_fraction": 0.2, "shard_samples": 12}


def write(folder: Path, numbers: range, side: int = 48) -> Path:
    for number in numbers:
        coarse = np.random.default_rng(number).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        imaging.write(
            folder / f"{number:04d}.png",
            cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC),
        )
    return folder


def files(root: Path) -> dict[str, str]:
    found = [path for path in root.rglob("*") if path.is_file()]
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in found
    }


def identities(paths: list[Path]) -> list[tuple[int, int]]:
    return [(path.stat().st_ino, path.stat().st_mtime_ns) for path in paths]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two domains, with some files that cannot be used, in shards of their own too."""
    root = tmp_path_factory.mktemp("in")
    write(root / "a", range(150), side=160)
    write(root / "b", range(1000, 1100), side=160)
    for number in range(12):
        (root / "b" / f"cut{number}.png").write_bytes(
            (root / "b" / f"{1000 + number}.png").read_bytes()[:-9]
        )
    return root


def build(folders: Path, out: Path, told: Connection) -> None:
    """What a process does: says that it begins, builds, and says how long that took."""
    inputs._SAVE_EVERY = 0.05
    told.send("begins")
    start = time.monotonic()
    build_shards({d: folders / d for d in ("a", "b")}, out=out, **SETTINGS)
    told.send(time.monotonic() - start)


def started(folders: Path, out: Path) -> tuple[BaseProcess, Connection]:
    here, there = Pipe(duplex=False)
    process = begin(build, folders, out, there)
    assert here.recv() == "begins"
    return process, here


@pytest.mark.slow
def test_killed_at_ten_moments_it_ends_with_the_same_bytes_and_keeps_what_was_done(
    folders: Path, tmp_path: Path
) -> None:
    calm, told = started(folders, tmp_path / "calm")
    duration = told.recv()
    calm.join()
    expected = files(tmp_path / "calm")
    done_when_killed: list[int] = []
    random_moments = random.Random(4)
    for attempt in range(10):
        out = tmp_path / f"killed{attempt}"
        process, _ = started(folders, out)
        time.sleep((attempt + random_moments.random()) / 10 * duration)
        process.kill()
        process.join()
        marks = [
            path
            for path in sorted(out.rglob("[0-9]*.parquet"))
            if path.parent.name != "hashes.partial"
        ]
        finished = [*marks, *(tar for mark in marks if (tar := mark.with_suffix(".tar")).exists())]
        before = identities(finished)
        report = build_shards({d: folders / d for d in ("a", "b")}, out=out, **SETTINGS)
        # an index without images goes when all is done
        kept = [path for path in finished if path.exists()]
        assert identities(kept) == [
            who for path, who in zip(finished, before, strict=True) if path in kept
        ]
        assert report.built <= len(list(report.manifest.shards())) + 1 - len(marks)
        assert files(out) == expected
        done_when_killed.append(len(marks))
    assert len(set(done_when_killed)) >= 3, "the moments were not spread over the build"


def interrupting_at(number: int) -> Progress:
    """Whoever is told that so many things are done is interrupted."""

    def tell(done: int, total: int) -> None:
        if done == number:
            raise KeyboardInterrupt

    return tell


def test_finished_shards_are_taken_over_unread(tmp_path: Path) -> None:
    folder, out = write(tmp_path / "in", range(30)), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        build_shards({"a": folder}, out=out, progress=interrupting_at(25), **SETTINGS)
    marks = sorted(out.rglob("*.parquet"))
    tars = [mark.with_suffix(".tar") for mark in marks]
    assert len(marks) >= 1
    for tar in tars:
        os.utime(tar, ns=(1, 1))
    told: list[int] = []
    report = build_shards(
        {"a": folder}, out=out, progress=lambda done, total: told.append(done), **SETTINGS
    )
    assert report.built == len(list(report.manifest.shards())) - len(marks)
    assert told[0] == 12  # a whole shard at once
    assert all(tar.stat().st_atime_ns == tar.stat().st_mtime_ns == 1 for tar in tars)


def test_shards_of_other_versions_are_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = write(tmp_path / "in", range(20)), tmp_path / "out"
    made = build_shards({"a": folder}, out=out, **SETTINGS)
    (out / "train/a/000000.tar").unlink()
    monkeypatch.setattr("cv2.__version__", "6.0.0")
    again = build_shards({"a": folder}, out=out, **SETTINGS)
    assert again.built == made.built
    assert again.manifest.versions["opencv"] == "6.0.0"


def test_hashes_survive_an_interruption_and_a_changed_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "_SAVE_EVERY", 0)
    folder, out = write(tmp_path / "in", range(20)), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        build_shards({"a": folder}, out=out, reading=interrupting_at(10), **SETTINGS)
    assert {path.name for path in out.iterdir()} == {"hashes.partial"}
    changed = folder / "0003.png"
    facts = changed.stat()
    data = bytearray(changed.read_bytes())
    data[-20] ^= 1
    changed.write_bytes(data)
    # looks as it was, and its hash is known
    os.utime(changed, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    build_shards({"a": folder}, out=out, **SETTINGS)
    rows = pq.read_table(out / "rejects.parquet").to_pylist()
    assert [(row["source"], row["reason"]) for row in rows] == [("0003.png", "changed")]
    assert {path.name for path in out.iterdir()} == {
        "manifest.json",
        "rejects.parquet",
        "train",
        "test",
    }


def test_a_shard_without_a_usable_image_is_remembered_until_the_end(tmp_path: Path) -> None:
    folder, out = write(tmp_path / "in", range(6)), tmp_path / "out"
    for number in range(6):
        (folder / f"cut{number}.png").write_bytes((folder / f"{number:04d}.png").read_bytes()[:-9])
    settings = SETTINGS | {"shard_samples": 1, "test_fraction": 0}
    with pytest.raises(ValueError, match="6 of 12 files are unusable"):
        build_shards({"a": folder}, out=out, **settings)
    marks = [read_commit(path) for path in sorted((out / "train/a").glob("*.parquet"))]
    assert sum(mark is not None and mark.tar is None for mark in marks) == 6
    report = build_shards({"a": folder}, out=out, max_reject_fraction=0.5, **settings)
    assert report.built == 0
    assert len(list(out.rglob("[0-9]*.parquet"))) == len(list(out.rglob("*.tar"))) == 6


def test_two_builds_of_one_folder_do_not_meet(tmp_path: Path) -> None:
    folder, out = write(tmp_path / "in", range(8)), tmp_path / "out"

    def second(done: int, total: int) -> None:
        with pytest.raises(ValueError, match="is being built by another process"):
            build_shards({"a": folder}, out=out, **SETTINGS)

    build_shards({"a": folder}, out=out, progress=second, **SETTINGS)
    with pytest.raises(ValueError, match="lies in the folder of domain a"):
        build_shards({"a": folder}, out=folder / "shards", **SETTINGS)
