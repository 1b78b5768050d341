import json
from pathlib import Path

import pytest

from training.job import make_job
from tuning.search import search
from tuning.study import Study, TrialRow, make_study
from vqi2i import Translator

SETTINGS = (
    "crop=32", "precision=float32", "batch_size=4", "codebook.start_at=0",
    "network.resolution=32", "network.base_channels=8", "network.z_channels=8", "network.style_channels=4",
    "discriminator.base_channels=4", "game.discriminator_from=16", "game.generator_from=16",
    "schedule.images=48", "schedule.log_every=16", "schedule.save_every=16", "schedule.warmup_images=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def study(shards: Path) -> Study:
    job = make_job("stage1", data=shards, model=None, recipe="laptop64", settings=SETTINGS)
    return make_study(job, space="method", trials=3, metric="held_out_psnr", fixed=SETTINGS)


@pytest.mark.ray
@pytest.mark.slow
def test_a_search_ranks_trials_tracks_each_and_leaves_the_best_bundle(
    study: Study, ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    run_dir = tmp_path / "runs/search"

    found = search(study, run_dir)

    best = found.trials[0]
    assert len(found.trials) == 3
    assert (best.status, best.position) == ("finished", 48)
    assert Translator.load(found.bundle).network.codebook_size == best.settings["network.codebook_size"]
    assert f"optim.learning_rate={best.settings['optim.learning_rate']}" in (run_dir / "best_settings.txt").read_text()
    assert json.loads((run_dir / "trials.json").read_text())[0]["trial"] == best.trial

    _check_tracking(run_dir, found.trials)
    assert search(study, run_dir) == found  # at once
    with pytest.raises(ValueError, match=r"holds a search with other settings \(trials\)"):
        search(study.model_copy(update={"trials": 4}), run_dir)


def _check_tracking(run_dir: Path, rows: list[TrialRow]) -> None:
    """One run for the search and one for each trial, every figure of a position once, everything closed."""
    from mlflow import MlflowClient

    from training.tracking import tracked_run
    from training.tracking_store import tracking_uri

    client = MlflowClient(tracking_uri())
    mlflow_run = tracked_run(run_dir)
    assert mlflow_run is not None
    runs = client.search_runs([client.get_run(mlflow_run).info.experiment_id])
    children = {run.data.tags["trial"]: run for run in runs if "trial" in run.data.tags}
    assert len(runs) == 4
    assert {run.info.status for run in runs} == {"FINISHED"}
    for row in rows:
        child = children[row.trial]
        assert child.data.tags["mlflow.parentRunId"] == mlflow_run
        assert child.data.tags["stopped_early"] == str(row.status == "stopped early").lower()
        assert child.data.params == {name: str(value) for name, value in row.settings.items()}
        history = client.get_metric_history(child.info.run_id, "held_out_psnr")
        assert [point.step for point in history] == list(range(16, row.position + 1, 16))
        assert history[-1].value == row.metric
