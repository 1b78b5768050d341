import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from imaging.codec import Pixels
from training.checkpointing.data_state import DataState
from training.config import ScheduleConfig
from training.distributed.worker import LocalWorker
from training.loop.fit import Clock, crossed, fit
from training.tracking.journal import read_metrics


class Counting:
    """A stage that learns nothing but the sum of the batches it has seen; a batch is its own
    position.
    """

    def __init__(self) -> None:
        self.position = 0
        self.total = 0
        self.closed = False

    def batches(self, start: int) -> Generator[int, None, None]:
        try:
            while True:
                yield start
                start += 4
        finally:
            self.closed = True

    def train_step(self, batch: Any, time_gone: float = 0.0) -> dict[str, Tensor]:
        assert batch == self.position
        self.total += batch
        self.position += 4
        return {"seen": torch.tensor(float(batch))}

    def measure(self) -> dict[str, float]:
        return {"total": self.total}

    def samples(self) -> dict[str, Pixels]:
        return {"black": np.zeros((2, 2, 3), np.uint8)}

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position, "total": self.total}

    def data_state(self) -> DataState:
        return DataState(
            position=self.position, seed=0, manifest="none", global_batch=4, order="samples"
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.position, self.total = state["position"], state["total"]


def _reported(run_dir: Path) -> list[float]:
    return [row["position"] for row in read_metrics(run_dir)]


def _saved(worker: LocalWorker) -> list[int]:
    return worker.checkpoints.positions()


def test_reports_pictures_and_checkpoints_come_when_the_schedule_says(
    worker: LocalWorker, tmp_path: Path
) -> None:
    schedule = ScheduleConfig(images=40, log_every=8, sample_every=20, save_every=16)
    stage = Counting()
    outcome = fit(stage, worker, schedule, images_per_position=2)
    assert (outcome.position, outcome.complete) == (40, True)
    assert _reported(tmp_path) == [8, 16, 24, 32, 40]
    assert [int(file.stem[-10:]) for file in sorted((tmp_path / "samples").iterdir())] == [20, 40]
    assert _saved(worker) == [32, 40]  # the newest two
    assert stage.closed


def test_a_report_is_the_mean_since_the_last_one(worker: LocalWorker, tmp_path: Path) -> None:
    fit(Counting(), worker, ScheduleConfig(images=16, log_every=8), images_per_position=1)
    first, second = read_metrics(tmp_path)
    assert (first["seen"], second["seen"]) == (2, 10)  # of 0 and 4, of 8 and 12
    assert second["total"] == 24
    assert second["images_per_second"] > 0


def test_steps_that_taught_nothing_stay_out_of_the_means(
    worker: LocalWorker, tmp_path: Path
) -> None:
    class LeavingOut(Counting):
        def train_step(self, batch: Any, time_gone: float = 0.0) -> dict[str, Tensor]:
            learned = super().train_step(batch)
            return {} if batch in (4, 8, 12) else learned

    fit(LeavingOut(), worker, ScheduleConfig(images=24, log_every=8), images_per_position=1)
    first, second, third = read_metrics(tmp_path)
    assert (first["seen"], "seen" in second, third["seen"]) == (0, False, 18)


def test_what_is_computed_now_and_then_is_the_mean_over_those_steps(
    worker: LocalWorker, tmp_path: Path
) -> None:
    class Occasional(Counting):
        def train_step(self, batch: Any, time_gone: float = 0.0) -> dict[str, Tensor]:
            penalty = (
                {"penalty": torch.tensor(float(batch))} if batch % 12 == 0 and batch < 24 else {}
            )
            return super().train_step(batch) | penalty

    fit(Occasional(), worker, ScheduleConfig(images=48, log_every=16), images_per_position=1)
    first, second, third = read_metrics(tmp_path)
    assert (first["seen"], second["seen"], third["seen"]) == (6, 22, 38)
    assert first["penalty"] == 6  # of 0 and 12, in four steps
    assert "penalty" not in second
    assert "penalty" not in third


def test_an_interrupted_run_goes_on_from_its_last_checkpoint(
    worker: LocalWorker, tmp_path: Path
) -> None:
    schedule = ScheduleConfig(images=40, log_every=8, save_every=16)
    interrupted = Counting()

    def fail(batch: int, time_gone: float) -> dict[str, Tensor]:
        if batch == 24:
            raise RuntimeError("lights out")
        return Counting.train_step(interrupted, batch)

    interrupted.train_step = fail  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="lights out"):
        fit(interrupted, worker, schedule, images_per_position=1)
    assert _saved(worker) == [16]

    resumed = Counting()
    assert fit(resumed, worker, schedule, images_per_position=1).complete
    assert resumed.total == sum(range(0, 40, 4))
    assert _reported(tmp_path) == [8, 16, 24, 32, 40]


