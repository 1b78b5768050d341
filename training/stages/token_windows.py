"""What stage 2 sees of its token grids: a window each, and what the masked prior must guess.

In a step, every grid has random numbers of its own, named by its domain and place in the data: any
number of workers sees the same. What is measured are always the same windows, spread over whole
grids.
"""

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from training.stages.rng import seed_of
from vqi2i.priors.masks import training_mask
from vqi2i.priors.windows import lattice


class TokenWindows(NamedTuple):
    """A batch as the prior learns from it."""

    tokens: Tensor  # (b, h, w), the size of the window
    hidden: Tensor  # (b, h, w) bool: what the masked prior has to say
    domains_told: Tensor  # (b,) bool


def draw_windows(
    tokens: Tensor,
    window: tuple[int, int],
    places: Sequence[tuple[int, int]],
    *,
    seed: int,
    domain_dropout: float,
) -> TokenWindows:
    """Draw windows and masks.

    Args:
        tokens: grids (b, H, W), no smaller than the window.
        window: rows and columns.
        places: number of the domain and place in the data of each grid.
        seed: of the run.
        domain_dropout: share of grids whose domain is not told.
    """
    rows = []
    for grid, place in zip(tokens, places, strict=True):
        generator = torch.Generator().manual_seed(seed_of("glimpse", seed, *place))
        top, left = (
            int(torch.randint(side - length + 1, (), generator=generator))
            for side, length in zip(grid.shape, window, strict=True)
        )
        # Drawn for every prior, also where nobody asks: windows and masks do not depend on it.
        told = float(torch.rand((), generator=generator)) >= domain_dropout
        part = grid[top : top + window[0], left : left + window[1]]
        rows.append((part, training_mask(window, generator), torch.tensor(told)))
    return TokenWindows(*(torch.stack(parts) for parts in zip(*rows, strict=True)))


def measured_windows(tokens: np.ndarray, window: tuple[int, int], most: int) -> Tensor:
    """Windows (n, h, w) that cover grids (b, H, W) evenly.

    One of each grid, another part of every next one; then, as long as there are fewer than `most`,
    another of each, until all of every grid is seen.

    Args:
        tokens: grids, no smaller than the window.
        window: rows and columns; where a grid is no larger, it is the window.
        most: windows that are taken.
    """
    # Grid r gives tile r in the first turn and tile r + 1 in the next, cyclically.
    tiles = list(lattice(tokens.shape[1:], window, context=0.0))
    places = (
        (row, tiles[(row + turn) % len(tiles)])
        for turn in range(len(tiles))
        for row in range(len(tokens))
    )
    windows = [
        torch.from_numpy(tokens[row][tile].astype(np.int64)) for row, tile in islice(places, most)
    ]
    return torch.stack(windows) if windows else torch.empty(0, *window, dtype=torch.int64)
