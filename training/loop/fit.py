"""The outer loop of both stages: restore, step, report, show, save, stop.

It knows nothing about networks.
"""

import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from imaging.codec import Pixels
from pipelines.progress import Pace, Pulse
from training.checkpointing.data_state import DataState
from training.config import ScheduleConfig
from training.distributed.worker import Worker
from training.hardware import memory_figures
from training.loop.profiler import StepProfiler
from training.loop.provenance import environment
from training.stopwatch import Stopwatch
from training.tracking.reports import Start


class Stage(Protocol):
    """What the loop asks of a stage."""

    position: int  # images of each domain seen

    def batches(self, start: int) -> Generator[Any, None, None]:
        """Endless batches from position `start` on."""
        ...

    def train_step(self, batch: Any, /, time_gone: float) -> dict[str, Tensor]:
        """Learn from one batch, advance `position`, return the named scalars that were computed.

        Args:
            batch: one of `batches`.
            time_gone: share of the schedule's minutes that has passed.
        """
        ...

    def measure(self) -> dict[str, float]:
        """Figures of the current weights on held-out data and since the last call."""
        ...

    def samples(self) -> dict[str, Pixels]:
        """Named pictures that show how far training is."""
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


class Interrupted(Exception):  # noqa: N818
    """Somebody ended a training before its time; what it had learned is saved."""

    def __init__(self, position: int):
        super().__init__(position)
        self.position = position

    def __str__(self) -> str:
        return f"stopped and saved after {self.position} images of each domain"


class Outcome(NamedTuple):
    """How a run ended."""

    position: int  # images of each domain seen
    seconds: float  # of training, over all attempts
    complete: bool  # False: the wall clock ended it


def fit(
    stage: Stage,
    worker: Worker,
    schedule: ScheduleConfig,
    images_per_position: int,
    *,
    profile: int = 0,
) -> Outcome:
    """Run `stage` to the end of its schedule, from its last checkpoint if there is one.

    Args:
        stage: what is trained.
        worker: where it runs, reports to and saves.
        schedule: when things happen.
        images_per_position: images read per position (the number of domains), for throughput.
        profile: steps of which a trace is kept.

    Raises:
        Interrupted: somebody asked for an end before the schedule's; a checkpoint is written.
        StorageError: a checkpoint could not be written.
    """
    clock = Clock(worker.restore(stage), schedule.log_seconds)
    limit = None if schedule.minutes is None else 60 * schedule.minutes
    worker.begin(Start(stage.position, schedule.images, clock.seconds, limit), environment(worker))
    phase = worker.stopwatch.phase
    duties = Duties(stage, worker, schedule, clock, images_per_position)
    with (
        closing(worker),
        closing(stage.batches(stage.position)) as batches,
        StepProfiler(profile, worker) as profiler,
    ):
        look = clock.look(schedule.minutes, worker)
        while stage.position < schedule.images and look.share < 1 and not look.stop:
            before = stage.position
            with phase("data"):
                batch = next(batches)
            with phase("forward"):  # but for what the stage says otherwise
                metrics = stage.train_step(batch, look.share)
            profiler.step(stage.position)
            # Asked once per step, so that all workers hear the same answer.
            look = clock.look(schedule.minutes, worker)
            is_last = look.share >= 1 or stage.position >= schedule.images
            duties.after_step(before, metrics, is_last=is_last, report=look.report)
        # What the last step left, unless that is saved already.
        duties.save()
    complete = stage.position >= schedule.images
    if look.stop and not complete:
        raise Interrupted(stage.position)
    return Outcome(stage.position, clock.seconds, complete)


