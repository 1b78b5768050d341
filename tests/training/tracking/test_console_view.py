import io

import pytest
from rich.console import Console

from pipelines.progress import duration
from training.tracking.console_view import LiveView, view
from training.tracking.reports import Start

FIGURES = {
    "pixel": 0.25,
    "style": 0.125,
    "codes_used": 0.5,
    "images_per_second": 40.0,
    "time/data": 2.0,
    "time/forward": 78.0,
    "time/backward": 100.0,
    "time/optimiser": 20.0,
    "time/communication": 0.0,
    "time/step": 200.0,
    "memory/resident": 1500.0,
}


def _console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, force_terminal=terminal, width=120, color_system=None), text


def test_a_file_gets_a_line_for_every_report() -> None:
    console, text = _console(terminal=False)
    with view("first", console) as shown:
        shown.begin(Start(0, 1000, 0.0, None))
        shown.show(250, 1000, FIGURES, 60.0)
        shown.show(500, 1000, FIGURES, 120.0)
    assert text.getvalue().splitlines() == [
        "first 250/1000 40.0 images/s, 3.0 min left, pixel 0.25 codes_used 0.5",
        "first 500/1000 40.0 images/s, 2.0 min left, pixel 0.25 codes_used 0.5",
    ]


def test_a_terminal_shows_terms_where_the_time_went_and_memory() -> None:
    console, text = _console(terminal=True)
    with view("first", console) as shown:
        assert isinstance(shown, LiveView)
        shown.begin(Start(0, 1000, 0.0, None))
        shown.show(250, 1000, FIGURES, 60.0)
    said = text.getvalue()
    time = "step 200 ms: data 1%, forward 39%, backward 50%, optimiser 10%, communication 0%"
    rate = "40.0 images/s, 3.0 min left"
    for part in (
        "first",
        "25 %",
        "250/1000",
        rate,
        "pixel 0.25",
        "style 0.125",
        time,
        "memory 1.5 GB",
    ):
        assert part in said


def test_time_left_is_reckoned_from_the_pace_of_this_attempt_alone() -> None:
    shown = view("first", _console(terminal=False)[0])
    shown.begin(Start(500, 1000, 5000.0, None))  # the attempt before took ten seconds an image
    assert shown.left(500, 1000, 5000.0) is None
    assert shown.left(600, 1000, 5100.0) == pytest.approx(400)
    shown.begin(Start(550, 1000, 5050.0, None))  # and a third one, from a checkpoint
    assert shown.left(600, 1000, 5075.0) == pytest.approx(200)


def test_the_clock_ends_a_run_that_it_catches_first() -> None:
    shown = view("first", _console(terminal=False)[0])
    shown.begin(Start(0, 1000, 0.0, 300.0))
    assert shown.left(100, 1000, 100.0) == pytest.approx(200)
    assert shown.left(900, 1000, 100.0) == pytest.approx(100 / 9)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, "unknown time"), (90, "1.5 min"), (7200, "2.0 h"), (360_000, "4.2 days")],
)
def test_durations_are_said_in_units_that_suit_them(seconds: float | None, said: str) -> None:
    assert duration(seconds) == said


def test_between_reports_a_file_gets_lines_of_pace() -> None:
    console, text = _console(terminal=False)
    with view("first", console) as shown:
        shown.begin(Start(0, 1000, 0.0, None))
        shown.pace(100, 40.0, 5.0)
    assert text.getvalue() == "first 100/1000 40.0 images/s, 0.8 min left\n"


def test_a_run_that_its_clock_will_end_far_short_says_so_once_with_the_remedy() -> None:
    console, text = _console(terminal=False)
    with view("first", console) as shown:
        shown.begin(Start(0, 8000, 0.0, 480.0))
        shown.pace(8, 3.2, 5.0)  # the first steps say little
        shown.pace(32, 4.0, 16.0)
        shown.pace(64, 4.0, 32.0)
    short = [line for line in text.getvalue().splitlines() if "schedule.minutes" in line]
    assert short == [
        "first: at this pace its clock (schedule.minutes) ends it after about 960 of 8,000 "
        "images; for all of them set schedule.minutes=67 (train: --set, demo: --stage1 or "
        "--stage2)"
    ]


def test_a_run_that_its_clock_lets_come_far_enough_says_nothing_of_it() -> None:
    console, text = _console(terminal=False)
    with view("first", console) as shown:
        shown.begin(Start(0, 8000, 0.0, 480.0))
        shown.pace(200, 25.0, 16.0)
    assert "schedule.minutes" not in text.getvalue()
