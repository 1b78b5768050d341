"""Which measured figures can rank checkpoints and trials, and in which direction each is better."""

from typing import Literal

Mode = Literal["min", "max"]

# What each stage's `measure` gives that tells how good its weights are.
METRICS: dict[str, dict[str, Mode]] = {
    "stage1": {"held_out_psnr": "max", "codes_used": "max", "perplexity": "max"},
    # Cycles are best where nothing is translated: no figure of ours tells good baselines from bad.
    "baseline": {},
    "stage2": {"held_out_nll": "min", "held_out_bits_per_token": "min"},
}
MODES: dict[str, Mode] = {
    name: mode for figures in METRICS.values() for name, mode in figures.items()
}


def chosen(by: str, measured: str) -> str:
    """How weights were chosen, as their bundle says.

    Args:
        by: the figure by which they are the best; empty: they are the last.
        measured: split of which held-out figures are; the others are of training images.
    """
    return f"{by} on {measured if by.startswith('held_out') else 'train'}" if by else "last"


def is_better(one: float, other: float | None, mode: Mode) -> bool:
    """Whether a figure beats another one, or there is no other; what is no number beats nothing."""
    if other is None:
        return one == one
    return one > other if mode == "max" else one < other
