"""Bits per token of named settings of the prior on held-out images, after equally many images seen.

    python benchmarks/prior.py --data shards --model runs/first/bundle --images 6400 \\
        paper causal plus masked

Sizes, batches and schedule are those of the recipe laptop64 in all of them. One JSON line per
setting. A causal prior's figure is exact, a masked one's an upper bound
(`vqi2i/priors/likelihood.py`); `gap_bits` is held-out minus training images. Further settings of
the form name=value hold for all that are named. Figures are of test images; `upside_down` are those
of priors that continue pictures upwards, of test images turned so.
"""

import argparse
import json
import math
import time
from itertools import islice
from pathlib import Path

import torch

from training.checkpointing.checkpoints import Checkpoints
from training.distributed.worker import LocalWorker
from training.hardware import keep_freed_memory
from training.job import make_job
from training.stages.build import make_stage, prepare
from training.stages.stage2 import Stage2
from training.tracking.journal import RunJournal

SETTINGS: dict[str, tuple[str, list[str]]] = {  # recipe, and what is set beside it
    "paper": ("laptop64", ["prior.condition=coordinates"]),
    "causal": ("laptop64", []),
    "rotary": ("laptop64", ["prior.positions=rotary"]),
    "local": ("laptop64", ["prior.positions=rotary", "prior.local=true"]),
    "plus": ("plus64", []),
    "upright": ("plus64", ["prior.upwards=false"]),
    "masked": ("masked64", []),
}


def main() -> None:
    """Train every named setting and print what it reached."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="shards")
    parser.add_argument("--model", type=Path, required=True, help="stage 1's bundle")
    parser.add_argument("--images", type=int, default=800, help="images of each domain seen")
    parser.add_argument(
        "--set", action="append", default=[], help="a setting for all that are named"
    )
    parser.add_argument("names", nargs="+", choices=SETTINGS)
    options = parser.parse_args()
    keep_freed_memory()
    for name in options.names:
        recipe, own = SETTINGS[name]
        settings = [
            f"schedule.images={options.images}",
            "schedule.minutes=null",
            *own,
            *options.set,
        ]
        print(
            json.dumps(
                {"setting": name, "images": options.images, **train(options, recipe, settings)}
            ),
            flush=True,
        )


def train(options: argparse.Namespace, recipe: str, settings: list[str]) -> dict[str, object]:
    """What a recipe with settings reaches, and what it took."""
    job = make_job(
        "stage2", data=options.data, model=options.model, recipe=recipe, settings=settings
    )
    prepare(job)
    here = Path()  # nothing is saved or reported
    stage = make_stage(job, LocalWorker(Checkpoints(here, 1), RunJournal(here, None)))
    assert isinstance(stage, Stage2)
    batches, start = stage.batches(0), time.process_time()
    losses = [
        stage.train_step(batch)["nll"]
        for batch in islice(batches, options.images // job.config.batch_size)
    ]
    batches.close()
    seconds = time.process_time() - start
    stage.measured = "test"  # reported, not chosen by
    figures = stage.measure()
    turned = figures.get("held_out_bits_upside_down")
    return {
        "bits_per_token": round(figures["held_out_bits_per_token"], 3),
        **({} if turned is None else {"upside_down": round(turned, 3)}),
        "gap_bits": round(figures["gap_bits"], 3),
        "last_training_bits": round(float(torch.stack(losses[-20:]).mean()) / math.log(2), 3),
        "parameters": sum(parameter.numel() for parameter in stage.prior.parameters()),
        "cpu_seconds": round(seconds, 1),
        "set": options.set,
    }


if __name__ == "__main__":
    main()
