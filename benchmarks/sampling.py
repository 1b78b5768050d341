"""Extending one 256 px image by 192 px with priors of the paper's size, against the release's way
of doing it.

    python benchmarks/sampling.py

24 layers, 16 heads, 512 wide, 512 codes, 16x16 tokens, random weights: 16x12 new tokens beside
16x16 known ones. The release runs a forward pass of the whole window of coordinates and tokens (511
inputs, float32) for every new token; `--release-tokens` of these passes are timed before and after
ours, and the fastest is taken times 192. Ours are whole extensions of a model that is loaded and
warm. One JSON line; seconds of wall clock, so the machine must be quiet.
"""

import argparse
import json
import time
from dataclasses import replace

import torch
from torch import Tensor

from vqi2i.config import NetworkConfig, PriorConfig
from vqi2i.priors.infill import complete, infill
from vqi2i.priors.prior import Prior, build_prior
from vqi2i.priors.sampling import Precision, Sampling

NETWORK = NetworkConfig(
    domains=("summer", "winter"),
    resolution=256,
    patch=1,
    channel_multipliers=(1, 1, 2, 2, 4),
    codebook_size=512,
)
SIDE, NEW = 16, 12
RUNS: list[
    tuple[str, Precision, int, float]
] = [  # prior, precision, images, share of a window that is context
    ("causal", "int8", 1, 0.5),
    ("causal", "int8", 1, 0.25),
    ("causal", "int8", 8, 0.5),
    ("causal", "int8", 8, 0.25),
    ("causal", "bf16", 1, 0.25),
    ("causal", "float32", 1, 0.25),
    ("causal", "float32", 8, 0.25),
    ("masked", "bf16", 1, 0.5),
    ("masked", "bf16", 8, 0.5),
    ("masked", "float32", 1, 0.5),
    ("masked", "float32", 8, 0.5),
]


def main() -> None:
    """Time both ways and print one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=24, help="fewer for a quick look")
    parser.add_argument(
        "--release-tokens", type=int, default=6, help="forward passes of the release that are timed"
    )
    parser.add_argument(
        "--steps", type=int, default=8, help="of the masked prior for a whole window"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=["causal", "masked"], help="one kind of prior")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    runs = [run for run in RUNS if options.only in (None, run[0])]
    passes = [release_pass(options.layers, device) for _ in range(options.release_tokens)]
    seconds = {run: extension(*run, options, device) for run in runs}
    passes += [release_pass(options.layers, device) for _ in range(options.release_tokens)]
    release = min(passes) * SIDE * NEW
    ours = [
        {
            "prior": kind,
            "precision": precision,
            "images": images,
            "context": context,
            "seconds": round(took, 3),
            "seconds_per_image": round(took / images, 3),
            "times_the_release": round(release * images / took, 1),
        }
        for (kind, precision, images, context), took in seconds.items()
    ]
    print(
        json.dumps(
            {
                "benchmark": "sampling",
                "device": str(device),
                "threads": options.threads,
                "layers": options.layers,
                "new_tokens": SIDE * NEW,
                "masked_steps": options.steps,
                "release_seconds": round(release, 1),
                "release_is": f"{min(passes):.4f} s per pass x {SIDE * NEW}",
                "runs": ours,
            }
        )
    )


def extension(
    kind: str,
    precision: Precision,
    images: int,
    context: float,
    options: argparse.Namespace,
    device: torch.device,
) -> float:
    """Seconds for extending some images, the second time."""
    prior = paper_size(PriorConfig.model_validate(SIZES[kind]), options.layers, device)
    sampling = Sampling(precision=precision, steps=options.steps, context=context)
    known = torch.zeros(SIDE, SIDE + NEW, dtype=torch.bool, device=device)
    known[:, :SIDE] = True
    tokens = torch.randint(NETWORK.codebook_size, (images, *known.shape), device=device)
    domains = torch.zeros(images, dtype=torch.long, device=device)

    def extend(known: Tensor, sampling: Sampling) -> float:
        generators = [torch.Generator().manual_seed(seed) for seed in range(images)]
        start = time.perf_counter()
        complete(infill(prior, tokens, known, domains, sampling, generators)).sum().item()
        return time.perf_counter() - start

    nearly = known.clone()
    nearly[:, :-1] = True  # warm up on the last column
    extend(nearly, replace(sampling, steps=1))
    return extend(known, sampling)


@torch.no_grad()
def release_pass(layers: int, device: torch.device) -> float:
    """Seconds for what the release does for one token."""
    prior = paper_size(PriorConfig.model_validate(SIZES["release"]), layers, device)
    inputs = torch.randint(
        NETWORK.codebook_size, (1, prior.config.num_positions - 1), device=device
    )
    seconds = []
    for _ in range(2):  # the first one warms up
        start = time.perf_counter()
        prior(inputs).sum().item()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


SIZES = {
    "release": {"condition": "coordinates"},
    "causal": {},
    "masked": {"kind": "masked", "positions": "rotary"},
}


def paper_size(config: PriorConfig, layers: int, device: torch.device) -> Prior:
    """A prior of the paper's size with random weights."""
    sizes = {"num_layers": layers, "num_heads": 16, "width": 512, "window": (SIDE, SIDE)}
    torch.manual_seed(0)
    return build_prior(config.model_copy(update=sizes), NETWORK).eval().to(device)


if __name__ == "__main__":
    main()
