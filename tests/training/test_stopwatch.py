from collections.abc import Callable

import pytest
import torch

from training.stopwatch import IN_A_STEP, Stopwatch

Pass = Callable[[float], None]


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Pass:
    """Lets milliseconds pass on the stopwatch's clock."""
    now = 100.0

    def pass_milliseconds(milliseconds: float) -> None:
        nonlocal now
        now += milliseconds / 1000

    monkeypatch.setattr("training.stopwatch.perf_counter", lambda: now)
    return pass_milliseconds


@pytest.fixture
def stopwatch(pass_time: Pass) -> Stopwatch:
    return Stopwatch(torch.device("cpu"))


def test_time_belongs_to_the_innermost_phase(stopwatch: Stopwatch, pass_time: Pass) -> None:
    with stopwatch.phase("optimiser"):
        pass_time(2)
        with stopwatch.phase("communication"):
            pass_time(5)
        pass_time(1)
    figures = stopwatch.read(1)
    assert figures["time/optimiser"] == pytest.approx(3)
    assert figures["time/communication"] == pytest.approx(5)
    assert figures["time/data"] == 0


def test_a_steps_phases_add_up_to_the_step_and_reports_and_checkpoints_come_on_top(
    stopwatch: Stopwatch, pass_time: Pass
) -> None:
    for _ in range(20):
        for milliseconds, phase in enumerate(IN_A_STEP, start=1):
            with stopwatch.phase(phase):
                pass_time(milliseconds)
    with stopwatch.phase("save"):
        pass_time(30)
    figures = stopwatch.read(20)
    assert [figures[f"time/{phase}"] for phase in IN_A_STEP] == pytest.approx([1, 2, 3, 4, 5])
    assert figures["time/step"] == pytest.approx(15)
    assert figures["time/save"] == pytest.approx(1.5)


def test_what_is_between_phases_and_before_the_last_reading_does_not_count(
    stopwatch: Stopwatch, pass_time: Pass
) -> None:
    with stopwatch.phase("data"):
        pass_time(10)
    stopwatch.read(1)
    pass_time(10)
    with stopwatch.phase("forward"):
        pass_time(1)
    figures = stopwatch.read(1)
    assert figures["time/data"] == 0
    assert figures["time/step"] == pytest.approx(1)


def test_an_error_closes_its_phase(stopwatch: Stopwatch, pass_time: Pass) -> None:
    with pytest.raises(RuntimeError), stopwatch.phase("backward"):
        raise RuntimeError
    pass_time(10)
    with stopwatch.phase("data"):
        pass_time(1)
    assert stopwatch.read(1)["time/backward"] == 0


def test_many_marks_between_two_readings_are_all_counted(
    stopwatch: Stopwatch, pass_time: Pass
) -> None:
    for _ in range(10_000):
        with stopwatch.phase("forward"):
            pass_time(1)
            with stopwatch.phase("backward"):
                pass_time(2)
    figures = stopwatch.read(1)
    assert (figures["time/forward"], figures["time/backward"]) == pytest.approx((10_000, 20_000))
