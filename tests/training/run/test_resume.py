import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from mlflow import MlflowClient
from rich.console import Console

from tests.processes import begin, kill_once
from tests.training.conftest import STAGE1
from training.job import Job
from training.launch import train
from training.run.run_record import RunRecord
from training.settings import override
from training.tracking.journal import read_metrics
from training.tracking.mlflow_run import tracked_run
from vqi2i.bundle import fingerprint

ROOT = Path(__file__).parents[3]
QUIET = Console(quiet=True)


def _train(job: Job, run_dir: Path) -> None:
    torch.set_num_threads(1)
    train(job, run_dir)


def _kill_after_first_checkpoint(job: Job, run_dir: Path) -> None:
    process = begin(_train, job, run_dir)
    kill_once(process, lambda: list(run_dir.glob("checkpoints/*.ckpt")))


def test_a_killed_run_given_again_ends_as_if_nothing_had_happened(
    stage1_job: Job, tmp_path: Path, mlflow_store: str
) -> None:
    config = override(stage1_job.config, ["schedule.images=48"])
    job = stage1_job.model_copy(update={"config": config})
    undisturbed = train(job, tmp_path / "undisturbed", console=QUIET)

    run_dir = tmp_path / "killed"
    _kill_after_first_checkpoint(job, run_dir)
    record = RunRecord.model_validate_json((run_dir / "run.json").read_text())
    assert record.outcome is None
    resumed = train(job, run_dir, console=QUIET)

    assert resumed.complete
    assert fingerprint(resumed.bundle) == fingerprint(undisturbed.bundle)
    assert [row["position"] for row in read_metrics(run_dir)] == list(range(8, 49, 8))
    client = MlflowClient(mlflow_store)
    mlflow_run = tracked_run(run_dir)
    assert mlflow_run is not None
    steps = [point.step for point in client.get_metric_history(mlflow_run, "held_out_psnr")]
    assert steps == list(range(8, 49, 8))
    assert client.get_run(mlflow_run).info.status == "FINISHED"


def test_ctrl_c_saves_says_how_to_go_on_and_ends_with_130(
    shards: Path, tmp_path: Path, mlflow_store: str
) -> None:
    command = [
        sys.executable,
        "run.py",
        "train",
        "stage1",
        "--data",
        str(shards),
        "--local",
        "--runs",
        str(tmp_path),
        "--run",
        "run",
    ]
    for setting in (*STAGE1, "schedule.images=4000"):
        command += ["--set", setting]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("run/checkpoints/*.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    saved = max(int(path.stem) for path in tmp_path.glob("run/checkpoints/*.ckpt"))
    assert (
        f"run: stopped and saved after {saved} images of each domain; the same command goes on"
        in said
    )
