"""Model calls have as many rows as were asked for, whatever the number of pictures."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from vqi2i.errors import UserError
from vqi2i.networks.batching import CallLimits, in_calls
from vqi2i.networks.stopping import stoppable


@pytest.mark.parametrize("count", [1, 3, 4, 5])
def test_the_last_call_is_filled_with_copies_that_nobody_gets(count: int) -> None:
    calls: list[tuple[list[float], list[object]]] = []

    def double(rows: Tensor, names: Sequence[object]) -> Tensor:
        calls.append((rows[:, 0, 0].tolist(), list(names)))
        return 2 * rows

    rows = torch.arange(float(count))[:, None, None].expand(-1, 2, 3)
    made = in_calls(double, 2, rows, "abcde"[:count])
    assert torch.equal(made, 2 * rows)
    wanted = [*range(count), *[count - 1] * (count % 2)]
    assert [value for values, _ in calls for value in values] == wanted
    assert [name for _, names in calls for name in names] == ["abcde"[number] for number in wanted]
    assert all(len(values) == 2 for values, _ in calls)


def test_calls_can_be_stopped_between_each_other() -> None:
    asked = []
    with stoppable(lambda: asked.append(1)):
        in_calls(lambda rows: rows, 1, torch.zeros(3))
    assert len(asked) == 3


def test_rows_of_a_call_follow_from_the_pictures_size() -> None:
    limits = CallLimits(rows=4, pixels=1000)
    assert [limits.rows_for(pixels) for pixels in (1, 250, 251, 333, 334, 500, 501, 2000)] == [
        4,
        4,
        3,
        3,
        2,
        2,
        1,
        1,
    ]


@pytest.mark.parametrize("limit", ["rows", "pixels", "tile_pixels"])
def test_a_call_holds_something(limit: str) -> None:
    with pytest.raises(UserError, match=rf"at least one row and one pixel, got .*{limit}=0"):
        CallLimits(**{limit: 0})
    CallLimits(**{limit: 1})
