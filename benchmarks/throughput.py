"""What a training step loses: to data, to communication, to Ray; and what a GPU makes of a recipe.

Without `--sweep`, stage 1 of `laptop64` is trained for a while locally, on one Ray worker, on two,
and the first two again in reverse order, so that a drift of the machine cancels out. Shares are of
a steady step (the first reports of each run are left out); Ray's overhead is the step on one worker
over the local step, with as many threads. With fewer `--threads` than cores, Ray's own processes
have a core to themselves.

With `--sweep 1,2,4`, only steps are measured, on random images, one configuration after the other:
images per second (of all domains), peak memory, and on GPUs the share of the card's dense bfloat16
peak, from the multiplications that `torch.utils.flop_counter` sees.

    python benchmarks/throughput.py [--steps 160] [--threads 2]
    python benchmarks/throughput.py --sweep 8,16,32 --recipe plus256 \\
        [--precision bf16|float32] [--compile] [--steps 20]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from pipelines.images_to_shards import build_shards
from pipelines.synthetic.dataset import DOMAINS, synthesize
from training.config import Stage1Config
from training.distributed.worker import LocalWorker
from training.hardware import keep_freed_memory, memory_figures
from training.recipes import recipe
from training.settings import override
from training.stages.stage1 import Stage1
from training.tracking.journal import read_metrics

ROOT = Path(__file__).parents[1]
WINDOW = 10  # steps of a report
WARM_UP = 3  # reports that are left out
PEAK_TFLOPS = {
    "H100": 989,
    "H200": 989,
    "A100": 312,
    "L40S": 362,
    "L4": 121,
    "4090": 165,
}  # dense bfloat16
PLACES = {"local": 0, "ray1": 1, "ray2": 2}  # workers of Ray
EVERYTHING_ON = (
    "codebook.start_at=0",
    "game.discriminator_from=0",
    "game.generator_from=0",
    "schedule.minutes=null",
)


def main() -> None:
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--steps", type=int, default=160, help="of each run, or of each configuration of a sweep"
    )
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count() or 1, help="of a run, over all its workers"
    )
    parser.add_argument(
        "--sweep", help="batch sizes (of each domain), for example 8,16,32: measure steps alone"
    )
    parser.add_argument("--recipe", default="laptop64", help="of a sweep")
    parser.add_argument("--precision", default="auto", help="of a sweep")
    parser.add_argument("--compile", action="store_true", help="torch.compile in a sweep")
    parser.add_argument("--peak-tflops", type=float, help="of the GPU, if it is not known here")
    options = parser.parse_args()
    figures = sweep(options) if options.sweep else losses(options.steps, options.threads)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPUs"
    print(
        json.dumps(
            {"benchmark": "throughput", **figures, "device": device, "torch": torch.__version__}
        )
    )


def losses(steps: int, threads: int) -> dict[str, Any]:
    """Shares of a step lost to data and communication, Ray's overhead, peak memory."""
    if steps // WINDOW <= WARM_UP:
        raise SystemExit(
            f"--steps must be above {WARM_UP * WINDOW + WINDOW - 1}: the first reports are left out"
        )
    reports: dict[str, list[dict[str, float]]] = {name: [] for name in PLACES}
    with tempfile.TemporaryDirectory() as folder:
        shards = make_shards(Path(folder))
        for number, place in enumerate(("local", "ray1", "ray2", "ray1", "local")):
            reports[place] += train(
                shards, Path(folder) / f"{number}-{place}", place, steps, threads
            )
    step = {place: median(rows, "time/step") for place, rows in reports.items()}
    figures: dict[str, Any] = {"recipe": "laptop64", "steps": steps, "threads": threads}
    for place, rows in reports.items():
        figures[place] = {
            "step_ms": round(step[place], 1),
            **{
                f"{phase}_share": round(median(rows, f"time/{phase}") / step[place], 4)
                for phase in ("data", "communication", "save")
            },
            "peak_memory_mb": round(
                max(row["memory/resident"] for row in rows)
            ),  # of the first worker
        }
    return figures | {"ray_overhead": round(step["ray1"] / step["local"] - 1, 4)}


def make_shards(folder: Path) -> Path:
    """A few landscapes of two seasons; how many does not matter for a step."""
    synthesize(folder / "images", pairs=64, size=64, tests=1, wide=0)
    build_shards({d: folder / "images/train" / d for d in DOMAINS}, out=folder / "shards", size=64)
    return folder / "shards"