class Duties:
    """What is done between steps, each at its own time: figures, pictures, checkpoints."""

    def __init__(
        self,
        stage: Stage,
        worker: Worker,
        schedule: ScheduleConfig,
        clock: "Clock",
        images_per_position: int,
    ):
        self._stage = stage
        self._worker = worker
        self._schedule = schedule
        self._clock = clock
        self._images_per_position = images_per_position
        self._meter = Meter(stage.position, worker.stopwatch)
        self._pace = Pace(stage.position, clock.seconds)
        self._pulse = Pulse(clock.seconds)
        self._figures: dict[str, float] = {}  # measured on the weights as they are now

    def after_step(
        self, before: int, metrics: dict[str, Tensor], *, is_last: bool, report: bool
    ) -> None:
        """Do what is due once a step has led from position `before` to the stage's.

        `report`: one is due by the clock.
        """
        stage, worker, schedule, phase = (
            self._stage,
            self._worker,
            self._schedule,
            self._worker.stopwatch.phase,
        )
        self._meter.add(metrics)
        # What was measured was measured on other weights.
        self._figures = {}
        if is_last or report or crossed(before, stage.position, schedule.log_every):
            self._report()
        elif self._pulse.due(seconds := self._clock.seconds):
            rate = self._pace.rate(stage.position, seconds) * self._images_per_position
            worker.pace(stage.position, rate, seconds)
        # Pictures need no other worker.
        if worker.rank == 0 and (is_last or crossed(before, stage.position, schedule.sample_every)):
            with phase("report"):
                worker.show(stage.position, stage.samples())
        is_due = crossed(before, stage.position, schedule.save_every)
        if is_due or worker.wants_to_save(schedule.save_seconds, self._figures):
            with phase("save"):
                self.save()

    def save(self) -> None:
        """Keep the weights as they are now, with what was measured on them."""
        self._worker.save(self._stage, self._clock.seconds, self._figures)

    def _report(self) -> None:
        stage, worker = self._stage, self._worker
        means = self._meter.read(stage.position, self._images_per_position) | memory_figures(
            worker.device
        )
        with worker.stopwatch.phase("report"):
            self._figures = stage.measure()
            worker.log(
                stage.position, self._schedule.images, means | self._figures, self._clock.seconds
            )
        self._clock.reported()
        self._pulse.rest(self._clock.seconds)


def crossed(before: int, after: int, every: int) -> bool:
    """Whether a multiple of `every` lies in (before, after]."""
    # Steps are batches, which need not hit a multiple exactly.
    return after // every > before // every


class Look(NamedTuple):
    """What all workers agree that the clock says."""

    share: float  # of the run's minutes that has passed; 0 without a limit
    stop: bool  # whether somebody wants an end
    report: bool  # whether a report is due


class Clock:
    """Seconds of training over all attempts; workers agree on when time is up.

    Args:
        elapsed: seconds of earlier attempts.
        report_every: seconds after which a report is due; None: never by the clock.
    """

    def __init__(self, elapsed: float, report_every: float | None = None):
        # As if all attempts had been one without a break; no change of the wall clock moves it.
        self._start = time.monotonic() - elapsed
        self._report_every = report_every
        self._reported = elapsed
        self._coming: Callable[[], Tensor] | None = None

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._start

    def reported(self) -> None:
        """There has just been a report."""
        self._reported = self.seconds

    def look(self, minutes: float | None, worker: Worker) -> Look:
        """What the first worker sees; every worker must ask.

        With several workers, what it saw when it was asked the last time: that has arrived
        meanwhile, and no worker waits for another.

        Args:
            minutes: limit of the run.
            worker: who asks.
        """
        share = self.seconds / (60 * minutes) if minutes is not None else 0.0
        # Zeros from all others: the sum is what the first worker sees.
        here = (
            (share, worker.stop_asked(), self._report_is_due())
            if worker.rank == 0
            else (0.0, 0.0, 0.0)
        )
        coming = worker.sum_meanwhile(torch.tensor(here, device=worker.device))
        # The answer to the last question, or in the first step to this one.
        share, stop, report = (self._coming or coming)().tolist()
        self._coming = coming if worker.world_size > 1 else None
        return Look(share, bool(stop), bool(report))

    def _report_is_due(self) -> bool:
        """Whether it is time for one; asked again before the workers have heard of it, no."""
        if self._report_every is None or self.seconds - self._reported < self._report_every:
            return False
        self.reported()
        return True


class Meter:
    """Means of what steps return between two reports, time by phase, the rate of images."""

    def __init__(self, position: int, stopwatch: Stopwatch):
        self._stopwatch = stopwatch
        self._reset(position)

    def _reset(self, position: int) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: Counter[str] = Counter()  # of the steps that have given each
        self._steps = 0
        self._position = position
        self._start = time.monotonic()

    def add(self, metrics: dict[str, Tensor]) -> None:
        """Take in what one step has computed; nothing is copied from the device yet."""
        for name, value in metrics.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._counts.update(metrics.keys())
        self._steps += 1

    def read(self, position: int, images_per_position: int) -> dict[str, float]:
        """Means since the last reading, each over the steps that have given it.

        With `images_per_second`, and `time/PHASE` in ms per step.
        """
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        means |= self._stopwatch.read(self._steps)
        rate = (
            (position - self._position)
            * images_per_position
            / max(time.monotonic() - self._start, 1e-9)
        )
        self._reset(position)
        return means | {"images_per_second": rate}
