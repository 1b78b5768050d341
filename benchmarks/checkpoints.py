"""What checkpoints cost while all goes well, and what a kill costs, with the recipe's own interval.

Stage 1 of `laptop64` is trained in a process of its own that is killed (SIGKILL) some times at
random moments and started again. Training lost to a kill is the time since the newest checkpoint;
back to work is the time from the start of the next process to its first step. The cost of
checkpoints is the time that training waits for them, as a share.

    python benchmarks/checkpoints.py [--kills 4] [--seconds 40]
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any, cast

import torch
from throughput import EVERYTHING_ON, make_shards, train_command

from training.tracking.journal import read_metrics

ROOT = Path(__file__).parents[1]
LOG_EVERY = 40  # images of each domain: ten steps


def main() -> None:
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument(
        "--seconds", type=float, default=40, help="at most between a start and a kill"
    )
    options = parser.parse_args()
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        shards, run_dir = make_shards(Path(folder)), Path(folder) / "run"
        kills = [
            kill_once(shards, run_dir, rng.uniform(0.3, 1) * options.seconds)
            for _ in range(options.kills)
        ]
        figures = kills_summary(kills) | saving(run_dir)
    machine = {"device": f"{os.cpu_count()} CPUs", "torch": torch.__version__}
    print(json.dumps({"benchmark": "checkpoints", "recipe": "laptop64", **figures, **machine}))


def kill_once(shards: Path, run_dir: Path, seconds: float) -> dict[str, float]:
    """Start a training or go on with it, kill it some seconds after its first report."""
    before = len(read_metrics(run_dir))
    settings = (
        *EVERYTHING_ON,
        "schedule.images=1000000",
        f"schedule.log_every={LOG_EVERY}",
        # reports come more often than the recipe's, and would bring checkpoints with them
        'schedule.best=""',
    )
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "MLFLOW_TRACKING_URI": f"sqlite:///{run_dir.parent}/mlflow.db",
    }
    start = time.time()
    process = subprocess.Popen(
        train_command(shards, run_dir, "--local", settings=settings),
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    back = 0.0  # of a first start, which goes on from nothing
    for line in cast(IO[str], process.stderr):
        if "goes on after" in line:
            back = time.time() - start
        if len(read_metrics(run_dir)) > before:
            break
    time.sleep(seconds)
    process.kill()
    killed = time.time()
    process.wait()
    newest = max(path.stat().st_mtime for path in run_dir.glob("checkpoints/*.ckpt"))
    print(f"killed {killed - newest:.1f} s after a checkpoint", file=sys.stderr)
    return {"lost": killed - newest, "back": back, "resumed": before}


def kills_summary(kills: list[dict[str, float]]) -> dict[str, Any]:
    """Seconds lost to each kill, and seconds until the next process trained."""
    return {
        "lost_seconds": [round(kill["lost"], 1) for kill in kills],
        "back_to_work_seconds": [round(kill["back"], 1) for kill in kills if kill["resumed"]],
    }


def saving(run_dir: Path) -> dict[str, Any]:
    """What training has waited for checkpoints, as a share of the steps' time; their size."""
    rows = read_metrics(run_dir)
    waited, steps = (sum(row[f"time/{name}"] for row in rows) for name in ("save", "step"))
    newest = max(run_dir.glob("checkpoints/*.ckpt"))
    return {
        "save_share": round(waited / steps, 4),
        "checkpoint_mb": round(newest.stat().st_size / 1e6, 1),
    }


if __name__ == "__main__":
    main()
