"""What a search writes down and goes on from, with trials that are made up."""

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, call

import pytest
from ray import tune
from rich.console import Console

from tests.tuning.test_search import SETTINGS
from training.job import make_job
from training.stages.build import caution
from tuning.search import Found, _fit, _place, _row, search
from tuning.study import Study, TrialRow, make_study
from tuning.trial import trial_folder
from tuning.watch import TrialWatch

ROWS = [
    TrialRow(
        trial="one",
        settings={"optim.learning_rate": 0.5, "b": "x"},
        metric=2.0,
        position=48,
        status="finished",
    ),
    TrialRow(
        trial="two",
        settings={"optim.learning_rate": 0.1},
        metric=9.0,
        position=12,
        status="stopped early",
    ),
]
FAILED = TrialRow(
    trial="three", settings={}, metric=None, position=0, status="failed", error="no more disk"
)


@pytest.fixture(scope="module")
def study(shards: Path) -> Study:
    job = make_job("stage1", data=shards, model=None, recipe="laptop64", settings=SETTINGS)
    return make_study(job, space="method", trials=2, metric="held_out_psnr", fixed=SETTINGS)


class Made:
    """What stands for Tune, MLflow and the best trial's checkpoint."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.trials: Callable[[], list[TrialRow]] = lambda: ROWS[::-1]
        self.fitted = 0
        self.given: tuple[Any, ...] = ()
        self.exported: list[Any] = []
        self.tracker = MagicMock(is_new=True)
        self.upload = MagicMock()
        self.forgotten = MagicMock()
        parts = {
            "_fit": self._fit,
            "Tracker": MagicMock(return_value=self.tracker),
            "upload": self.upload,
            "close_forgotten": self.forgotten,
            "export_newest": self._export,
        }
        for name, part in parts.items():
            monkeypatch.setattr(f"tuning.search.{name}", part)
        monkeypatch.setattr("tuning.search.trial_job", lambda job, sampled: sampled)
        self.opened = parts["Tracker"]

    def _fit(self, *given: Any) -> list[TrialRow]:
        self.fitted += 1
        self.given = given
        return self.trials()

    def _export(self, job: Any, folder: Path, bundle: Path) -> bool:
        self.exported.append((job, folder, bundle))
        return True


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    return Made(monkeypatch)


def test_a_search_leaves_the_best_trials_bundle_and_settings(
    study: Study, made: Made, tmp_path: Path
) -> None:
    run_dir = tmp_path / "searches/first"
    found = search(study, run_dir)
    assert found == Found(run_dir / "bundle", ROWS)
    assert made.exported == [(ROWS[0].settings, trial_folder(run_dir, "one"), found.bundle)]
    assert (run_dir / "best_settings.txt").read_text() == 'optim.learning_rate=0.5\nb="x"\n'
    assert made.opened.call_args.args == (
        run_dir,
        {"kind": "search", "stage": "stage1", "space": "method", "metric": "held_out_psnr"},
    )
    made.forgotten.assert_called_once_with(run_dir, {"one", "two"})
    tracker = made.tracker
    assert made.given[:3] == (study, run_dir, 1)
    watch = made.given[3]
    assert isinstance(watch, TrialWatch)
    assert (watch.run_dir, watch.metric) == (run_dir, "held_out_psnr")
    assert watch.parent_run is tracker.run_tag
    tracker.config.assert_called_once_with(study.job.config)
    tracker.log.assert_called_once_with(48, {"held_out_psnr": 2.0})
    tracker.tag.assert_called_once_with({"best_trial": "one"})
    tracker.end.assert_called_once_with("FINISHED", found.bundle)
    assert search(study, run_dir) == found
    assert made.fitted == 1
    assert made.upload.call_count == 2  # what MLflow has not taken yet


def test_a_folder_holds_one_search(study: Study, made: Made, tmp_path: Path) -> None:
    search(study, tmp_path)
    reports = trial_folder(tmp_path, "one") / "metrics.jsonl"
    reports.parent.mkdir(parents=True)
    reports.write_text('{"position": 48, "held_out_psnr": 20.0}\n')
    with pytest.raises(ValueError, match=r"holds a search with other settings \(trials\)"):
        search(study.model_copy(update={"trials": 3}), tmp_path)


def test_a_search_that_began_before_something_could_be_set_goes_on(
    study: Study, made: Made, tmp_path: Path
) -> None:
    found = search(study, tmp_path)
    record = json.loads((tmp_path / "search.json").read_text())
    del record["identity"]["job"]["config"]["accumulate"]
    (tmp_path / "search.json").write_text(json.dumps(record))
    assert search(study, tmp_path) == found


def test_a_search_that_was_refused_does_not_keep_its_name(
    study: Study, made: Made, tmp_path: Path
) -> None:
    made.trials = lambda: [FAILED]
    with pytest.raises(ValueError, match="got to a checkpoint"):
        search(study, tmp_path)
    for folder in ("ray", "trials/three", "tracking"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "tracking/calls.jsonl").write_text('["create", {"mark": "of the first"}]\n')
    made.trials = lambda: ROWS
    mended = study.model_copy(update={"trials": 3})
    assert search(mended, tmp_path).trials == ROWS
    assert not any((tmp_path / folder).exists() for folder in ("ray", "trials", "tracking"))
    with pytest.raises(ValueError, match=r"holds a search with other settings \(trials\)"):
        search(study, tmp_path)


def test_a_search_that_ended_before_it_made_any_folder_does_not_keep_its_name_either(
    study: Study, made: Made, tmp_path: Path
) -> None:
    made.trials = lambda: [FAILED]
    with pytest.raises(ValueError, match="got to a checkpoint"):
        search(study, tmp_path)
    made.trials = lambda: ROWS
    assert search(study.model_copy(update={"trials": 3}), tmp_path).trials == ROWS


def test_a_search_asks_for_as_many_cores_as_a_trial_has_and_says_where_it_was_told(
    study: Study, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    console, prepared, said = Console(quiet=True), MagicMock(), MagicMock()
    monkeypatch.setattr("tuning.search.prepare", prepared)
    monkeypatch.setattr("tuning.search.say", said)
    search(study, tmp_path, cpus_per_trial=3, console=console)
    assert made.given[2] == 3
    assert made.given[3].console is console
    prepared.assert_called_once_with(study.job, console=console)
    said.assert_called_once_with(caution(study.job), console)
    search(study, tmp_path, console=console)
    assert made.upload.call_args_list == [call(made.tracker, tmp_path, console)] * 2


def test_a_search_is_refused_before_it_begins_where_ray_does_not_answer(
    study: Study, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = MagicMock()
    monkeypatch.setattr("tuning.search.expect_ray", expected)
    search(study, tmp_path)
    expected.assert_called_once()
    search(study, tmp_path)  # what is over needs none
    expected.assert_called_once()


@pytest.mark.parametrize("left", ["metrics.jsonl", "checkpoints/0000000004.ckpt"])
def test_a_search_one_of_whose_trials_has_begun_keeps_its_name(
    left: str, study: Study, made: Made, tmp_path: Path
) -> None:
    made.trials = lambda: [FAILED]
    with pytest.raises(ValueError, match="got to a checkpoint"):
        search(study, tmp_path)
    file = tmp_path / "trials/three" / left
    file.parent.mkdir(parents=True)
    file.write_text('{"position": 4}\n')
    with pytest.raises(ValueError, match=r"holds a search with other settings \(trials\)"):
        search(study.model_copy(update={"trials": 3}), tmp_path)


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), "KILLED"), (OSError("gone"), "FAILED")]
)
def test_an_interrupted_search_says_so_and_goes_on(
    study: Study, made: Made, tmp_path: Path, error: BaseException, status: str
) -> None:
    def interrupted() -> list[TrialRow]:
        raise error

    made.trials = interrupted
    with pytest.raises(type(error)):
        search(study, tmp_path)
    made.tracker.end.assert_called_once_with(status)
    made.upload.assert_called_once_with(made.tracker, tmp_path, None)
    made.trials, made.tracker.is_new = lambda: ROWS, False
    assert search(study, tmp_path).trials == ROWS
    made.tracker.config.assert_called_once()  # MLflow knows it already


def test_a_search_whose_trials_all_failed_says_why(
    study: Study, made: Made, tmp_path: Path
) -> None:
    made.trials = lambda: [FAILED]
    with pytest.raises(
        ValueError, match="got to a checkpoint; the first failed with: no more disk"
    ):
        search(study, tmp_path)
    assert made.exported == []
    assert (tmp_path / "trials.json").exists()


def result(error: Exception | str | None = None, **figures: Any) -> Any:
    return SimpleNamespace(
        metrics=figures or None, config={"a": 1}, path="/somewhere/one", error=error
    )


def test_a_trial_is_finished_stopped_or_failed() -> None:
    rows = [
        _row(result(psnr=20.0, position=48, complete=True), "psnr"),
        _row(result(psnr=10.0, position=12, complete=False), "psnr"),
        _row(result("Traceback ...\nno more disk\n", psnr=10.0, position=12), "psnr"),
        _row(result(), "psnr"),
    ]
    assert [(row.trial, row.settings) for row in rows] == [("one", {"a": 1})] * 4
    assert [(row.metric, row.position, row.status, row.error) for row in rows] == [
        (20.0, 48, "finished", None),
        (10.0, 12, "stopped early", None),
        (10.0, 12, "failed", "no more disk"),
        (None, 0, "stopped early", None),
    ]


@pytest.mark.parametrize(
    ("cluster", "cores", "resources", "room"),
    [
        ({"CPU": 4.0}, 1, {"CPU": 1}, 4),
        ({"CPU": 5.0}, 2, {"CPU": 2}, 2),
        ({"CPU": 8.0, "GPU": 2.0}, 1, {"CPU": 1, "GPU": 1}, 2),
        ({"CPU": 2.0}, 2, {"CPU": 2}, 1),
        ({"CPU": 3.0, "GPU": 0.5}, 1, {"CPU": 1}, 3),
    ],
)
def test_as_many_trials_run_at_once_as_there_is_room_for(
    cluster: dict[str, float],
    cores: int,
    resources: dict[str, float],
    room: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tuning.search.join_ray", lambda: cluster)
    for name in ("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "RAY_AIR_NEW_OUTPUT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TUNE_GLOBAL_CHECKPOINT_S", "7")
    assert _place(cores) == (resources, room)
    assert os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] == "1"
    assert os.environ["RAY_AIR_NEW_OUTPUT"] == "0"
    assert os.environ["TUNE_GLOBAL_CHECKPOINT_S"] == "7"  # whoever has set it wants it
    for noisy in ("ray.tune", "optuna"):
        assert logging.getLogger(noisy).level == logging.ERROR


@pytest.mark.parametrize(
    ("cluster", "cores", "has"), [({"CPU": 2.0}, 3, "2"), ({}, 1, "0"), ({"CPU": 0.5}, 1, "0.5")]
)
def test_a_cluster_without_room_for_a_trial_is_told_so(
    cluster: dict[str, float], cores: int, has: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuning.search.join_ray", lambda: cluster)
    with pytest.raises(
        ValueError, match=f"^a trial wants {cores} cores, Ray has {has}: lower --cpus-per-trial$"
    ):
        _place(cores)


class Results(list[Any]):
    """What Tune returns."""

    num_errors = 1

    @property
    def num_terminated(self) -> int:
        return len(self) - 1


@pytest.mark.parametrize("is_resumed", [False, True])
def test_tune_begins_or_goes_on_where_it_was(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_resumed: bool
) -> None:
    results = Results([result(psnr=1.0), result(RuntimeError("bad"))])
    tuner = SimpleNamespace(fit=lambda: results)
    begun, restored = MagicMock(return_value=tuner), MagicMock(return_value=tuner)
    monkeypatch.setattr("tuning.search._place", lambda cores: ({"CPU": cores}, 7))
    monkeypatch.setattr("tuning.search._tuner", begun)
    monkeypatch.setattr(tune.Tuner, "restore", restored)
    monkeypatch.setattr(tune.Tuner, "can_restore", lambda path: Path(path) == tmp_path / "ray")
    if is_resumed:
        (tmp_path / "ray").mkdir()
        (tmp_path / "ray/experiment_state-1.json").touch()
    watch = MagicMock()
    assert [row.status for row in _fit(study, tmp_path, 3, watch)] == ["stopped early", "failed"]
    if is_resumed:
        assert restored.call_args.args[0] == str(tmp_path / "ray")
        assert restored.call_args.kwargs == {"resume_errored": True}
        begun.assert_not_called()
    else:
        assert begun.call_args.args[:2] == (study, tmp_path)
        assert (begun.call_args.args[3], begun.call_args.kwargs) == (watch, {"concurrent": 2})
    with pytest.raises(KeyboardInterrupt):  # Tune returns in peace when it was interrupted
        _fit(study.model_copy(update={"trials": 3}), tmp_path, 3, watch)
