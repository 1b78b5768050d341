"""Checkpoints in the background: training waits for a copy of its state, never for a disk or a
network.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from training.checkpointing.checkpoints import Checkpointed, Checkpoints, Snapshot, snapshot_of

_SHARE = 0.02  # of the time that saving by the clock may cost


class Saver:
    """Copies states on the training's thread and writes them on one of its own, one after the
    other.

    Args:
        checkpoints: where they go.
        settle: called on the saver's thread before a checkpoint is written.
    """

    def __init__(self, checkpoints: Checkpoints, settle: Callable[[], None] = lambda: None):
        self._settle = settle
        self.checkpoints = checkpoints
        self._thread = ThreadPoolExecutor(1, "saver")
        self._writing: Future[float] | None = None
        self._saved_at = time.monotonic()
        self._cost = 0.0  # seconds of computing that the last checkpoint took
        self._copying = 0.0

    def is_due(self, every: float | None) -> bool:
        """Whether `every` seconds have gone since the last checkpoint, and enough for what that one
        has cost.
        """
        if every is None or (self._writing is not None and not self._writing.done()):
            return False
        self._collect()
        return time.monotonic() - self._saved_at >= max(every, self._cost / _SHARE)

    def save(self, stage: Checkpointed, seconds: float, figures: Mapping[str, float]) -> None:
        """Begin a checkpoint, once the one before it is written.

        Args:
            stage: what is trained.
            seconds: of training so far.
            figures: measured on its weights as they are now, if they were.

        Raises:
            StorageError: the one before it could not be written.
        """
        self._collect()
        self._saved_at = time.monotonic()
        snapshot = snapshot_of(stage, seconds, figures)
        self._copying = time.monotonic() - self._saved_at
        self._writing = self._thread.submit(self._write, snapshot)

    def wait(self) -> None:
        """Wait until the last checkpoint is written.

        Raises:
            StorageError: it could not be.
        """
        self._collect()

    def _write(self, snapshot: Snapshot) -> float:
        self._settle()
        start = time.thread_time()
        self.checkpoints.write(snapshot)
        return time.thread_time() - start

    def _collect(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            self._cost = writing.result() + self._copying
