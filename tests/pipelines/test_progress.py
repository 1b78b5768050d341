import pytest

from pipelines.progress import Pace, counter


def test_a_counter_tells_the_sum() -> None:
    told: list[tuple[int, int]] = []
    advance = counter(lambda done, total: told.append((done, total)), 10)
    advance(3)
    advance(4)
    assert told == [(3, 10), (7, 10)]


def test_what_was_done_before_does_not_count_for_the_pace() -> None:
    pace = Pace(100, 50.0)
    assert pace.rate(100, 50.0) == 0
    assert pace.left(100, 200, 60.0) is None
    assert pace.rate(120, 60.0) == pytest.approx(2)
    assert pace.left(120, 200, 60.0) == pytest.approx(40)
