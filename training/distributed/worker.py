"""Where a stage runs, reports to and saves; with Ray Train see `ray_worker`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch

from imaging.codec import Pixels
from training.checkpointing.async_writer import Saver
from training.checkpointing.checkpoints import Checkpointed, Checkpoints
from training.distributed.collectives import Collectives
from training.tracking.reports import Journal, ReportKind, Start


class Worker(Collectives, ABC):
    """Where a stage runs: its collectives, and the checkpoints and reports of which the first
    worker takes care.

    Args:
        checkpoints: in a place that all workers see.
        accept_other_data: see `restore`.
        place: see `Collectives`.
    """

    def __init__(self, checkpoints: Checkpoints, *, accept_other_data: bool, **place: Any):
        super().__init__(**place)
        self.checkpoints = checkpoints
        self.accept_other_data = accept_other_data
        self._saver = Saver(checkpoints, self._settle)
        self._saved: int | None = None  # position of the newest checkpoint

    def begin(self, start: Start, facts: Mapping[str, str]) -> None:
        """Report where an attempt begins, and with what."""
        self._tell("begin", start, facts)

    def pace(self, position: int, images_per_second: float, seconds: float) -> None:
        """Tell how far training is and how fast: nothing that is written down."""
        self._tell("pace", position, images_per_second, seconds)

    def log(self, position: int, total: int, metrics: Mapping[str, float], seconds: float) -> None:
        """Report figures."""
        self._tell("log", position, total, metrics, seconds)

    def show(self, position: int, pictures: Mapping[str, Pixels]) -> None:
        """Report sample pictures."""
        self._tell("show", position, pictures)

    def keep(self, name: str, content: bytes) -> None:
        """Report a file that belongs into the run's folder."""
        self._tell("keep", name, content)

    def _tell(self, kind: ReportKind, *report: Any) -> None:
        if self.rank == 0:
            self._pass_on(kind, *report)

    @abstractmethod
    def _pass_on(self, kind: ReportKind, *report: Any) -> None:
        """Bring the first worker's report to the journal's method `kind`."""

    @abstractmethod
    def _settle(self) -> None:
        """Wait until the journal has written down what it was told: a checkpoint of later steps
        would hide the rest.
        """

    @abstractmethod
    def stop_asked(self) -> bool:
        """Whether somebody wants training to save and stop; only the first worker knows."""

    def save(self, stage: Checkpointed, seconds: float, figures: Mapping[str, float]) -> None:
        """Begin a checkpoint, unless there is one of this position; see `Saver.save`."""
        if self.rank == 0 and self._saved != stage.position:
            self._saver.save(stage, seconds, figures)
            self._saved = stage.position

    def wants_to_save(self, every: float | None, figures: Mapping[str, float]) -> bool:
        """Whether a checkpoint is due by the clock, or `figures` are the best so far; only the
        first worker knows.
        """
        return self.rank == 0 and (
            self._saver.is_due(every) or self.checkpoints.would_be_best(figures)
        )

    def restore(self, stage: Checkpointed) -> float:
        """Continue from the newest whole checkpoint, the same on all workers.

        Returns:
            Seconds trained before it, 0 without one.

        Raises:
            UserError: it was made on other data, and that is not accepted; or it cannot be read.
        """
        snapshot = self.checkpoints.newest() if self.rank == 0 else None
        found = torch.tensor(snapshot.head.position if snapshot else -1, device=self.device)
        self.sum(found.mul_(self.rank == 0))
        if found < 0:
            return 0.0
        snapshot = snapshot or self.checkpoints.read(int(found))
        snapshot.restore(stage, accept_other_data=self.accept_other_data)
        self._saved = snapshot.head.position
        return snapshot.head.seconds

    def close(self) -> None:
        """Wait until the last checkpoint and report are written; raises what hindered the
        checkpoint.
        """
        self._saver.wait()
        if self.rank == 0:  # nobody else has reported
            self._settle()


class LocalWorker(Worker):
    """The only process: no Ray."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        journal: Journal,
        *,
        accept_other_data: bool = False,
        stop_asked: Callable[[], bool] = lambda: False,
    ):
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        super().__init__(checkpoints, device=device, accept_other_data=accept_other_data)
        self.journal = journal
        self._stop_asked = stop_asked

    def _pass_on(self, kind: ReportKind, *report: Any) -> None:
        getattr(self.journal, kind)(*report)

    def _settle(self) -> None:
        return  # it writes while it is told

    def stop_asked(self) -> bool:
        """Whether somebody in this process wants an end."""
        return self._stop_asked()
