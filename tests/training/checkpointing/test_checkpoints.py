"""Which checkpoints stay, which is read, and what happens when one is damaged or cannot be
written.
"""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.storage.remote import StorageError
from tests.servers import upload
from training.checkpointing.async_writer import Saver
from training.checkpointing.checkpoints import (
    Checkpoints,
    Damaged,
    OtherVersion,
    Snapshot,
    snapshot_of,
)
from training.checkpointing.data_state import DataState


class Weights:
    """A stage that is one tensor."""

    def __init__(self, position: int = 0, value: float = 0.0):
        self.position = position
        self.tensor = torch.full((1000,), value)

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position, "tensor": self.tensor}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.position = state["position"]
        self.tensor.copy_(state["tensor"])

    def data_state(self) -> DataState:
        return DataState(
            position=self.position, seed=0, manifest="none", global_batch=1, order="samples"
        )


def snapshot(position: int, **figures: float) -> Snapshot:
    return snapshot_of(Weights(position, position), 1.5 * position, figures)


@pytest.fixture(params=["folder", "bucket"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """A place for checkpoints that does not exist yet."""
    if request.param == "folder":
        return tmp_path / "run/checkpoints"
    query = request.getfixturevalue("s3")
    (tmp_path / "empty").mkdir()
    upload(tmp_path / "empty", f"s3://runs/nothing?{query}")
    return f"s3://runs/{tmp_path.name}/checkpoints?{query}"


def test_the_newest_and_the_best_stay(root: Path | str) -> None:
    checkpoints = Checkpoints(root, keep=2, best="held_out_psnr")
    assert checkpoints.newest() is None
    for position, value in enumerate([20.0, 23.0, 21.0, None, 22.0]):
        checkpoints.write(
            snapshot(position, **({"held_out_psnr": value} if value is not None else {}))
        )
    again = Checkpoints(root, keep=2, best="held_out_psnr")  # as another process finds them
    for each in (checkpoints, again):
        assert each.positions() == [1, 3, 4]
        assert each.best() == 1
        assert each.would_be_best({"held_out_psnr": 23.5})
        assert not each.would_be_best({"held_out_psnr": 22.5})
        assert not each.would_be_best({"held_out_psnr": float("nan")})
        assert not each.would_be_best({})
    fewest = Checkpoints(root, keep=1, best="held_out_psnr", mode="min")
    fewest.write(snapshot(5, held_out_psnr=21.5))
    assert fewest.positions() == [5]


def test_a_checkpoint_comes_back_as_it_was(root: Path | str) -> None:
    checkpoints = Checkpoints(root, keep=2)
    checkpoints.write(snapshot(7, nll=0.5))
    found = checkpoints.newest()
    assert found is not None
    assert (found.head.position, found.head.seconds, found.head.figures) == (7, 10.5, {"nll": 0.5})
    stage = Weights()
    found.restore(stage, accept_other_data=False)
    assert stage.position == 7
    assert torch.equal(stage.tensor, torch.full((1000,), 7.0))


@pytest.mark.parametrize("damage", ["cut", "flip", "header", "empty"])
def test_a_damaged_newest_checkpoint_is_said_and_left_out(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = Checkpoints(tmp_path, keep=3)
    for position in (1, 2):
        checkpoints.write(snapshot(position))
    file = tmp_path / "0000000002.ckpt"
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[-500] ^= 1
    elif damage == "header":
        data[data.index(b'"seconds"') + 11] ^= 1
    file.write_bytes({"cut": data[:-1], "empty": b""}.get(damage, bytes(data)))
    found = checkpoints.newest()
    assert found is not None
    assert found.head.position == 1
    assert f"{file} is left out, the one before it is used" in caplog.text
    assert checkpoints.positions() == [1]
    with pytest.raises(Damaged):
        checkpoints.read(2)


@pytest.mark.parametrize("version", [0, 2, 17])
def test_a_checkpoint_of_another_version_is_kept_and_told(version: int, root: Path | str) -> None:
    checkpoints = Checkpoints(root, keep=3)
    checkpoints.write(snapshot(1))
    data = snapshot(2).pack().replace(b"vqi2i checkpoint 1 ", b"vqi2i checkpoint %d " % version, 1)
    checkpoints.store.write(data, "0000000002.ckpt")
    with pytest.raises(
        OtherVersion,
        match=rf"0000000002\.ckpt cannot be used, but is kept: it has format {version} of",
    ):
        checkpoints.newest()
    assert checkpoints.store.read("0000000002.ckpt") == data


def test_what_a_killed_writer_left_is_never_read(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    checkpoints.write(snapshot(1))
    whole = (tmp_path / "0000000001.ckpt").read_bytes()
    (tmp_path / "0000000002.ckpt.tmp").write_bytes(whole[: len(whole) // 2])
    found = checkpoints.newest()
    assert found is not None
    assert found.head.position == 1


def test_training_does_not_wait_for_the_disk_and_the_copy_does_not_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints, stage = Checkpoints(tmp_path, keep=2), Weights(1, 1.0)
    write, may_go_on = checkpoints.write, threading.Event()

    def slow(taken: Snapshot) -> None:
        assert may_go_on.wait(10)
        write(taken)

    monkeypatch.setattr(checkpoints, "write", slow)
    saver = Saver(checkpoints)
    saver.save(stage, 1.0, {})
    stage.tensor += 1  # the next step
    assert checkpoints.positions() == []
    assert not saver.is_due(0)  # one is on its way
    may_go_on.set()
    saver.wait()
    assert torch.equal(checkpoints.read(1).state["stage"]["tensor"], torch.ones(1000))


def test_saving_by_the_clock_takes_no_more_than_its_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("training.checkpointing.async_writer.time.monotonic", lambda: now[0])
    monkeypatch.setattr("training.checkpointing.async_writer.time.thread_time", lambda: now[0])
    checkpoints = Checkpoints(tmp_path, keep=2)

    def dear(taken: Snapshot) -> None:
        now[0] += 0.5

    monkeypatch.setattr(checkpoints, "write", dear)
    saver = Saver(checkpoints)
    assert not saver.is_due(None)
    assert not saver.is_due(10)
    now[0] += 10
    assert saver.is_due(10)
    saver.save(Weights(1), 0.0, {})
    saver.wait()
    now[0] = 100 + 10 + 24
    assert not saver.is_due(10)  # half a second of writing wants 25 seconds of training
    now[0] += 1.5
    assert saver.is_due(10)


def test_a_failed_write_is_told_by_the_next_save_and_older_ones_stay(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "run", keep=1)
    checkpoints.write(snapshot(1))
    saver = Saver(checkpoints)
    (tmp_path / "run/0000000002.ckpt.tmp").mkdir()  # nothing can be written under this name
    saver.save(Weights(2), 0.0, {})
    with pytest.raises(
        StorageError, match=r"0000000002\.ckpt cannot be written \(Is a directory\): check space"
    ):
        saver.save(Weights(3), 0.0, {})
    assert checkpoints.positions() == [1]


def test_an_address_that_cannot_be_written_is_refused(
    s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.storage.remote._PAUSES", (0.1,))
    with pytest.raises(
        StorageError, match=r"https://example\.org cannot be written to: give a folder"
    ):
        Checkpoints("https://example.org", keep=1)
    with pytest.raises(
        StorageError, match=r"s3://no-such-bucket-here/.* cannot be written .*: check address"
    ):
        Checkpoints(f"s3://no-such-bucket-here/run?{s3}", keep=1).write(snapshot(1))


def test_the_head_can_be_read_without_the_rest(tmp_path: Path) -> None:
    Checkpoints(tmp_path, keep=1).write(snapshot(3, codes_used=0.5))
    second = (tmp_path / "0000000003.ckpt").read_bytes().split(b"\n")[1]
    assert json.loads(second)["figures"] == {"codes_used": 0.5}
