from pathlib import Path

import pytest
from rich.console import Console

from pipelines.synthetic.dataset import DOMAINS
from tests.training.conftest import WITHOUT_WEIGHT
from training.job import Job
from training.recipes import recipe
from training.run.attempt import fit_here
from training.settings import override
from training.stages.build import prepare
from training.tracking.journal import RunJournal, read_metrics
from tuning.spaces import METRICS
from tuning.study import TrialRow, make_study, ranked

TINY = {
    "stage1": ("crop=16", "network.resolution=16", "network.base_channels=8", "precision=float32"),
    "stage2": ("prior.window=[8,8]", "prior.num_layers=1", "precision=float32"),
}


def _row(trial: str, metric: float | None, position: int, status: str) -> TrialRow:
    return TrialRow.model_validate(
        {"trial": trial, "settings": {}, "metric": metric, "position": position, "status": status}
    )


def test_trials_that_trained_to_their_end_are_ranked_before_those_stopped_on_the_way() -> None:
    rows = [
        _row("failed", None, 0, "failed"),
        _row("lucky", 30.0, 12, "stopped early"),
        _row("worse", 20.0, 48, "finished"),
        _row("best", 25.0, 48, "finished"),
    ]
    assert [row.trial for row in ranked(rows, "max")] == ["best", "worse", "lucky", "failed"]
    assert [row.trial for row in ranked(rows, "min")] == ["worse", "best", "lucky", "failed"]


def test_of_those_stopped_on_the_way_who_came_farther_is_ranked_before() -> None:
    rows = [
        _row("lucky", 30.0, 12, "stopped early"),
        _row("farther", 20.0, 24, "stopped early"),
        _row("as far", 25.0, 24, "stopped early"),
        _row("longer", 20.0, 96, "finished"),
        _row("finished", 21.0, 48, "finished"),
        _row("failed later", None, 24, "failed"),
        _row("failed", None, 0, "failed"),
    ]
    best_first = [row.trial for row in ranked(rows, "max")]
    assert best_first[:2] == ["finished", "longer"]
    assert best_first[2:] == ["as far", "farther", "lucky", "failed later", "failed"]


def test_the_direction_follows_from_the_metric() -> None:
    job = Job(config=recipe("stage1", "laptop64", DOMAINS), data=Path("shards"))
    assert make_study(job, space="rates", trials=2, metric="pixel").mode == "min"
    assert make_study(job, space="rates", trials=2, metric="pixel", mode="max").mode == "max"


@pytest.mark.parametrize("stage", list(METRICS))
def test_a_stage_reports_every_metric_that_trials_can_be_ranked_by(
    stage: str, shards: Path, tiny_bundle_without_prior: Path, tmp_path: Path
) -> None:
    everything = (
        "codebook.start_at=0",
        "game.discriminator_from=0",
        "game.generator_from=0",
        "weights.adversarial_reconstruction=0.1",
    )
    settings = [
        *TINY[stage],
        "schedule.images=1",
        "batch_size=1",
        *(everything if stage == "stage1" else ()),
    ]
    config = override(recipe(stage, "laptop64", DOMAINS), settings)
    job = Job(config=config, data=shards, model=tiny_bundle_without_prior)
    prepare(job)
    fit_here(job, tmp_path, RunJournal(tmp_path, None, Console(quiet=True)))
    (row,) = read_metrics(tmp_path)
    not_computed = WITHOUT_WEIGHT if stage == "stage1" else set()
    assert METRICS[stage].keys() - row.keys() == not_computed
