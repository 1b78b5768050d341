"""The bundles that a run leaves beside its checkpoints, each in one file, and how they come to the
run's folder.
"""

import io
import logging
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Protocol

from pipelines.storage.store import Store
from training.checkpointing.checkpoints import (
    BUNDLE,
    Checkpointed,
    Checkpoints,
    Damaged,
    OtherVersion,
)

_log = logging.getLogger(__name__)


class Exported(Checkpointed, Protocol):
    """What has a bundle."""

    def export(self, path: Path, chosen_by: str = "") -> None:
        """Write the bundle of the current weights.

        Args:
            path: where.
            chosen_by: the figure by which they are the best; empty: they are the last.
        """
        ...


def leave_bundles(stage: Exported, checkpoints: Checkpoints) -> None:
    """Export the last weights, and the best if these are others; `stage` holds the best afterwards.

    Raises:
        StorageError: the place of the checkpoints is full or cannot be reached.
    """
    last, best = stage.position, checkpoints.best()
    _put(stage, checkpoints.store, "last")
    checkpoints.store.delete(_file("best"))
    if best is None or best == last:
        return
    try:
        checkpoints.read(best).restore(stage, accept_other_data=True)
    except (Damaged, OtherVersion) as error:
        _log.warning("%s is left out, it was the best: %s", checkpoints.name(best), error)
        return
    _put(stage, checkpoints.store, "best", chosen_by=checkpoints.metric)


def fetch_bundle(checkpoints: Checkpoints, name: str, target: Path) -> bool:
    """Put a bundle that `leave_bundles` has left, `last` or `best`, into a folder; False if there
    is none.

    A bundle that is at `target` already is replaced once the new one is whole.
    """
    data = checkpoints.store.read(_file(name))
    if data is None:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as folder:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            archive.extractall(folder, filter="data")
        shutil.rmtree(target, ignore_errors=True)
        (Path(folder) / BUNDLE).rename(target)
    return True


def _put(stage: Exported, store: Store, name: str, *, chosen_by: str = "") -> None:
    stream = io.BytesIO()
    with tempfile.TemporaryDirectory(prefix="vqi2i-") as folder:
        stage.export(Path(folder) / BUNDLE, chosen_by)
        with tarfile.open(fileobj=stream, mode="w") as archive:
            archive.add(Path(folder) / BUNDLE, BUNDLE)
    store.write(stream.getvalue(), _file(name))


def _file(name: str) -> str:
    return f"{name}.tar"
