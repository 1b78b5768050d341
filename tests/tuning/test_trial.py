from pathlib import Path
from typing import Any

import pytest
from ray import tune

from errors import UserError
from tuning.trial import TuneJournal, as_settings


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    """Positions that Tune was told of, and whether each was the end."""
    told: list[tuple[int, bool]] = []

    def report(metrics: dict[str, Any]) -> None:
        told.append((metrics["position"], metrics["complete"]))

    monkeypatch.setattr(tune, "report", report)
    return told


def test_the_end_is_reported_after_the_last_checkpoint(
    tmp_path: Path, told: list[tuple[int, bool]]
) -> None:
    journal = TuneJournal(tmp_path, "pixel")
    journal.log(4, 8, {"pixel": 0.5}, 1.0)
    journal.log(8, 8, {"pixel": 0.4}, 2.0)
    assert told == [(4, False)]
    journal.conclude()
    assert told == [(4, False), (8, True)]


def test_a_resumed_trial_tells_what_it_had_reported(
    tmp_path: Path, told: list[tuple[int, bool]]
) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"position": 4, "seconds": 1.0, "pixel": 0.5}\n')
    TuneJournal(tmp_path, "pixel").conclude()
    assert told == [(4, False), (4, True)]


def test_a_trial_without_figures_fails(tmp_path: Path, told: list[tuple[int, bool]]) -> None:
    with pytest.raises(ValueError, match=r"before its first report: lower schedule\.log_every"):
        TuneJournal(tmp_path, "pixel").conclude()
    with pytest.raises(UserError, match="pixel is nan after 4 images"):
        TuneJournal(tmp_path, "pixel").log(4, 8, {"pixel": float("nan")}, 1.0)
    assert told == []


def test_reports_before_a_term_is_computed_rank_nothing(
    tmp_path: Path, told: list[tuple[int, bool]]
) -> None:
    journal = TuneJournal(tmp_path, "adversarial")
    journal.log(4, 12, {"pixel": 0.5}, 1.0)
    with pytest.raises(ValueError, match="never computes adversarial: choose another --metric"):
        journal.conclude()
    journal.log(8, 12, {"pixel": 0.5, "adversarial": 0.1}, 2.0)
    journal.log(12, 12, {"pixel": 0.5, "adversarial": 0.2}, 3.0)
    journal.conclude()
    assert told == [(8, False), (12, True)]


def test_sampled_values_become_settings() -> None:
    assert as_settings({"a.b": 1e-05, "c": 64}) == ["a.b=1e-05", "c=64"]
