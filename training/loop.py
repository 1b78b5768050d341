"""The outer loop of both stages: restore, step, report, show, save, stop. It knows nothing about networks."""

import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from imaging.codec import Pixels
from training.config import ScheduleConfig
from training.data_state import DataState
from training.worker import Worker


class Stage(Protocol):
    """What the loop asks of a stage."""

    position: int  # images of each domain seen
    time_gone: float  # share of the schedule's minutes, told before every step

    def batches(self, start: int) -> Generator[Any, None, None]:
        """Endless batches from position `start` on."""
        ...

    def train_step(self, batch: Any, /) -> dict[str, Tensor]:
        """Learn from one batch, advance `position`, return named scalars."""
        ...

    def measure(self) -> dict[str, float]:
        """Figures of the current weights on held-out data and since the last call."""
        ...

    def samples(self) -> dict[str, Pixels]:
        """Named pictures that show how far training is."""
        ...

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


class Outcome(NamedTuple):
    """How a run ended."""

    position: int  # images of each domain seen
    seconds: float  # of training, over all attempts
    complete: bool  # False: the wall clock ended it


def fit(stage: Stage, worker: Worker, schedule: ScheduleConfig, images_per_position: int) -> Outcome:
    """Run `stage` to the end of its schedule, from its last checkpoint if there is one.

    Args:
        stage: what is trained.
        worker: where it runs, reports to and saves.
        schedule: when things happen.
        images_per_position: images read per position (the number of domains), for throughput.
    """
    elapsed = worker.restore(stage)
    clock = Clock(elapsed)
    meter = Meter(stage.position)
    with closing(stage.batches(stage.position)) as batches:
        stage.time_gone = clock.share_of(schedule.minutes, worker)
        while stage.position < schedule.images and stage.time_gone < 1:
            before = stage.position
            meter.add(stage.train_step(next(batches)))
            # The wall clock is asked once per step, so that all workers hear the same answer.
            stage.time_gone = clock.share_of(schedule.minutes, worker)
            is_last = stage.time_gone >= 1 or stage.position >= schedule.images
            if is_last or crossed(before, stage.position, schedule.log_every):
                record = meter.read(stage.position, images_per_position) | stage.measure()
                worker.log(stage.position, schedule.images, record, clock.seconds)
            if worker.rank == 0 and (is_last or crossed(before, stage.position, schedule.sample_every)):
                worker.show(stage.position, stage.samples())
            if not is_last and crossed(before, stage.position, schedule.save_every):
                worker.save(stage, clock.seconds)
    worker.save(stage, clock.seconds)
    return Outcome(stage.position, clock.seconds, stage.position >= schedule.images)


def crossed(before: int, after: int, every: int) -> bool:
    """Whether a multiple of `every` lies in (before, after]."""
    return after // every > before // every


class Clock:
    """Seconds of training over all attempts; workers agree on when time is up."""

    def __init__(self, elapsed: float):
        self._start = time.monotonic() - elapsed

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._start

    def share_of(self, minutes: float | None, worker: Worker) -> float:
        """How much of `minutes` the first worker's clock has seen, 0 without a limit; every worker must ask."""
        if minutes is None:
            return 0.0
        share = torch.tensor(self.seconds / (60 * minutes) if worker.rank == 0 else 0.0, device=worker.device)
        worker.sum(share)
        return float(share)


class Meter:
    """Means of what steps return between two reports, and the rate of images."""

    def __init__(self, position: int):
        self._reset(position)

    def _reset(self, position: int) -> None:
        self._sums: dict[str, Tensor] = {}
        self._steps = 0
        self._position = position
        self._start = time.monotonic()

    def add(self, metrics: dict[str, Tensor]) -> None:
        """Take in one step; nothing is copied from the device yet."""
        for name, value in metrics.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._steps += 1

    def read(self, position: int, images_per_position: int) -> dict[str, float]:
        """Means since the last reading, with `images_per_second`."""
        means = {name: float(total) / self._steps for name, total in self._sums.items()}
        rate = (position - self._position) * images_per_position / max(time.monotonic() - self._start, 1e-9)
        self._reset(position)
        return means | {"images_per_second": rate}
