import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient
from rich.console import Console
from torch import Tensor

from pipelines.storage.shard_files import read_manifest
from tests.processes import begin
from tests.servers import http_answer, strange_server
from training.job import Job
from training.launch import train
from training.settings import override
from training.stages.stage1 import Stage1
from training.tracking.journal import read_metrics
from training.tracking.mlflow_client import RUN, MlflowCourier, tracking_uri
from training.tracking.mlflow_run import Tracker, tracked_run
from training.tracking.outbox import Call
from vqi2i.bundle import CHECKSUM_TAG, checksum

QUIET = Console(quiet=True)


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a server that is not there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


@contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A real server with its database and artifacts in `folder`."""
    folder.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--workers",
            "1",
            "--backend-store-uri",
            f"sqlite:///{folder / 'mlflow.db'}",
            "--artifacts-destination",
            str(folder / "artifacts"),
        ],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=os.environ
        | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # processes more that nobody needs
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process)
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # with its workers
        process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError("the server did not start")


def _history(run_id: str, name: str) -> list[tuple[int, float]]:
    return [
        (point.step, point.value)
        for point in MlflowClient(tracking_uri()).get_metric_history(run_id, name)
    ]


def test_a_run_holds_what_it_was_told(run_dir: Path, mlflow_store: str) -> None:
    tracker = Tracker(run_dir, {"stage": "stage1"})
    tracker.settings({"optim.learning_rate": 0.5})
    tracker.log(4, {"pixel": 1.5})
    (run_dir / "samples").mkdir()
    (run_dir / "samples/a.png").write_bytes(b"picture")
    tracker.keep([run_dir / "samples/a.png"], "samples")
    tracker.end("FINISHED")
    assert tracker.close() == ""
    run_id = tracked_run(run_dir)
    assert run_id is not None
    run = MlflowClient(mlflow_store).get_run(run_id)
    assert (run.info.run_name, run.info.status, run.data.tags["stage"]) == (
        "first",
        "FINISHED",
        "stage1",
    )
    assert run.data.params == {"optim.learning_rate": "0.5"}
    assert _history(run_id, "pixel") == [(4, 1.5)]
    assert [file.path for file in MlflowClient(mlflow_store).list_artifacts(run_id, "samples")] == [
        "samples/a.png"
    ]


def test_a_training_that_goes_on_goes_on_in_its_run(run_dir: Path, mlflow_store: str) -> None:
    first = Tracker(run_dir, {})
    assert first.is_new
    first.log(4, {"pixel": 1})
    first.end("FAILED")
    assert first.close() == ""
    run_id = tracked_run(run_dir)
    second = Tracker(run_dir, {})
    assert (second.is_new, second.run_tag) == (False, first.run_tag)
    second.begin()
    second.log(4, {"pixel": 2})  # what it had reported before
    second.log(8, {"pixel": 3})
    second.end("FINISHED")
    assert second.close() == ""
    assert tracked_run(run_dir) == run_id is not None
    assert _history(run_id, "pixel") == [(4, 1), (8, 3)]
    assert MlflowClient(mlflow_store).get_run(run_id).info.status == "FINISHED"


def test_a_call_that_comes_twice_leaves_what_it_would_leave_once(
    run_dir: Path, mlflow_store: str
) -> None:
    """As after a kill between MLflow's answer and the note of it."""
    run_dir.mkdir(parents=True)
    (run_dir / "bundle").mkdir()
    (run_dir / "bundle/config.json").write_text("{}")
    courier, notes = MlflowCourier(run_dir, mlflow_store), {}
    calls = [
        Call("create", {"name": "first", "tags": {}, "mark": "abc", "parent": None, "time": 1}),
        Call("metrics", {"position": 4, "metrics": {"pixel": 1.5}, "time": 2}),
        Call("folder", {"path": "bundle"}),
        Call("register", {"name": "seasons", "path": "bundle", "card": "# A model"}),
    ]
    runs = set()
    for call in calls:
        for _ in range(2):
            courier.carry(call, notes)
            runs.add(notes[RUN])
    assert len(runs) == 1
    assert _history(notes[RUN], "pixel") == [(4, 1.5)]
    (version,) = MlflowClient(mlflow_store).search_model_versions("name = 'seasons'")
    assert (version.run_id, version.description) == (notes[RUN], "# A model")


