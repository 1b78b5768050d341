"""Which tokens the masked prior is not shown: in training, and where its likelihood is measured."""

import math

import torch
from torch import Tensor

_SCATTERED = 0.6  # share of training masks whose cells lie anywhere


def training_mask(window: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Hidden cells (h, w), at least one: scattered ones, or a region.

    Regions are such as extension and completion leave.

    The share of scattered cells follows a cosine (MaskGIT): most masks hide most of the grid.
    """
    # gamma(r) = cos(pi r / 2), r uniform (Chang et al., 2022)
    share = math.cos(math.pi / 2 * _uniform(generator))
    if _uniform(generator) < _SCATTERED:
        return scattered(window, round(share * math.prod(window)), generator)
    hidden = torch.zeros(window, dtype=torch.bool)
    if _uniform(generator) < 0.5:
        return _side(hidden, generator)
    top, height = _stretch(window[0], generator)
    left, width = _stretch(window[1], generator)
    hidden[top : top + height, left : left + width] = True
    # A rectangle is missing, or all but a rectangle; part of it may have been imagined already.
    hidden = hidden if _uniform(generator) < 0.5 and not hidden.all() else ~hidden
    return _partly(hidden, generator)


def scattered(window: tuple[int, int], count: int, generator: torch.Generator) -> Tensor:
    """`count` hidden cells (h, w), at least one, anywhere."""
    cells = math.prod(window)
    # Each cell's rank is random, so the first `count` of them lie anywhere.
    ranks = torch.randperm(cells, generator=generator).view(window)
    return ranks < min(max(count, 1), cells)


def _side(hidden: Tensor, generator: torch.Generator) -> Tensor:
    """A part along one of the four sides."""
    axis = _integer(2, generator)
    depth = 1 + _integer(hidden.shape[axis], generator)
    where = (
        slice(0, depth) if _uniform(generator) < 0.5 else slice(hidden.shape[axis] - depth, None)
    )
    hidden[(where, slice(None)) if axis == 0 else (slice(None), where)] = True
    return _partly(hidden, generator)


def _partly(hidden: Tensor, generator: torch.Generator) -> Tensor:
    """A scattered part of hidden cells, half of the time all of them; at least one."""
    if not hidden.any():
        hidden = ~hidden
    if _uniform(generator) < 0.5:
        return hidden
    share = math.cos(math.pi / 2 * _uniform(generator))
    places = hidden.flatten().nonzero().flatten()
    kept = places[
        torch.randperm(len(places), generator=generator)[: max(1, round(share * len(places)))]
    ]
    part = torch.zeros_like(hidden)
    part.view(-1)[kept] = True
    return part


def _stretch(length: int, generator: torch.Generator) -> tuple[int, int]:
    """Start and length of a random stretch."""
    size = 1 + _integer(length, generator)
    return _integer(length - size + 1, generator), size


def _uniform(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))


def _integer(high: int, generator: torch.Generator) -> int:
    return int(torch.randint(high, (), generator=generator))
