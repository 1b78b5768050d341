from pathlib import Path

import pytest
from rich.console import Console

from training.tracking.journal import RunJournal, read_metrics


def _log(run_dir: Path, *positions: int) -> None:
    with RunJournal(run_dir, None, Console(quiet=True)) as journal:
        for position in positions:
            journal.log(position, 100, {"pixel": 1.0}, seconds=1.0)


def _positions(run_dir: Path) -> list[float]:
    return [row["position"] for row in read_metrics(run_dir)]


def test_a_resumed_run_writes_each_position_once(tmp_path: Path) -> None:
    _log(tmp_path, 8, 16)
    _log(tmp_path, 8, 16, 24)
    assert _positions(tmp_path) == [8, 16, 24]


@pytest.mark.parametrize("left", [1, 20])
def test_a_report_that_a_kill_cut_short_spoils_none_that_comes_after_it(
    tmp_path: Path, left: int
) -> None:
    _log(tmp_path, 8, 16)
    file = tmp_path / "metrics.jsonl"
    first, second = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(first + second[:left])
    assert _positions(tmp_path) == [8]
    _log(tmp_path, 16, 24)
    assert _positions(tmp_path) == [8, 16, 24]
