import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
from ray import tune
from ray.tune.schedulers import TrialScheduler

from training.job import make_job
from training.metrics import Mode
from tuning.search import _tuner, search
from tuning.spaces import search_space
from tuning.study import Study, TrialRow, make_study
from vqi2i import Translator

SETTINGS = (
    "crop=16",
    "precision=float32",
    "batch_size=4",
    "codebook.start_at=0",
    "network.resolution=16",
    "network.base_channels=8",
    "network.z_channels=8",
    "network.style_channels=4",
    "discriminator.base_channels=4",
    "game.discriminator_from=16",
    "game.generator_from=16",
    "schedule.images=48",
    "schedule.log_every=16",
    "schedule.save_every=16",
    "schedule.warmup_images=0",
)


@pytest.fixture(scope="module")
def study(shards: Path) -> Study:
    job = make_job("stage1", data=shards, model=None, recipe="laptop64", settings=SETTINGS)
    return make_study(job, space="method", trials=3, metric="held_out_psnr", fixed=SETTINGS)


@pytest.mark.ray
@pytest.mark.slow
def test_a_search_ranks_trials_tracks_each_and_leaves_the_best_bundle(
    study: Study,
    ray_session: None,
    tmp_path: Path,
    mlflow_tables: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copy(mlflow_tables, tmp_path)}")
    monkeypatch.chdir(tmp_path)
    run_dir = tmp_path / "runs/search"

    found = search(study, run_dir)

    best = found.trials[0]
    assert len(found.trials) == 3
    assert (best.status, best.position) == ("finished", 48)
    assert (
        Translator.load(found.bundle).network.codebook_size
        == best.settings["network.codebook_size"]
    )
    assert (
        f"optim.learning_rate={best.settings['optim.learning_rate']}"
        in (run_dir / "best_settings.txt").read_text()
    )
    assert json.loads((run_dir / "trials.json").read_text())[0]["trial"] == best.trial

    _check_tracking(run_dir, found.trials)
    assert search(study, run_dir) == found  # at once
    with pytest.raises(ValueError, match=r"holds a search with other settings \(trials\)"):
        search(study.model_copy(update={"trials": 4}), run_dir)


modes = pytest.mark.parametrize("mode", ["min", "max"])


@pytest.fixture
def asked(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Mode) -> Any:
    """What Tune is asked for by a search for less or for more."""
    monkeypatch.setattr(tune, "Tuner", lambda trainable, **parts: SimpleNamespace(**parts))
    study = study.model_copy(update={"mode": mode, "space": "rates"})
    return _tuner(study, tmp_path, MagicMock(), MagicMock(), concurrent=2)


@pytest.mark.parametrize("mode", ["min"])
def test_tune_is_asked_for_all_trials_in_the_searchs_folder(
    asked: Any, study: Study, tmp_path: Path, mode: Mode
) -> None:
    assert set(asked.param_space) == set(search_space("stage1", "rates"))
    wanted = asked.tune_config
    assert (wanted.num_samples, wanted.max_concurrent_trials) == (study.trials, 2)
    assert (wanted.metric, wanted.mode) == (study.metric, mode)
    assert wanted.trial_dirname_creator(SimpleNamespace(trial_id="one")) == "one"
    run = asked.run_config
    assert (run.name, run.storage_path) == ("ray", str(tmp_path))
    assert (len(run.callbacks), run.verbose) == (1, 0)
    assert run.failure_config.max_failures == 1


@modes
def test_the_poorer_of_two_trials_stops_after_a_quarter_of_the_schedule(
    asked: Any, study: Study, mode: Mode
) -> None:
    scheduler, metric = asked.tune_config.scheduler, study.metric
    scheduler.set_search_properties(metric, asked.tune_config.mode)
    better, poorer = (SimpleNamespace(trial_id=name) for name in ("better", "poorer"))
    figures = (
        {"better": 10.0, "poorer": 20.0} if mode == "min" else {"better": 20.0, "poorer": 10.0}
    )

    def told(trial: Any, position: int) -> str:
        return scheduler.on_trial_result(
            None, trial, {"position": position, metric: figures[trial.trial_id]}
        )

    for trial in (better, poorer):
        scheduler.on_trial_add(None, trial)
        assert told(trial, 11) == TrialScheduler.CONTINUE
    assert [told(trial, 12) for trial in (better, poorer)] == [
        TrialScheduler.CONTINUE,
        TrialScheduler.STOP,
    ]
    assert told(better, 48) == TrialScheduler.STOP  # the end


@modes
def test_settings_are_proposed_near_those_that_were_better(
    asked: Any, study: Study, mode: Mode
) -> None:
    searcher, name = asked.tune_config.search_alg, "optim.learning_rate"
    searcher.set_search_properties(
        study.metric, asked.tune_config.mode, search_space("stage1", "rates")
    )

    def proposed(number: int) -> float:
        settings = searcher.suggest(str(number))
        rate = np.log10(
            settings["optim"]["learning_rate"] if "optim" in settings else settings[name]
        )
        searcher.on_trial_complete(str(number), {study.metric: rate})
        return rate

    rates = [proposed(number) for number in range(30)]
    gain = np.mean(rates[15:]) - np.mean(rates[:10])
    assert gain < -0.3 if mode == "min" else gain > 0.3


@modes
def test_what_a_search_found_is_best_first(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Mode
) -> None:
    rows = [
        TrialRow(trial=name, settings={}, metric=metric, position=48, status="finished")
        for name, metric in (("middle", 2.0), ("most", 3.0), ("least", 1.0))
    ]
    monkeypatch.setattr("tuning.search._fit", lambda *given: rows)
    # what needs trials and MLflow
    for part in (
        "_conclude",
        "Tracker",
        "upload",
        "close_forgotten",
    ):
        monkeypatch.setattr(f"tuning.search.{part}", MagicMock())
    found = search(study.model_copy(update={"mode": mode}), tmp_path)
    best_first = ["least", "middle", "most"]
    assert [row.trial for row in found.trials] == (
        best_first if mode == "min" else best_first[::-1]
    )


def _check_tracking(run_dir: Path, rows: list[TrialRow]) -> None:
    """One run for the search and one for each trial, every figure of a position once, everything
    closed.
    """
    from mlflow import MlflowClient

    from training.tracking.mlflow_client import tracking_uri
    from training.tracking.mlflow_run import tracked_run

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