def test_a_training_starts_and_ends_without_its_server_and_the_same_command_uploads_it(
    stage1_job: Job,
    run_dir: Path,
    nobody: str,
    tmp_path: Path,
    mlflow_tables: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    short = override(stage1_job.config, ["schedule.images=16"])
    job = stage1_job.model_copy(update={"config": short})
    result = train(job, run_dir, console=Console(stderr=True), register="seasons")
    assert result.complete
    assert tracked_run(run_dir) is None
    assert caplog.text.count("does not answer") == 1
    assert f"MLflow at {nobody} has yet to take" in capfd.readouterr().err

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copy(mlflow_tables, tmp_path)}")
    assert train(job, run_dir, console=QUIET, register="seasons") == result
    run_id = tracked_run(run_dir)
    assert run_id is not None
    (version,) = MlflowClient(tracking_uri()).search_model_versions("name = 'seasons'")
    assert (version.version, version.run_id) == (1, run_id)
    assert version.description == (result.bundle / "MODEL_CARD.md").read_text()
    tags = MlflowClient(tracking_uri()).get_run(run_id).data.tags
    assert tags["data_sha256"] == read_manifest(job.data).fingerprint
    assert tags["environment.workers"] == "1"
    assert [step for step, _ in _history(run_id, "held_out_psnr")] == [8, 16]
    assert MlflowClient(tracking_uri()).get_run(run_id).info.status == "FINISHED"
    artifacts = {file.path for file in MlflowClient(tracking_uri()).list_artifacts(run_id)}
    assert artifacts == {"bundle", "config.json", "samples"}


def _train_slowly(job: Job, run_dir: Path) -> None:
    """Leaves the processor to the servers that start meanwhile."""
    step = Stage1.train_step

    def rested(stage: Stage1, batch: Tensor, time_gone: float) -> dict[str, Tensor]:
        time.sleep(0.1)
        return step(stage, batch, time_gone)

    Stage1.train_step = rested  # type: ignore[method-assign]
    train(job, run_dir)


def _told(run_dir: Path, *positions: int) -> str:
    """What a training says: its figures at these positions, and its end; what MLflow did not
    take.
    """
    tracker = Tracker(run_dir, {})
    for position in positions:
        tracker.log(position, {"pixel": position / 4})
    tracker.end("FINISHED")
    return tracker.close()


