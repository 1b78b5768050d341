"""Checkpoints: a bundle and the rest of a stage's state in one directory that appears at once or not at all."""

import shutil
import tempfile
from pathlib import Path
from typing import Any, Protocol

import torch

from training.data_state import DataState, refuse_other

BUNDLE = "bundle"
_STATE = "state.pt"


class Checkpointed(Protocol):
    """What can be saved and restored."""

    def export(self, path: Path) -> None:
        """Write the bundle of the current weights."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes during training."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        ...

    def data_state(self) -> DataState:
        """Which data it has seen, and would see next."""
        ...


def write(directory: Path, stage: Checkpointed, seconds: float) -> None:
    """Write a checkpoint into an empty directory; `seconds` is the training time so far."""
    stage.export(directory / BUNDLE)
    state = {"stage": stage.state_dict(), "data": stage.data_state().model_dump(), "seconds": seconds}
    torch.save(state, directory / _STATE)


def read(directory: Path, stage: Checkpointed, *, accept_other_data: bool = False) -> float:
    """Restore `stage` from a checkpoint; return its training time in seconds.

    Raises:
        ValueError: the checkpoint has seen other data than the stage has, or in another order, and that is not
            accepted.
    """
    state = torch.load(directory / _STATE, weights_only=True, map_location="cpu")
    stage.load_state_dict(state["stage"])
    if not accept_other_data:
        refuse_other(state.get("data", {}), stage.data_state())
    return state["seconds"]


def take_bundle(source: Path, target: Path) -> None:
    """Copy a bundle out of a checkpoint; one that is at `target` already is replaced once the copy is whole."""
    staging = target.with_name(f".{target.name}-new")
    shutil.rmtree(staging, ignore_errors=True)
    shutil.copytree(source, staging)
    shutil.rmtree(target, ignore_errors=True)
    staging.rename(target)


class CheckpointFolder:
    """The checkpoints of one run on a local disk, named by position; only the newest `keep` stay."""

    def __init__(self, root: Path, keep: int):
        self.root = root
        self.keep = keep

    def all(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        return sorted(path for path in self.root.glob("[0-9]*") if path.is_dir())

    def save(self, stage: Checkpointed, position: int, seconds: float) -> Path:
        """Write a checkpoint beside the others and rename it into place."""
        self.root.mkdir(parents=True, exist_ok=True)
        for abandoned in self.root.glob(".new-*"):
            shutil.rmtree(abandoned)
        staging = Path(tempfile.mkdtemp(prefix=".new-", dir=self.root))
        write(staging, stage, seconds)
        target = self.root / f"{position:010d}"
        if target.exists():
            shutil.rmtree(target)
        staging.rename(target)
        for old in self.all()[: -self.keep]:
            shutil.rmtree(old)
        return target
