"""L1 of translations to their truth on the held-out pairs of a data set, against the mean training
image.

    vqi2i data shard --paired --labels label --domain photo=... --domain label=... \\
        --out shards --size 64
    vqi2i train stage1 --data shards --recipe laptop64 --set pairing=paired \\
        --set weights.cross_pixel=10 --set weights.adversarial=0.02 \\
        --set schedule.minutes=null --run paired
    python benchmarks/paired.py --data shards --bundle runs/paired/bundle \\
        --source label --target photo

Pixels count from 0 to 1. The truth's style is unknown to a translator, so the mean style of the
training images stands in for it; beside it the style of the truth itself, as a bound.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

import imaging
from pipelines.reading.reader import ShardReader
from vqi2i.translator import Translator


def main() -> None:
    """Translate, compare, print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="paired shards")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--target", required=True)
    options = parser.parse_args()
    reader, translator = ShardReader(options.data), Translator.load(options.bundle)
    side = translator.network.resolution
    sources, truths = (
        images(reader, "test", d, (options.source, options.target), side)
        for d in (options.source, options.target)
    )
    known = images(reader, "train", options.target, (options.source, options.target), side)
    style = translator.encode(imaging.to_tensor(known), options.target).style.mean(0)
    own = translator.encode(imaging.to_tensor(truths), options.target).style
    tokens = translator.encode(imaging.to_tensor(sources), options.source).tokens
    of_mean, of_truth = (
        l1(np.stack(imaging.to_pixels(translator.decode(tokens, styles, options.target))), truths)
        for styles in (style.expand(len(tokens), -1), own)
    )
    baseline = l1(known.mean(0, keepdims=True), truths)
    print(
        json.dumps(
            {
                "benchmark": "paired",
                "l1": round(of_mean, 4),
                "l1_style_of_truth": round(of_truth, 4),
                "l1_mean_image": round(baseline, 4),
                "pairs": len(truths),
                "resolution": side,
                "data": reader.manifest.fingerprint[:12],
                "torch": torch.__version__,
            }
        )
    )


def images(
    reader: ShardReader, split: str, domain: str, pair: tuple[str, str], side: int
) -> np.ndarray:
    """Centre crops of one side of all pairs: uint8 (n, side, side, 3)."""
    assert split in ("train", "test")
    rows = reader.pairs(split, pair)[domain]
    return np.stack(
        [imaging.center_crop(reader.read(split, domain, int(row)), side, side) for row in rows]
    )


def l1(shown: np.ndarray, truths: np.ndarray) -> float:
    """Mean absolute difference of pixels that count from 0 to 1."""
    return float(np.abs(shown.astype(np.float32) - truths.astype(np.float32)).mean() / 255)


if __name__ == "__main__":
    main()
