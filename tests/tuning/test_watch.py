import io
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from rich.console import Console

from training.tracking.journal import read_metrics
from training.tracking.mlflow_client import tracking_uri
from training.tracking.mlflow_run import Tracker, tracked_run
from tuning.watch import TrialWatch, close_forgotten


@pytest.fixture(scope="module", autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory, mlflow_tables: Path) -> Iterator[None]:
    """An MLflow store of this module's own."""
    database = shutil.copy(mlflow_tables, tmp_path_factory.mktemp("store"))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
        yield


@pytest.fixture
def search(tmp_path: Path) -> Tracker:
    tracker = Tracker(tmp_path / "run", {"kind": "search"})
    # the first one waits until the store is made, trials would give up meanwhile
    assert not tracker.close()
    return tracker


@pytest.fixture
def watch(tmp_path: Path, search: Tracker) -> TrialWatch:
    return TrialWatch(tmp_path / "run", "pixel", search.run_tag, Console(quiet=True))


def _trial(**last_result: Any) -> Any:
    return SimpleNamespace(
        trial_id="one", config={"optim.learning_rate": 0.5}, last_result=last_result
    )


def _report(watch: TrialWatch, *positions: int) -> None:
    for position in positions:
        row = {"position": position, "seconds": 1.0, "pixel": 1 / position, "style": 2.0}
        watch.on_trial_result(iteration=0, trials=[], trial=_trial(), result={"row": row})


def _end_process(watch: TrialWatch) -> None:
    """Nobody delivers for it any more."""
    for journal in watch._journals.values():
        assert journal.tracker is not None
        journal.tracker.close()


def _run(watch: TrialWatch) -> Run:
    _end_process(watch)
    run_id = tracked_run(watch.run_dir / "trials/one")
    assert run_id is not None
    return MlflowClient(tracking_uri()).get_run(run_id)


def test_a_resumed_search_writes_each_report_once_into_the_trials_run(watch: TrialWatch) -> None:
    watch.on_trial_start(0, [], _trial())
    _report(watch, 4, 8)
    resumed = pickle.loads(pickle.dumps(watch))  # what Tune does
    _end_process(watch)
    resumed.on_trial_start(0, [], _trial())
    _report(resumed, 4, 8, 12)
    resumed.on_trial_complete(0, [], _trial(complete=True))

    run = _run(watch)
    assert [
        point.step
        for point in MlflowClient(tracking_uri()).get_metric_history(run.info.run_id, "style")
    ] == [
        4,
        8,
        12,
    ]
    assert [row["position"] for row in read_metrics(watch.run_dir / "trials/one")] == [4, 8, 12]
    assert (run.info.status, run.data.params) == ("FINISHED", {"optim.learning_rate": "0.5"})
    assert (run.data.tags["mlflow.parentRunId"], run.data.tags["stopped_early"]) == (
        tracked_run(watch.run_dir),
        "false",
    )


def test_the_run_of_a_trial_says_how_it_ended(watch: TrialWatch) -> None:
    watch.on_trial_start(0, [], _trial())
    watch.on_trial_complete(0, [], _trial(complete=False))
    assert _run(watch).data.tags["stopped_early"] == "true"
    watch.on_trial_start(0, [], _trial())
    watch.on_trial_error(0, [], _trial())
    assert _run(watch).info.status == "FAILED"
    watch.on_trial_start(0, [], _trial())
    watch.on_experiment_end([])
    assert _run(watch).info.status == "KILLED"


def test_a_trial_that_tune_forgot_does_not_stay_open(watch: TrialWatch) -> None:
    watch.on_trial_start(0, [], _trial())
    close_forgotten(watch.run_dir, known={"one"})
    assert _run(watch).info.status == "RUNNING"
    close_forgotten(watch.run_dir, known=set())
    assert _run(watch).info.status == "KILLED"


def test_trouble_with_a_report_does_not_reach_tune(
    watch: TrialWatch, caplog: pytest.LogCaptureFixture
) -> None:
    watch.on_trial_result(0, [], _trial(), result={})
    assert "the search goes on" in caplog.text


def test_what_trials_do_is_said_word_for_word_in_a_line_each(
    tmp_path: Path, search: Tracker
) -> None:
    said = io.StringIO()
    console = Console(file=said, width=20, force_terminal=True, color_system="truecolor")
    watch = TrialWatch(tmp_path / "run", "pixel", search.run_tag, console)
    watch.on_trial_start(0, [], _trial())
    _report(watch, 4)
    watch.on_trial_complete(0, [], _trial(complete=False))
    watch.on_trial_start(0, [], _trial())
    watch.on_trial_complete(0, [], _trial(complete=True))
    watch._say("one", "[bold]failed[/bold]: 1")
    assert said.getvalue().splitlines() == [
        "run one: optim.learning_rate=0.5",
        "run one: 4 images, pixel 0.25",
        "run one: stopped early",
        "run one: optim.learning_rate=0.5",
        "run one: finished",
        "run one: [bold]failed[/bold]: 1",
    ]
