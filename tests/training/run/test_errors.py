"""Disks, buckets, shards and memory that fail in mid-run: one sentence, and the last good
checkpoint stays.
"""

import errno
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import torch
from rich.console import Console

from pipelines.images_to_shards import build_shards
from pipelines.storage.shard_files import read_manifest
from pipelines.storage.store import join
from pipelines.synthetic.dataset import DOMAINS, synthesize
from tests.servers import s3_server, upload
from training.checkpointing.checkpoints import Checkpoints
from training.job import Job
from training.launch import Result, train
from training.loop.fit import Interrupted
from training.run.attempt import checkpoints_of
from training.run.errors import TrainingError, explained
from training.settings import override
from training.tracking.mlflow_run import tracked_run
from vqi2i.bundle import fingerprint

QUIET = Console(quiet=True)


@pytest.fixture
def job(stage1_job: Job) -> Job:
    """Thirty steps, saved every four; all checkpoints but two go."""
    settings = ["schedule.images=120", "schedule.log_every=60", "schedule.save_every=16"]
    return stage1_job.model_copy(update={"config": override(stage1_job.config, settings)})


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """A file system of its own with room for `size` bytes."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs the rights of an administrator")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def during(run: Callable[[], Result], there: Callable[[], bool], do: Callable[[], object]) -> None:
    """Train, and do something meanwhile, once something is there."""

    def wait() -> None:
        deadline = time.monotonic() + 60
        while not there() and time.monotonic() < deadline:
            time.sleep(0.005)
        do()

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        run()
    finally:
        thread.join()


def checkpoint_bytes(job: Job, tmp_path: Path) -> int:
    """Size of one checkpoint of a job."""
    short = job.model_copy(
        update={"config": override(job.config, ["schedule.images=4", "schedule.log_every=4"])}
    )
    train(short, tmp_path / "sizing", console=QUIET)
    return (tmp_path / "sizing/checkpoints/0000000004.ckpt").stat().st_size


def test_a_disk_that_fills_up_with_checkpoints_is_named_and_the_last_one_stays(
    job: Job, tmp_path: Path, mlflow_store: str
) -> None:
    undisturbed = train(job, tmp_path / "undisturbed", console=QUIET)
    disk, size = tmp_path / "disk", checkpoint_bytes(job, tmp_path)
    with small_disk(disk, int(2.5 * size)):  # a third does not fit beside the two that are kept
        with pytest.raises(TrainingError) as trouble:
            train(job, tmp_path / "run", storage=str(disk), console=QUIET)
        assert str(trouble.value) == (
            f"{disk}/run/checkpoints/0000000048.ckpt cannot be written (No space left on device): "
            "check space and rights; the same command goes on from "
            f"{disk}/run/checkpoints/0000000032.ckpt"
        )
        assert [path.name for path in sorted((disk / "run/checkpoints").iterdir())] == [
            "0000000016.ckpt",
            "0000000032.ckpt",
        ]
        subprocess.run(["mount", "-o", f"remount,size={10 * size}", str(disk)], check=True)
        assert fingerprint(
            train(job, tmp_path / "run", storage=str(disk), console=QUIET).bundle
        ) == fingerprint(undisturbed.bundle)


def test_a_disk_too_full_for_reports_is_named(job: Job, tmp_path: Path, mlflow_store: str) -> None:
    disk, places = tmp_path / "disk", str(tmp_path / "places")
    with small_disk(disk, 4_000_000):
        run, ballast = disk / "run", disk / "ballast"

        def fill() -> None:
            with suppress(OSError), ballast.open("wb") as stream:
                while True:
                    os.write(stream.fileno(), bytes(512))

        every = override(job.config, ["schedule.log_every=4"])
        often = job.model_copy(update={"config": every})
        with pytest.raises(
            TrainingError, match=r"no space left for .*: make room there; the same command"
        ):
            during(
                lambda: train(often, run, storage=places, console=QUIET),
                lambda: any((tmp_path / "places/run/checkpoints").glob("*.ckpt")),
                fill,
            )
        ballast.unlink()
        assert train(often, run, storage=places, console=QUIET).complete


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[tuple[str, ExitStack]]:
    """Storage in a bucket of its own, and what ends its server."""
    with ExitStack() as server:
        query = server.enter_context(s3_server())
        (tmp_path / "empty").mkdir()
        yield upload(tmp_path / "empty", f"s3://runs/seasons?{query}"), server


def test_a_bucket_that_is_lost_is_named(
    job: Job,
    tmp_path: Path,
    mlflow_store: str,
    monkeypatch: pytest.MonkeyPatch,
    bucket: tuple[str, ExitStack],
) -> None:
    monkeypatch.setattr("pipelines.storage.remote._PAUSES", (0.1,))
    storage, server = bucket
    checkpoints = checkpoints_of(job, join(storage, "run"))
    with pytest.raises(
        TrainingError, match=r"s3://runs/seasons/run/checkpoints/.* cannot be .*: check address"
    ):
        during(
            lambda: train(job, tmp_path / "run", storage=storage, console=QUIET),
            lambda: len(checkpoints.positions()) > 0,
            server.close,
        )


def test_another_machine_goes_on_from_a_bucket_in_the_same_mlflow_run(
    job: Job, tmp_path: Path, mlflow_store: str, bucket: tuple[str, ExitStack]
) -> None:
    here, there = tmp_path / "here/run", tmp_path / "there/run"
    undisturbed = train(job, tmp_path / "undisturbed", console=QUIET)
    checkpoints = checkpoints_of(job, join(bucket[0], "run"))
    with pytest.raises(Interrupted):
        during(
            lambda: train(job, here, storage=bucket[0], console=QUIET),
            lambda: len(checkpoints.positions()) > 0,
            lambda: os.kill(os.getpid(), signal.SIGTERM),
        )
    assert fingerprint(train(job, there, storage=bucket[0], console=QUIET).bundle) == fingerprint(
        undisturbed.bundle
    )
    assert tracked_run(here) == tracked_run(there) is not None


def test_a_shard_that_is_deleted_is_named_and_the_run_goes_on_when_it_is_back(
    job: Job, tmp_path: Path, mlflow_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as with many shards: they are opened again and again
    monkeypatch.setattr("pipelines.storage.shard_files._OPEN_FILES", 1)
    synthesize(tmp_path / "images", pairs=20, size=32, tests=1, wide=0)
    folders = {domain: tmp_path / "images/train" / domain for domain in DOMAINS}
    build_shards(folders, out=tmp_path / "shards", size=32, shard_samples=4)
    job = job.model_copy(update={"data": str(tmp_path / "shards")})
    undisturbed = train(job, tmp_path / "undisturbed", console=QUIET)
    shard, run = tmp_path / "shards/train/summer/000001.tar", tmp_path / "run"
    with pytest.raises(
        ValueError, match=r"summer/000001\.tar cannot be opened \(No such file or directory\): run"
    ):
        during(
            lambda: train(job, run, console=QUIET),
            lambda: any(run.glob("checkpoints/*.ckpt")),
            lambda: shard.rename(tmp_path / "away.tar"),
        )
    (tmp_path / "away.tar").rename(shard)
    assert fingerprint(train(job, run, console=QUIET).bundle) == fingerprint(undisturbed.bundle)


def test_two_processes_do_not_train_the_same_run(
    job: Job, tmp_path: Path, mlflow_store: str
) -> None:
    refused: list[str] = []

    def again() -> None:
        with pytest.raises(ValueError, match="is being trained by another process") as error:
            train(job, tmp_path / "run", console=QUIET)
        refused.append(str(error.value))

    during(
        lambda: train(job, tmp_path / "run", console=QUIET),
        lambda: any(tmp_path.glob("run/checkpoints/*")),
        again,
    )
    assert refused


def test_memory_that_is_not_enough_is_said_as_such(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**60, dtype=torch.uint8)
    sentence = "this machine's memory is not enough: raise accumulate"
    assert (explained(error.value, checkpoints) or "").startswith(sentence)
    assert (explained(MemoryError(), checkpoints) or "").startswith(sentence)
    on_gpu = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore")
    assert explained(on_gpu, checkpoints) == (
        "the GPU's memory is not enough (CUDA out of memory. Tried to allocate 2 GiB.): raise "
        "accumulate, lower batch_size in another --run, or take a larger machine; nothing was "
        "saved yet, the same command begins anew"
    )


def test_a_sentence_of_ours_is_passed_on_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a finished data set") as error:
        read_manifest(tmp_path)
    assert explained(error.value, Checkpoints(tmp_path, keep=1)) == str(error.value)


def test_what_may_go_better_the_next_time_is_not_explained(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    with pytest.raises(ValueError, match="process group") as error:
        # as what is left of a run finds it when a worker has died
        torch.distributed.all_reduce(torch.zeros(1))
    assert explained(error.value, checkpoints) is None
    assert explained(RuntimeError("Connection closed by peer"), checkpoints) is None
    assert explained(OSError(errno.EIO, "Input/output error"), checkpoints) is None
    assert (
        explained(OSError(errno.EROFS, "Read-only file system", "/data/run"), checkpoints)
        is not None
    )
