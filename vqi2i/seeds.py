"""Which random numbers an image is given: its own seed, another stream for every purpose and
step.
"""

from collections.abc import Sequence
from typing import Literal

import torch

from vqi2i.checking.typed import seed_number
from vqi2i.errors import UserError

Seeds = int | Sequence[int]
Purpose = Literal["tokens", "style"]
_PURPOSES: tuple[Purpose, ...] = ("tokens", "style")
# odd and far from small numbers: steps of one seed do not meet those of its neighbours
_STEP = 0x9E3779B9


def generators(
    seed: Seeds, count: int, purpose: Purpose, *, step: int = 0
) -> list[torch.Generator]:
    """One generator per image; an int `seed` gives image i the seed `seed + i`, a sequence gives
    each its own.

    Args:
        seed: of the request.
        count: images.
        purpose: what is drawn; tokens and styles draw from different streams.
        step: place in a chain of applications; every step draws from streams of its own.

    Raises:
        UserError: a sequence of another length than `count`, or a seed that is out of range.
    """
    seeds = [seed + index for index in range(count)] if isinstance(seed, int) else list(seed)
    if len(seeds) != count:
        raise UserError(f"{count} images need {count} seeds, got {len(seeds)}")
    for value in seeds:
        seed_number(value)
    # The generator mixes its seed (mt19937 initialisation), so neighbouring seeds are independent
    # streams.
    streams = (
        len(_PURPOSES) * value + _PURPOSES.index(purpose) ^ step * _STEP & 0xFFFFFFFF
        for value in seeds
    )
    return [torch.Generator().manual_seed(stream) for stream in streams]
