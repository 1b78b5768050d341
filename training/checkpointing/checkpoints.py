"""Checkpoints: the state of a stage in one file that tells whether it is whole, and which of them
are kept.
"""

import hashlib
import io
import logging
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from pydantic import Field, ValidationError

from errors import UserError
from pipelines.storage.store import Store
from training.checkpointing.data_state import DataState, refuse_other
from training.config import ScheduleConfig
from training.metrics import Mode, is_better
from vqi2i.bundle import check_replaceable
from vqi2i.checking.frozen import Frozen

BUNDLE = "bundle"
_SUFFIX = ".ckpt"
_VERSION = 1
_ANY_VERSION = re.compile(rb"vqi2i checkpoint (\d+) ")
# with the sha256 of all that follows
_FIRST_LINE = re.compile(rb"vqi2i checkpoint %d ([0-9a-f]{64})\n" % _VERSION)
_HEAD_BYTES = 2**16  # that hold the first two lines
_log = logging.getLogger(__name__)


class Damaged(UserError):  # noqa: N818
    """A file is not a whole checkpoint."""


class OtherVersion(UserError):  # noqa: N818
    """A file is a checkpoint of another version of vqi2i."""


class Checkpointed(Protocol):
    """What can be saved and restored."""

    position: int  # images of each domain seen

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes during training."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        ...

    def data_state(self) -> DataState:
        """Which data it has seen, and would see next."""
        ...


class Head(Frozen):
    """What a checkpoint says of itself, in its second line."""

    position: int  # images of each domain seen
    seconds: float  # of training so far
    figures: dict[str, float] = Field(
        default_factory=dict, description="measured on these very weights"
    )


class Snapshot(NamedTuple):
    """A stage at one moment; nothing in it changes any more."""

    head: Head
    state: dict[str, Any]

    def pack(self) -> bytes:
        """The file's bytes."""
        stream = io.BytesIO()
        stream.write(self.head.model_dump_json().encode() + b"\n")
        torch.save(self.state, stream)
        body = stream.getbuffer()
        return (
            b"vqi2i checkpoint %d %s\n" % (_VERSION, hashlib.sha256(body).hexdigest().encode())
            + body
        )

    @classmethod
    def unpack(cls, data: bytes) -> "Snapshot":
        """The snapshot in a file's bytes.

        Raises:
            Damaged: they are not those that were written.
            OtherVersion: another version of vqi2i has written them.
        """
        version = _ANY_VERSION.match(data)
        if version is not None and int(version[1]) != _VERSION:
            raise OtherVersion(
                f"it has format {int(version[1])} of another version of vqi2i, and this one reads "
                f"format {_VERSION}: go on with that version, or choose another --run"
            )
        first = _FIRST_LINE.match(data)
        if (
            first is None
            or hashlib.sha256(memoryview(data)[first.end() :]).hexdigest() != first[1].decode()
        ):
            raise Damaged("its bytes are not those that were written")
        line_end = data.index(b"\n", first.end())
        head = Head.model_validate_json(data[first.end() : line_end])
        stream = io.BytesIO(memoryview(data)[line_end + 1 :])
        return cls(head, torch.load(stream, weights_only=True, map_location="cpu"))

    def restore(self, stage: Checkpointed, *, accept_other_data: bool) -> None:
        """Put `stage` where it was.

        Raises:
            UserError: it has seen other data than the stage has, or in another order, and that is
                not accepted.
        """
        stage.load_state_dict(self.state["stage"])
        if not accept_other_data:
            refuse_other(self.state.get("data", {}), stage.data_state())


