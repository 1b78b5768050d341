"""Trainings on Ray whose workers, driver or machine are killed: they end with the weights of the
undisturbed ones.
"""

import json
import os
import random
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from tests.conftest import RAY_SETTINGS
from training.job import Job
from training.launch import train
from training.run.ray_trainer import RayPlan
from training.settings import override
from training.tracking.journal import read_metrics
from vqi2i.bundle import fingerprint

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).parents[3]
QUIET = Console(quiet=True)
TWO = RayPlan(workers=2, cpus_per_worker=1)
MARK = "VQI2I_TEST_RUN"  # in the environment of a driver and of all that it starts
KILLS = ("worker",) * 6 + ("driver", "worker", "driver", "worker")
DRIVER = """
import sys
from pathlib import Path
import ray
from rich.console import Console
from training.job import Job
from training.launch import train
from training.run.ray_trainer import RayPlan
ray.init(address="local", num_cpus=2, object_store_memory=100_000_000, log_to_driver=False,
         include_dashboard=False)
train(Job.model_validate_json(sys.argv[1]), Path(sys.argv[2]),
      RayPlan(workers=2, cpus_per_worker=1), console=Console(quiet=True))
"""


def long(job: Job) -> Job:
    """Eighty-eight steps, saved every four."""
    settings = ("images=352", "log_every=32", "sample_every=352", "save_every=16")
    return job.model_copy(
        update={"config": override(job.config, [f"schedule.{setting}" for setting in settings])}
    )


@contextmanager
def driver(job: Job, run_dir: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A driver with a Ray of its own, and the mark that its processes carry."""
    mark = uuid.uuid4().hex
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, job.model_dump_json(), str(run_dir)],
        cwd=ROOT,
        env=os.environ | {MARK: mark, "OMP_NUM_THREADS": "1"},
    )
    try:
        yield process, mark
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def workers_of(mark: str) -> list[int]:
    """Process ids of the Ray Train workers that a driver has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
            if (
                b"RayTrainWorker" in title
                and f"{MARK}={mark}".encode() in (folder / "environ").read_bytes()
            ):
                found.append(int(folder.name))
        except OSError:  # it has ended meanwhile
            continue
    return sorted(found)


def newest(run_dir: Path) -> int:
    """Position of the newest checkpoint."""
    return max((int(path.stem) for path in run_dir.glob("checkpoints/*.ckpt")), default=0)


def wait_for(run_dir: Path, position: int, process: subprocess.Popen[bytes], mark: str) -> None:
    """Wait until a run is so far and has workers."""
    deadline = time.monotonic() + 300
    while newest(run_dir) < position or not workers_of(mark):
        assert process.poll() is None, "the driver has ended before its time"
        assert time.monotonic() < deadline, f"no checkpoint of {position} images"
        time.sleep(0.02)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")
@pytest.mark.parametrize("stage", ["stage1", "stage2"])
def test_ten_kills_leave_the_weights_of_the_undisturbed_run(
    stage: str, request: pytest.FixtureRequest, tmp_path: Path, mlflow_store: str, ray_session: None
) -> None:
    job = long(request.getfixturevalue(f"{stage}_job"))
    undisturbed = train(job, tmp_path / "undisturbed", TWO, console=QUIET)

    run_dir, rng = tmp_path / "killed", random.Random(stage)
    moments = iter(sorted(rng.sample(range(16, 272, 16), len(KILLS))))
    kills = iter(KILLS)
    victim = next(kills, None)
    while victim is not None:
        with driver(job, run_dir) as (process, mark):
            while victim is not None:
                wait_for(run_dir, next(moments), process, mark)
                time.sleep(rng.uniform(0, 0.1))  # within a step, a report, or a checkpoint
                os.kill(
                    process.pid if victim == "driver" else rng.choice(workers_of(mark)),
                    signal.SIGKILL,
                )
                driver_is_dead = victim == "driver"
                victim = next(kills, None)
                if driver_is_dead:
                    break
            else:
                assert process.wait(120) == 0
    result = train(job, run_dir, TWO, console=QUIET)  # at once, if the last driver has ended it
    assert (result.position, result.complete) == (352, True)
    assert fingerprint(result.bundle) == fingerprint(undisturbed.bundle)
    positions = [row["position"] for row in read_metrics(run_dir)]
    assert positions == list(range(32, 353, 32))


NODES = """
import json, sys, threading, time
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
from rich.console import Console
from tests.training.run.test_chaos import newest
from training.job import Job
from training.launch import train
from training.run.ray_trainer import RayPlan

run_dir, store = Path(sys.argv[2]), {"object_store_memory": 100_000_000}
head = {"num_cpus": 1, "include_dashboard": False, **store}
cluster = Cluster(initialize_head=True, head_node_args=head)
doomed = cluster.add_node(num_cpus=1, **store)
plan = RayPlan(workers=1, most_workers=2, cpus_per_worker=1, address=cluster.address)
console = Console(file=open(sys.argv[3], "w"))
job = Job.model_validate_json(sys.argv[1])
training = threading.Thread(target=lambda: train(job, run_dir, plan, console=console))
training.start()
while newest(run_dir) < 96:
    time.sleep(0.05)
cluster.remove_node(doomed, allow_graceful=False)
dead, reached = time.monotonic(), newest(run_dir)
while newest(run_dir) <= reached + 16 and training.is_alive():
    time.sleep(0.05)
print(json.dumps({"seconds": round(time.monotonic() - dead, 1)}))
training.join()
ray.shutdown()
cluster.shutdown()
"""


def test_a_run_whose_node_dies_ends_on_what_is_left(
    stage1_job: Job, tmp_path: Path, mlflow_store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    job = long(stage1_job)
    job = job.model_copy(update={"config": override(job.config, ["schedule.keep_checkpoints=100"])})
    run_dir, lines = tmp_path / "run", tmp_path / "lines"
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            NODES,
            job.model_dump_json(),
            str(run_dir),
            str(lines),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
        check=True,
        env=os.environ
        | {
            **RAY_SETTINGS,
            "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "10",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "OMP_NUM_THREADS": "1",
        },
    )
    recovery = json.loads(done.stdout.splitlines()[-1])["seconds"]
    with capsys.disabled():
        print(f" [a node's death cost {recovery:.0f} s]", end="")
    assert recovery < 120

    # What is left is one worker: it ends as one process does that goes on from the same checkpoint.
    (resumed,) = re.findall(r"goes on after (\d+) images", lines.read_text())
    alone = tmp_path / "alone"
    shutil.copytree(run_dir / "checkpoints", alone / "checkpoints")
    for path in alone.glob("checkpoints/*"):
        if path.suffix == ".tar" or int(path.stem) > int(resumed):
            path.unlink()
    assert fingerprint(train(job, alone, console=QUIET).bundle) == fingerprint(run_dir / "bundle")
