"""Imagining what is not known of a canvas of tokens: one interface to every kind of prior."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vqi2i.causal import CausalPrior
from vqi2i.sampling import Sampling, block_windows, fill_window


class Canvas(NamedTuple):
    """Grids of tokens, some of which may not be imagined yet."""

    tokens: Tensor  # (b, h, w) int64; only values where `known` mean anything
    known: Tensor  # (h, w) bool, the same for all rows


@torch.no_grad()
def imagine(
    prior: CausalPrior, tokens: Tensor, known: Tensor, domains: Tensor, sampling: Sampling,
    generators: Sequence[torch.Generator],
) -> Iterator[Canvas]:  # fmt: skip
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
    rows, columns = prior.config.window
    # A canvas smaller than the window is completed and cut back.
    grown = (tokens.shape[0], max(height, rows), max(width, columns))
    canvas = tokens.new_zeros(grown)
    canvas[:, :height, :width] = tokens
    filled = torch.zeros(grown[1:], dtype=torch.bool, device=tokens.device)
    filled[:height, :width] = known
    for window in block_windows(grown[1:], prior.config.window):
        if not filled[window].all():
            part = canvas[:, window[0], window[1]]
            canvas[:, window[0], window[1]] = fill_window(prior, part, filled[window], domains, sampling, generators)
            filled[window] = True
            yield Canvas(canvas[:, :height, :width].clone(), filled[:height, :width].clone())
    if known.all():
        yield Canvas(tokens.clone(), filled[:height, :width])


def complete(canvases: Iterator[Canvas]) -> Tensor:
    """The tokens (b, h, w) of the last canvas."""
    tokens = None
    for canvas in canvases:
        tokens = canvas.tokens
    assert tokens is not None
    return tokens