class Checkpoints:
    """The checkpoints of one run in a folder or a bucket, named by position.

    Args:
        root: folder, or address at s3:// or gs://.
        keep: so many of the newest stay.
        best: name of the figure by which one more stays, the best; empty: none.
        mode: whether more or less of it is better.

    Raises:
        StorageError: nothing here can write to such an address.
    """

    def __init__(self, root: Path | str, keep: int, best: str = "", mode: Mode = "max"):
        self.store = Store(root)
        self.keep = keep
        self.metric = best
        self.mode: Mode = mode
        self._heads: dict[int, Head | None] = {}  # of files seen so far; None: it is not readable

    @classmethod
    def of(cls, schedule: ScheduleConfig, root: Path | str) -> "Checkpoints":
        """Those that a schedule wants kept."""
        return cls(root, schedule.keep_checkpoints, schedule.best, schedule.best_mode)

    def positions(self) -> list[int]:
        """Of the checkpoints there are, rising."""
        names = self.store.names()
        return sorted(
            int(name.removesuffix(_SUFFIX))
            for name in names
            if re.fullmatch(rf"\d+\{_SUFFIX}", name)
        )

    def name(self, position: int) -> str:
        """A checkpoint for people: where it lies."""
        return f"{self.store.root}/{_file(position)}"

    def write(self, snapshot: Snapshot) -> None:
        """Add a checkpoint, then remove what need not stay.

        Raises:
            StorageError: there is no space, or the place cannot be reached or written to; older
                ones stay.
        """
        self.store.write(snapshot.pack(), _file(snapshot.head.position))
        self._heads[snapshot.head.position] = snapshot.head
        positions = self.positions()
        for position in set(positions[: -self.keep]) - {self._best_of(positions)}:
            self.store.delete(_file(position))

    def read(self, position: int) -> Snapshot:
        """The checkpoint at a position.

        Raises:
            Damaged: its bytes are not those that were written.
            OtherVersion: another version of vqi2i has written it.
            StorageError: it cannot be read.
        """
        data = self.store.read(_file(position))
        if data is None:
            raise Damaged("it is not there")
        try:
            return Snapshot.unpack(data)
        except OtherVersion as error:
            raise OtherVersion(
                f"{self.name(position)} cannot be used, but is kept: {error}"
            ) from error

    def newest(self) -> Snapshot | None:
        """The newest whole checkpoint; damaged ones are said and removed; raises as `read` does
        about others.
        """
        for position in reversed(self.positions()):
            try:
                return self.read(position)
            except Damaged as error:
                _log.warning(
                    "%s is left out, the one before it is used: %s", self.name(position), error
                )
                self.store.delete(_file(position))
        return None

    def best(self) -> int | None:
        """Position of the best checkpoint by the figure that counts; None if none has it."""
        return self._best_of(self.positions()) if self.metric else None

    def would_be_best(self, figures: Mapping[str, float]) -> bool:
        """Whether weights with these figures are better than all that are kept."""
        return self.metric in figures and is_better(
            figures[self.metric], self._figure(self.best()), self.mode
        )

    def _best_of(self, positions: Sequence[int]) -> int | None:
        found: int | None = None
        for position in positions:
            value = self._figure(position)
            if value is not None and is_better(value, self._figure(found), self.mode):
                found = position
        return found

    def _figure(self, position: int | None) -> float | None:
        """The figure that counts of a checkpoint; None if it was not measured."""
        if position is None or not self.metric:
            return None
        if position not in self._heads:
            self._heads[position] = _head(self.store.read_start(_file(position), _HEAD_BYTES))
        head = self._heads[position]
        return head.figures.get(self.metric) if head is not None else None


def _file(position: int) -> str:
    return f"{position:010d}{_SUFFIX}"


def _head(data: bytes | None) -> Head | None:
    try:
        return Head.model_validate_json((data or b"").split(b"\n", 2)[1])
    except (IndexError, ValidationError):
        return None


def snapshot_of(stage: Checkpointed, seconds: float, figures: Mapping[str, float]) -> Snapshot:
    """A copy of a stage's state in main memory.

    Args:
        stage: what is trained.
        seconds: of training so far.
        figures: measured on its weights as they are now, if they were.
    """
    state = {"stage": stage.state_dict(), "data": stage.data_state().model_dump()}
    return Snapshot(
        Head(position=stage.position, seconds=seconds, figures=dict(figures)), _copied(state)
    )


def _copied(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {name: _copied(each) for name, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list) else value


def take_bundle(source: Path, target: Path) -> None:
    """Copy a bundle; one that is at `target` already is replaced once the copy is whole.

    Raises:
        BundleError: something else than a bundle is there.
    """
    check_replaceable(target)
    staging = target.with_name(f".{target.name}-new")
    shutil.rmtree(staging, ignore_errors=True)
    shutil.copytree(source, staging)
    shutil.rmtree(target, ignore_errors=True)
    staging.rename(target)
