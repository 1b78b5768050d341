"""What is not finite, whose it is, and what is said of it."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from training.checkpointing.checkpoints import Checkpoints
from training.distributed.worker import LocalWorker
from training.stages.nan_guard import DivergenceError, Guard


def guard(folder: Path, rank: int = 0, *, limit: int = 1, images: int = 1) -> Guard:
    """One of three workers'; their images are named by position and rank."""
    worker = LocalWorker(Checkpoints(folder, keep=1), None)  # type: ignore[arg-type]
    worker.rank, worker.world_size = rank, 3
    return Guard(
        worker, limit, lambda position, rank: [f"{position}:{rank}:{n}" for n in range(images)]
    )


def losses(pixel: float = 1.0, style: float = 2.0) -> dict[str, torch.Tensor]:
    return {"pixel": torch.tensor(pixel), "style": torch.tensor(style)}


NORMS = {"gradients": torch.tensor(3.0)}


def said(folder: Path, *bad: tuple[float, float], **options: Any) -> tuple[Guard, torch.Tensor]:
    """The first worker's guard, and the sum of what all three found."""
    guards = [guard(folder, rank, **options) for rank in range(3)]
    return guards[0], torch.stack(
        [g.verdict(losses(*b)) for g, b in zip(guards, bad, strict=True)]
    ).sum(0)


GOOD = (1.0, 2.0)


def test_a_verdict_tells_whose_losses_which_are_not_finite(tmp_path: Path) -> None:
    assert guard(tmp_path, 1).verdict(losses(style=torch.inf)).tolist() == [0, 1, 0, 0, 1]
    assert guard(tmp_path, 2).verdict(losses(pixel=torch.nan)).tolist() == [0, 0, 1, 1, 0]
    assert guard(tmp_path).verdict(losses()).tolist() == [0, 0, 0, 0, 0]


def test_a_finite_step_may_be_taken(tmp_path: Path) -> None:
    first, verdict = said(tmp_path, GOOD, GOOD, GOOD)
    assert first.passes(verdict, losses(), NORMS, 4)
    assert first.left_out == 0


def test_the_message_names_the_terms_and_the_guilty_workers_images(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, verdict = said(tmp_path, GOOD, (1.0, torch.nan), (1.0, -torch.inf))
    assert not first.passes(verdict, losses(), NORMS, 4)
    assert [record.getMessage() for record in caplog.records] == [
        "style not finite after 4 images, on 4:1:0, 4:2:0: this step is left out"
    ]


def test_gradients_are_nobodys_and_many_images_are_cut_short(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, verdict = said(tmp_path, GOOD, GOOD, GOOD, images=3)
    assert not first.passes(verdict, losses(), {"gradients": torch.tensor(torch.nan)}, 8)
    assert [record.getMessage() for record in caplog.records] == [
        "gradients not finite after 8 images, on 8:0:0, 8:0:1, 8:0:2, 8:1:0, 8:1:1, 8:1:2 and 3 "
        "more: this step is left out"
    ]


def test_only_the_first_worker_speaks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, verdict = said(tmp_path, (torch.nan, 0.0), GOOD, GOOD)
    caplog.set_level(logging.INFO)
    other = guard(tmp_path, 1)
    assert not other.passes(verdict, losses(), NORMS, 4)
    assert (caplog.records, other.left_out) == ([], 1)


def test_steps_in_a_row_end_the_run_and_others_do_not(tmp_path: Path) -> None:
    first, bad = said(tmp_path, (torch.nan, 0.0), GOOD, GOOD, limit=2)
    good = torch.zeros_like(bad)
    for verdict in (bad, bad, good, bad, bad):
        assert first.passes(verdict, losses(), NORMS, 4) == (verdict is good)
    assert first.left_out == 4
    sentence = (
        "pixel not finite after 4 images, on 4:0:0, and no step in 3 was: lower .* these images$"
    )
    with pytest.raises(DivergenceError, match=sentence):
        first.passes(bad, losses(), NORMS, 4)


def test_a_resumed_run_goes_on_counting(tmp_path: Path) -> None:
    first, bad = said(tmp_path, (torch.nan, 0.0), GOOD, GOOD)
    first.passes(bad, losses(), NORMS, 4)
    resumed = guard(tmp_path)
    resumed.load_state_dict(first.state_dict())
    assert resumed.left_out == 1
    with pytest.raises(DivergenceError, match="no step in 2 was"):
        resumed.passes(bad, losses(), NORMS, 8)