def test_the_wall_clock_ends_a_run_with_a_checkpoint(worker: LocalWorker) -> None:
    outcome = fit(
        Counting(), worker, ScheduleConfig(images=10**9, minutes=0.05 / 60), images_per_position=1
    )
    assert not outcome.complete
    assert 0 < outcome.position < 10**9
    assert _saved(worker)[-1] == outcome.position


def test_time_of_earlier_attempts_counts(worker: LocalWorker) -> None:
    assert 0.99 < Clock(elapsed=59.9).look(1, worker).share < 1
    assert Clock(elapsed=60.1).look(1, worker).share > 1
    assert Clock(elapsed=1e9).look(None, worker) == (0, False, False)


def test_reports_come_by_the_clock_as_well(worker: LocalWorker, tmp_path: Path) -> None:
    class Slow(Counting):
        def train_step(self, batch: Any, time_gone: float = 0.0) -> dict[str, Tensor]:
            time.sleep(0.02)
            return super().train_step(batch)

    fit(
        Slow(),
        worker,
        ScheduleConfig(images=200, log_every=100, log_seconds=0.2),
        images_per_position=1,
    )
    reported = _reported(tmp_path)
    assert {100, 200} < set(reported)
    assert 3 <= len(reported) < 20  # not at every step


def test_a_report_that_is_due_is_due_once(worker: LocalWorker) -> None:
    clock = Clock(elapsed=50, report_every=10)
    assert not clock.look(None, worker).report
    clock = Clock(elapsed=50, report_every=1e-9)
    assert clock.look(None, worker).report
    clock._report_every = 10
    assert not clock.look(None, worker).report


def test_between_reports_a_run_tells_how_fast_it_is(
    worker: LocalWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(Counting):
        def train_step(self, batch: Any, time_gone: float = 0.0) -> dict[str, Tensor]:
            time.sleep(0.02)
            return super().train_step(batch)

    told: list[tuple[int, float]] = []
    monkeypatch.setattr(
        worker.journal, "pace", lambda position, rate, seconds: told.append((position, rate))
    )
    monkeypatch.setattr("pipelines.progress.Pulse.FIRST", 0.1)
    fit(
        Slow(),
        worker,
        ScheduleConfig(images=80, log_every=80, log_seconds=None),
        images_per_position=2,
    )
    assert [position for position, _ in told] == sorted({position for position, _ in told})
    assert 1 <= len(told) <= 3  # at .1, .2 and .4 s at most
    assert 0 < told[0][1] < 2 * 4 / 0.02
    assert _reported(tmp_path) == [80]


@pytest.mark.parametrize(
    ("before", "after", "expected"), [(0, 4, False), (4, 8, True), (8, 12, False), (4, 24, True)]
)
def test_a_step_that_jumps_over_a_multiple_has_crossed_it(
    before: int, after: int, expected: bool
) -> None:
    assert crossed(before, after, 8) is expected


def test_a_report_says_where_the_time_and_the_memory_went(
    worker: LocalWorker, tmp_path: Path
) -> None:
    class Slow(Counting):
        def train_step(self, batch: Any, time_gone: float = 0.0) -> dict[str, Tensor]:
            with worker.stopwatch.phase("backward"):
                time.sleep(0.02)
            return super().train_step(batch)

    fit(Slow(), worker, ScheduleConfig(images=16, log_every=8, save_every=8), images_per_position=1)
    _, last = read_metrics(tmp_path)
    assert 20 <= last["time/backward"] <= last["time/step"]
    assert last["time/save"] > 0  # of the checkpoint between the reports
    assert last["time/communication"] == 0  # alone
    assert last["memory/resident"] > 50
