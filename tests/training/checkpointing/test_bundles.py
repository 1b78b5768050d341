import logging
from pathlib import Path

import pytest
from mlflow.artifacts import download_artifacts
from mlflow.tracking import MlflowClient
from rich.console import Console

from training.checkpointing.bundles import fetch_bundle, leave_bundles
from training.distributed.worker import LocalWorker
from training.job import Job
from training.launch import train
from training.run.attempt import checkpoints_of
from training.settings import override
from training.stages.build import make_stage
from training.tracking.journal import RunJournal, read_metrics
from vqi2i.bundle import read_config

QUIET = Console(quiet=True)


@pytest.fixture
def worsening(stage2_job: Job) -> Job:
    """A training whose weights are at their best long before its end."""
    settings = ["optim.learning_rate=3", "optim.clip_norm=100", "schedule.constant_until=1"]
    return stage2_job.model_copy(update={"config": override(stage2_job.config, settings)})


def test_the_best_weights_lie_beside_the_last_and_are_those_that_are_registered(
    worsening: Job, run_dir: Path, mlflow_store: str
) -> None:
    last = train(worsening, run_dir, console=QUIET, register="seasons")
    measured = {row["position"]: row["held_out_nll"] for row in read_metrics(run_dir)}
    best = min((16, 32, 48), key=lambda position: measured[position])
    assert best < last.position == 48
    of_last, of_best = (read_config(each).provenance for each in (last.bundle, run_dir / "best"))
    assert (of_last["prior_images_seen"], of_last["prior_chosen"]) == (48, "last")
    assert of_best["prior_images_seen"] == best
    assert of_best["prior_chosen"] == "held_out_nll on test"  # no validation images

    (version,) = MlflowClient(mlflow_store).search_model_versions("name = 'seasons'")
    registered = Path(download_artifacts(version.source, tracking_uri=mlflow_store))
    for kept in (run_dir / "best").iterdir():
        assert (registered / kept.name).read_bytes() == kept.read_bytes()
    assert (registered / "prior.safetensors").read_bytes() != (
        last.bundle / "prior.safetensors"
    ).read_bytes()


@pytest.mark.usefixtures("mlflow_store")
def test_best_weights_whose_checkpoint_is_damaged_are_left_out_and_named(
    worsening: Job, run_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(worsening, run_dir, console=QUIET)
    checkpoints = checkpoints_of(worsening, run_dir)
    best = checkpoints.best()
    assert best is not None
    file = Path(checkpoints.name(best))
    damaged = bytearray(file.read_bytes())
    damaged[-100] ^= 1
    file.write_bytes(damaged)
    stage = make_stage(worsening, LocalWorker(checkpoints, RunJournal(run_dir, None, QUIET)))
    with caplog.at_level(logging.WARNING):
        leave_bundles(stage, checkpoints)
    assert f"{file} is left out, it was the best" in caplog.text
    assert fetch_bundle(checkpoints, "last", run_dir / "bundle")
    assert not fetch_bundle(checkpoints, "best", run_dir / "best")
