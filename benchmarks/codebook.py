"""Codes used, perplexity and reconstruction of one quantizer after a number of steps on real
images.

    python benchmarks/codebook.py --data shards --quantizer vq
    python benchmarks/codebook.py --data shards --quantizer ema_restart

`vq` is trained as released: vectors start within 1/K of zero, the commitment weighs 1 and the
codebook term 0.25. Everything else is the recipe laptop64 with K codes. Figures are of held-out
images.
"""

import argparse
import json
import time
from itertools import islice
from pathlib import Path
from typing import Any

import torch

import imaging
from pipelines.reading.reader import ShardReader
from pipelines.shards_to_batches import held_out
from training.distributed.worker import LocalWorker
from training.hardware import keep_freed_memory
from training.recipes import stage1_laptop64
from training.settings import override
from training.stages.image_batches import ImageFeed
from training.stages.stage1 import Stage1
from vqi2i.networks.quantizers import Usage

RULES = {
    "vq": [
        "network.quantizer=vq",
        "weights.commitment=1",
        "weights.codebook=0.25",
        "codebook.start_at=0",
    ],
    "ema_restart": [],
    "l2": [
        "network.quantizer=l2",
        "weights.commitment=0.25",
        "weights.codebook=1",
        "codebook.start_at=0",
    ],
    "simvq": [
        "network.quantizer=simvq",
        "weights.commitment=0.25",
        "weights.codebook=1",
        "codebook.start_at=0",
    ],
}


def main() -> None:
    """Train, measure, print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="shards of 64 px")
    parser.add_argument("--quantizer", choices=RULES, required=True)
    parser.add_argument("--codes", type=int, default=512)
    parser.add_argument("--steps", type=int, default=2400)
    options = parser.parse_args()
    keep_freed_memory()
    reader = ShardReader(options.data)
    settings = [f"network.codebook_size={options.codes}", f"schedule.images={4 * options.steps}"]
    config = override(
        stage1_laptop64(reader.manifest.domains),
        [*settings, "schedule.minutes=null", *RULES[options.quantizer]],
    )
    nothing: Any = None  # neither checkpoints nor reports
    worker = LocalWorker(nothing, nothing)
    stage = Stage1(config, worker, ImageFeed(reader, config, worker), {})
    start = time.perf_counter()
    for batch in islice(stage.batches(0), options.steps):
        stage.train_step(batch)
    seconds = time.perf_counter() - start
    stage.feed.measured = "test"  # reported, not chosen by
    figures = stage.measure()
    usage = Usage.of(counts(stage, reader))
    print(
        json.dumps(
            {
                "benchmark": "codebook",
                "quantizer": options.quantizer,
                "codes": options.codes,
                "used": round(usage.used, 4),
                "perplexity": round(usage.perplexity, 1),
                "psnr": round(figures["held_out_psnr"], 2),
                "steps": options.steps,
                "images_per_second": round(
                    options.steps * 4 * len(reader.manifest.domains) / seconds, 1
                ),
                "data": reader.manifest.fingerprint[:12],
                "torch": torch.__version__,
            }
        )
    )


def counts(stage: Stage1, reader: ShardReader) -> torch.Tensor:
    """How often each code stands in the held-out images, by the averaged weights."""
    translator = stage.translator()
    size = translator.network.codebook_size
    total = torch.zeros(size, dtype=torch.long)
    for domain in translator.domains:
        images = held_out(
            reader, domain, crop=stage.config.crop, limit=reader.count("test", domain)
        )
        tokens = translator.encode(imaging.to_tensor(images), domain).tokens
        total += tokens.flatten().cpu().bincount(minlength=size)
    return total


if __name__ == "__main__":
    main()
