"""`ray job submit`: the code travels with the job, the driver joins the cluster that runs it."""

import shutil
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.training.conftest import STAGE1
from vqi2i import Translator

ROOT = Path(__file__).parents[3]
MODULES = ("run.py", "errors.py")
PACKAGES = (
    "commands",
    "evaluation",
    "imaging",
    "pipelines",
    "platforms",
    "serving",
    "training",
    "tuning",
    "vqi2i",
)


@pytest.mark.ray
@pytest.mark.slow
def test_a_submitted_job_trains_with_the_code_it_brings(
    shards: Path, tmp_path: Path, ray_session: None
) -> None:
    from ray._private.worker import get_dashboard_url
    from ray.job_submission import JobSubmissionClient

    code = tmp_path / "code"
    code.mkdir()
    for name in (*MODULES, *PACKAGES):
        copy = shutil.copy if name.endswith(".py") else shutil.copytree
        copy(ROOT / name, code / name)
    (code / "training/loop/provenance.py").write_text(
        (code / "training/loop/provenance.py")
        .read_text()
        .replace('"workers":', '"brought": "yes", "workers":')
    )
    store = f"sqlite:///{tmp_path}/mlflow.db"
    settings = " ".join(f"--set '{setting}'" for setting in STAGE1)
    client = JobSubmissionClient(f"http://{get_dashboard_url()}")
    job = client.submit_job(
        entrypoint=(
            f"{sys.executable} run.py train stage1 --data {shards} --runs {tmp_path}/runs --run "
            f"sent --storage {tmp_path}/storage --cpus-per-worker 1 {settings}"
        ),
        runtime_env={
            "working_dir": str(code),
            "env_vars": {"MLFLOW_TRACKING_URI": store},
        },
    )
    deadline = time.monotonic() + 180
    while not client.get_job_status(job).is_terminal() and time.monotonic() < deadline:
        time.sleep(0.5)
    logs = client.get_job_logs(job)
    assert client.get_job_status(job) == "SUCCEEDED", logs
    assert Translator.load(tmp_path / "runs/sent/bundle").domains == ("summer", "winter")
    (run,) = MlflowClient(store).search_runs(["1"], filter_string="attributes.run_name = 'sent'")
    # workers ran what was sent, not what is installed
    assert run.data.tags["environment.brought"] == "yes"
    assert sorted(path.name for path in (tmp_path / "storage/sent").iterdir()) == [
        "checkpoints",
        "run.json",
    ]