def test_what_a_deleted_experiment_does_not_take_reaches_it_once_it_is_restored(
    run_dir: Path, new_store: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = MlflowClient(new_store)
    experiment = client.create_experiment("vqi2i")
    client.delete_experiment(experiment)
    assert "has yet to take 4 reports of first" in _told(run_dir, 4, 8)
    assert caplog.text.count("takes nothing (its experiment vqi2i was deleted: restore it") == 1
    client.restore_experiment(experiment)
    assert Tracker(run_dir, {}).close() == ""
    run_id = tracked_run(run_dir)
    assert run_id is not None
    assert _history(run_id, "pixel") == [(4, 1), (8, 2)]


@pytest.mark.parametrize("what", ["run", "experiment"])
def test_what_a_run_does_not_take_that_was_deleted_meanwhile_reaches_it_once_it_is_restored(
    what: str, run_dir: Path, new_store: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert _told(run_dir, 4) == ""
    run_id, client = tracked_run(run_dir), MlflowClient(new_store)
    assert run_id is not None
    name = run_id if what == "run" else client.get_run(run_id).info.experiment_id
    getattr(client, f"delete_{what}")(name)
    assert "has yet to take" in _told(run_dir, 8)
    assert f"its run {run_id} was deleted: restore it" in caplog.text
    getattr(client, f"restore_{what}")(name)
    assert Tracker(run_dir, {}).close() == ""
    assert _history(run_id, "pixel") == [(4, 1), (8, 2)]


def test_a_store_that_was_begun_again_at_the_same_place_gets_everything(
    run_dir: Path, new_store: str, mlflow_tables: Path
) -> None:
    assert _told(run_dir, 4) == ""
    before = tracked_run(run_dir)
    shutil.copy(mlflow_tables, new_store.removeprefix("sqlite:///"))
    assert _told(run_dir, 8) == ""
    run_id = tracked_run(run_dir)
    assert run_id is not None
    assert run_id != before
    assert _history(run_id, "pixel") == [(4, 1), (8, 2)]


def test_runs_go_where_mlflows_own_variables_say(
    run_dir: Path, new_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MlflowClient(new_store)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    assert _told(run_dir, 4) == ""
    parent = Tracker(run_dir, {})
    assert parent.close() == ""
    (run,) = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    assert run.info.run_id == tracked_run(run_dir)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
    child = Tracker(run_dir / "trial", {}, parent=parent.run_tag)  # of a search that goes on
    assert child.close() == ""
    (trial,) = client.search_runs([run.info.experiment_id], "tags.mlflow.parentRunId != ''")
    assert trial.data.tags["mlflow.parentRunId"] == run.info.run_id


def test_a_registered_bundle_says_what_its_files_are(
    run_dir: Path, new_store: str, tiny_bundle: Path
) -> None:
    shutil.copytree(tiny_bundle, run_dir / "bundle")
    tracker = Tracker(run_dir, {})
    tracker.register("it's mine", run_dir / "bundle")
    assert tracker.close() == ""
    (version,) = MlflowClient(new_store).search_model_versions()
    assert (version.name, version.tags[CHECKSUM_TAG]) == ("it's mine", checksum(tiny_bundle))


@pytest.mark.parametrize("answer", [None, http_answer("500 Oops", "text/html", b"oops")])
def test_a_training_goes_on_beside_a_server_that_answers_badly(
    answer: bytes | None,
    run_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with strange_server(answer) as port:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        begin = time.monotonic()
        assert "has yet to take" in _told(run_dir, 4)
        assert time.monotonic() - begin < 10
    assert caplog.text.count("does not answer") == 1


@pytest.mark.slow
def test_a_server_that_is_killed_and_started_again_in_mid_run_has_everything_once(
    stage1_job: Job,
    run_dir: Path,
    nobody: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("training.tracking.outbox._LONGEST_PAUSE", 1.0)
    port, folder = int(nobody.rpartition(":")[2]), tmp_path / "server"
    config = override(stage1_job.config, ["schedule.images=100000", "schedule.minutes=3"])
    job = stage1_job.model_copy(update={"config": config})
    with mlflow_server(folder, port):
        training = begin(_train_slowly, job, run_dir, said=tmp_path / "said")
        _until(lambda: len(read_metrics(run_dir)) >= 3 and tracked_run(run_dir) is not None)
    seen = len(read_metrics(run_dir))
    _until(lambda: len(read_metrics(run_dir)) >= seen + 3)  # it goes on
    assert training.is_alive()
    with mlflow_server(folder, port):
        seen = len(read_metrics(run_dir))
        _until(lambda: len(read_metrics(run_dir)) >= seen + 3)
        training.kill()
        training.join()
        assert (tmp_path / "said").read_text().count("does not answer") == 1
        tracker = Tracker(run_dir, {})  # as the same command would
        tracker.end("KILLED")
        assert tracker.close() == ""
        run_id = tracked_run(run_dir)
        assert run_id is not None
        steps = [step for step, _ in _history(run_id, "pixel")]
    assert steps == [row["position"] for row in read_metrics(run_dir)][: len(steps)]
    assert len(steps) >= seen + 3


def _until(condition: object) -> None:
    deadline = time.monotonic() + 120
    while not condition() and time.monotonic() < deadline:  # type: ignore[operator]
        time.sleep(0.05)
    assert condition()  # type: ignore[operator]


def _report_once(run_dir: Path) -> None:
    tracker = Tracker(run_dir, {})
    tracker.log(1, {"pixel": 1})
    assert not tracker.close()


@pytest.mark.slow
def test_two_first_trainings_on_a_new_database_do_not_hinder_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = f"sqlite:///{tmp_path / 'new.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    both = [begin(_report_once, tmp_path / name) for name in ("one", "two")]
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    runs = {tracked_run(tmp_path / name) for name in ("one", "two")}
    assert len(runs - {None}) == 2
    client = MlflowClient(store)
    assert len({client.get_run(run).info.experiment_id for run in runs if run is not None}) == 1
