"""Imagining what is not known of a canvas of tokens: one interface to every kind of prior."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vqi2i.priors import causal_infill, masked_infill
from vqi2i.priors.causal import CausalPrior
from vqi2i.priors.prior import Prior
from vqi2i.priors.sampling import Sampling


class PartialGrid(NamedTuple):
    """Grids of tokens, some of which may not be imagined yet."""

    tokens: Tensor  # (b, h, w) int64; only values where `known` mean anything
    known: Tensor  # (h, w) bool, the same for all rows


@torch.no_grad()
def infill(
    prior: Prior,
    tokens: Tensor,
    known: Tensor,
    domains: Tensor,
    sampling: Sampling,
    generators: Sequence[torch.Generator],
) -> Iterator[PartialGrid]:
    """Sample the unknown cells of canvases of any size, piece by piece.

    Args:
        prior: in evaluation mode.
        tokens: int64 (b, h, w); values where not `known` are ignored.
        known: bool (h, w); these cells keep their tokens.
        domains: int64 (b,), index of each row's domain.
        sampling: how boldly.
        generators: one per row; a row's tokens follow from its own generator alone.

    Yields:
        the canvas after every piece, at least once; the last one is complete.
    """
    height, width = known.shape
    known = known.to(tokens.device)
    if known.all():
        yield PartialGrid(tokens.clone(), known.clone())
        return
    given = tokens, known, domains, sampling, generators
    pieces = (
        causal_infill.fill(prior, *given)
        if isinstance(prior, CausalPrior)
        else masked_infill.fill(prior, *given)
    )
    for canvas, filled in pieces:
        # A canvas smaller than the window was completed: it is cut back.
        yield PartialGrid(canvas[:, :height, :width].clone(), filled[:height, :width].clone())


def complete(grids: Iterator[PartialGrid]) -> Tensor:
    """The tokens (b, h, w) of the last grid."""
    tokens = None
    for grid in grids:
        tokens = grid.tokens
    assert tokens is not None
    return tokens
