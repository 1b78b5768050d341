"""An attempt at a training, and how it ends."""

from pathlib import Path
from typing import Any

import pytest

from training.distributed.worker import LocalWorker
from training.job import Job
from training.run.attempt import attempt, checkpoints_of
from training.stages.nan_guard import DivergenceError


@pytest.mark.parametrize(
    ("saved", "words"), [((), "nothing is saved yet"), ((4, 8), "0000000008.ckpt is from before")]
)
def test_a_run_that_diverges_tells_what_it_can_be_taken_up_from(
    saved: tuple[int, ...],
    words: str,
    stage1_job: Job,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def diverge(*_: Any, **__: Any) -> None:
        raise DivergenceError("pixel not finite: lower the rate")

    monkeypatch.setattr("training.run.attempt.fit", diverge)
    checkpoints = checkpoints_of(stage1_job, tmp_path)
    for position in saved:
        (tmp_path / "checkpoints").mkdir(exist_ok=True)
        (tmp_path / "checkpoints" / checkpoints.name(position)).touch()
    worker = LocalWorker(checkpoints, None)  # type: ignore[arg-type]
    with pytest.raises(DivergenceError, match=rf"^pixel not finite: lower the rate; .*{words}$"):
        attempt(stage1_job, worker)
