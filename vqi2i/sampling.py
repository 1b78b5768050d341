"""From logits to a token, from tokens to a window, from windows to a canvas of any size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vqi2i.causal import CausalPrior, KeyValueCache


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How boldly tokens are drawn."""

    temperature: float = 1.0
    top_k: int | None = None  # only the k most likely tokens
    top_p: float = 0.95  # only the most likely tokens that together have this probability

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must lie in (0, 1], got {self.top_p}")


def probabilities(logits: Tensor, sampling: Sampling) -> Tensor:
    """Probabilities (b, k) of logits (b, k) after temperature, top-k and top-p."""
    logits = logits.float() / sampling.temperature
    if sampling.top_k is not None:
        threshold = logits.topk(min(sampling.top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < threshold, -torch.inf)
    ordered, order = logits.softmax(-1).sort(descending=True)
    # The most likely token always stays: its own probability is not counted as being before it.
    ordered = ordered.masked_fill(ordered.cumsum(-1) - ordered >= sampling.top_p, 0)
    kept = torch.zeros_like(ordered).scatter(-1, order, ordered)
    return kept / kept.sum(-1, keepdim=True)


def draw(probs: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """One token per row of probabilities (b, k), each from its own generator: rows do not disturb each other."""
    uniform = torch.stack([torch.rand((), generator=generator) for generator in generators]).to(probs.device)
    ladder = probs.cumsum(-1)
    return torch.searchsorted(ladder, uniform[:, None] * ladder[:, -1:], right=True)[:, 0].clamp_max(
        probs.shape[-1] - 1
    )


@torch.no_grad()
def fill_window(
    prior: CausalPrior, tokens: Tensor, known: Tensor, domains: Tensor, sampling: Sampling,
    generators: Sequence[torch.Generator],
) -> Tensor:  # fmt: skip
    """Sample the unknown cells of windows (b, h, w) in raster order; runs of known cells are fed in one pass.

    Args:
        prior: in evaluation mode.
        tokens: int64 (b, h, w), the size of the prior's window; values where not `known` are ignored.
        known: bool (h, w).
        domains: int64 (b,), index of each row's domain.
        sampling: how boldly.
        generators: one per row.
    """
    flat = tokens.flatten(1).clone()
    cache = KeyValueCache(prior.config.num_layers)
    fed = 0
    for cell in (~known.flatten()).nonzero().flatten().tolist():
        inputs = prior.inputs(flat[:, : cell + 1], domains)
        logits = prior(inputs[:, fed:], fed, cache)[:, -1]
        flat[:, cell] = draw(probabilities(logits, sampling), generators)
        fed = inputs.shape[1]
    return flat.view_as(tokens)


def block_windows(canvas: Sequence[int], window: tuple[int, int]) -> Iterator[tuple[slice, slice]]:
    """Windows that cover a canvas (rows, columns), row by row, each half its size after the last."""
    rows, columns = window
    for top in _origins(canvas[0], rows):
        for left in _origins(canvas[1], columns):
            yield slice(top, top + rows), slice(left, left + columns)


def _origins(length: int, window: int) -> list[int]:
    """Starts of windows that cover `length`, each half a window after the last."""
    step = max(window // 2, 1)
    return [*range(0, length - window, step), length - window]