def train_command(shards: Path, run_dir: Path, *where: str, settings: Sequence[str]) -> list[str]:
    """The command that trains stage 1 in a process of its own."""
    places = ["--data", str(shards), "--runs", str(run_dir.parent), "--run", run_dir.name]
    chosen = [part for setting in settings for part in ("--set", setting)]
    return [sys.executable, str(ROOT / "run.py"), "train", "stage1", *places, *where, *chosen]


def train(
    shards: Path, run_dir: Path, place: str, steps: int, threads: int
) -> list[dict[str, float]]:
    """Train in a process of its own; the reports of its steady steps."""
    batch = recipe("stage1", "laptop64", DOMAINS).batch_size
    settings = (
        *EVERYTHING_ON,
        f"schedule.images={steps * batch}",
        f"schedule.log_every={WINDOW * batch}",
        f"schedule.sample_every={10 * steps * batch}",
    )
    workers = PLACES[place]
    where = (
        ["--workers", str(workers), "--cpus-per-worker", str(max(1, threads // workers))]
        if workers
        else ["--local"]
    )
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "PYTHONPATH": str(ROOT),
        "RAY_ADDRESS": "local",
        "MLFLOW_TRACKING_URI": f"sqlite:///{run_dir.parent / 'mlflow.db'}",
    }
    done = subprocess.run(
        train_command(shards, run_dir, *where, settings=settings),
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{place} failed: {done.stderr[-2000:]}")
    print(f"{place}: done", file=sys.stderr)
    return read_metrics(run_dir)[WARM_UP:]


def median(rows: list[dict[str, float]], name: str) -> float:
    """Of a figure over reports."""
    return statistics.median(row[name] for row in rows)


def sweep(options: argparse.Namespace) -> dict[str, Any]:
    """Speed of bare steps for every batch size."""
    keep_freed_memory()
    rows = [measure(options, int(batch)) for batch in options.sweep.split(",")]
    return {
        "recipe": options.recipe,
        "precision": options.precision,
        "compile": options.compile,
        "rows": rows,
    }


def measure(options: argparse.Namespace, batch: int) -> dict[str, Any]:
    """Images per second, memory and share of peak at one batch size; a batch that does not fit says
    so.
    """
    settings = [
        *EVERYTHING_ON,
        f"batch_size={batch}",
        f"precision={options.precision}",
        f"compile={str(options.compile).lower()}",
    ]
    config = override(recipe("stage1", options.recipe, DOMAINS), settings)
    assert isinstance(config, Stage1Config)
    nothing: Any = None  # steps write no checkpoint and report to nobody
    # and read no data
    feed: Any = SimpleNamespace(epoch=1, labels=frozenset(), names=lambda position, rank: ())
    try:
        worker = LocalWorker(nothing, nothing)
        flops = count(config.model_copy(update={"compile": False}), worker, feed)
        seconds = steady(Stage1(config, worker, feed, {}), options.steps)
    except torch.OutOfMemoryError:
        return {"batch": batch, "out_of_memory": True}
    images = batch * len(config.network.domains)
    row = {
        "batch": batch,
        "step_ms": round(1000 * seconds, 1),
        "images_per_second": round(images / seconds, 2),
        "tflops_per_step": round(flops / 1e12, 4),
        **{name: round(value) for name, value in memory_figures(worker.device).items()},
    }
    if (peak := options.peak_tflops or known_peak()) is not None:
        row["share_of_peak"] = round(flops / seconds / 1e12 / peak, 4)
    return row


def images_for(stage: Stage1) -> torch.Tensor:
    """A random batch in the layout of training."""
    config, device = stage.config, stage.collectives.device
    rows = config.batch_size * len(config.network.domains)
    images = torch.rand(rows, 3, config.crop, config.crop, device=device) * 2 - 1
    return images.contiguous(memory_format=torch.channels_last)


def count(config: Stage1Config, worker: LocalWorker, feed: Any) -> int:
    """Floating point operations of one step: matrix products and convolutions, both ways."""
    stage = Stage1(config, worker, feed, {})
    with FlopCounterMode(display=False) as counter:
        stage.train_step(images_for(stage))
    return counter.get_total_flops()


def steady(stage: Stage1, steps: int) -> float:
    """Seconds of a step after some that warm up."""
    images = images_for(stage)
    for _ in range(3):
        stage.train_step(images)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(steps):
        stage.train_step(images)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - begin) / steps


def known_peak() -> float | None:
    """Dense bfloat16 TFLOP/s of the GPU, if it is known."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return next((float(peak) for part, peak in PEAK_TFLOPS.items() if part in name), None)


if __name__ == "__main__":
    main()
