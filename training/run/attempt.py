"""One attempt at a training on one of its workers: from the newest checkpoint to the end, and what
it leaves.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from imaging.codec import Pixels
from pipelines.storage.store import join
from training.checkpointing.bundles import leave_bundles
from training.checkpointing.checkpoints import Checkpoints
from training.distributed.worker import LocalWorker, Worker
from training.hardware import have_full_float32, keep_freed_memory
from training.job import Job
from training.loop.fit import Outcome, fit
from training.stages.build import AnyStage, make_stage
from training.stages.nan_guard import DivergenceError
from training.tracking.reports import Journal, Start


class Run(NamedTuple):
    """A training, and where it keeps things."""

    job: Job
    folder: Path  # on the driver's machine: figures, pictures, bundles
    place: str  # folder or address that all workers see: the record and the checkpoints

    @property
    def checkpoints(self) -> Checkpoints:
        """What it goes on from."""
        return checkpoints_of(self.job, self.place)


def checkpoints_of(job: Job, place: Path | str) -> Checkpoints:
    """The checkpoints of a run that keeps its files in a folder, or at an address of a bucket."""
    return Checkpoints.of(job.config.schedule, join(place, "checkpoints"))


def attempt(job: Job, worker: Worker, profile: int = 0) -> Outcome:
    """Train to the end; the first worker leaves bundles beside the checkpoints.

    Args:
        job: what is trained on what.
        worker: where, and from which checkpoints on.
        profile: steps of which a trace is kept.

    Raises:
        Interrupted: somebody asked for an end; a checkpoint is written.
        UserError: something that the same attempt would meet again; the message says what, and the
            remedy.
    """
    outcome, stage = _fit(job, worker, profile)
    if worker.rank == 0:
        leave_bundles(stage, worker.checkpoints)
    return outcome


def fit_here(job: Job, run_dir: Path, journal: Journal) -> Outcome:
    """Train in this process, with checkpoints in `run_dir` and without bundles."""
    worker = LocalWorker(
        checkpoints_of(job, run_dir), journal, accept_other_data=job.accept_other_data
    )
    return _fit(job, worker, profile=0)[0]


def export_newest(job: Job, run_dir: Path, target: Path) -> bool:
    """Write the bundle of the newest checkpoint in `run_dir`; False if there is none."""
    checkpoints = checkpoints_of(job, run_dir)
    if (snapshot := checkpoints.newest()) is None:
        return False
    stage = make_stage(job, LocalWorker(checkpoints, _Silence()))
    snapshot.restore(stage, accept_other_data=job.accept_other_data)
    stage.export(target)
    return True


def _fit(job: Job, worker: Worker, profile: int) -> tuple[Outcome, AnyStage]:
    keep_freed_memory()
    have_full_float32(job.config.precision)
    stage = make_stage(job, worker)
    try:
        return fit(
            stage, worker, job.config.schedule, stage.images_per_position, profile=profile
        ), stage
    except DivergenceError as error:
        raise DivergenceError(f"{error}; {_left(worker.checkpoints)}") from error


def _left(checkpoints: Checkpoints) -> str:
    """What a run that has diverged can be taken up from."""
    positions = checkpoints.positions()
    return (
        f"{checkpoints.name(positions[-1])} is from before" if positions else "nothing is saved yet"
    )


class _Silence:
    """A journal that nobody reads."""

    def begin(self, start: Start, facts: Mapping[str, str]) -> None:
        """Let it go."""

    def pace(self, position: int, images_per_second: float, seconds: float) -> None:
        """Let it go."""

    def log(self, position: int, total: int, metrics: Mapping[str, float], seconds: float) -> None:
        """Let it go."""

    def show(self, position: int, pictures: Mapping[str, Pixels]) -> None:
        """Let it go."""

    def keep(self, name: str, content: bytes) -> None:
        """Let it go."""
