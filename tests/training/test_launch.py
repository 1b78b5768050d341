from pathlib import Path

import pytest
from rich.console import Console

from training.config import override
from training.job import Job
from training.journal import read_metrics
from training.launch import train
from vqi2i import Translator

QUIET = Console(quiet=True)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")
def test_two_workers_train_a_bundle(stage1_job: Job, tmp_path: Path, mlflow_store: str, ray_session: None) -> None:
    result = train(stage1_job, tmp_path / "run", workers=2, console=QUIET)
    assert (result.position, result.complete) == (48, True)
    assert Translator.load(result.bundle).domains == ("summer", "winter")
    rows = read_metrics(tmp_path / "run")
    assert [row["position"] for row in rows] == [8, 16, 24, 32, 40, 48]
    assert "held_out_psnr" in rows[-1]
    assert list((tmp_path / "run/samples").glob("*.png"))
    assert train(stage1_job, tmp_path / "run", workers=2, console=QUIET) == result  # at once


def test_a_runs_folder_refuses_other_settings(stage1_job: Job, tmp_path: Path, mlflow_store: str) -> None:
    short = override(stage1_job.config, ["schedule.images=4", "schedule.log_every=4"])
    job = stage1_job.model_copy(update={"config": short})
    result = train(job, tmp_path / "run", local=True, console=QUIET)
    assert result.bundle.is_dir()
    other = job.model_copy(update={"config": override(short, ["seed=1", "weights.style=3"])})
    with pytest.raises(
        ValueError, match=r"other settings \(config\.seed, config\.weights\.style\): choose another --run"
    ):
        train(other, tmp_path / "run", local=True, console=QUIET)
