"""From logits to tokens, and how boldly."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vqi2i.errors import UserError

Precision = Literal["float32", "bf16", "int8"]
# far beyond what anybody means, and safe to compute with
_COLDEST, _MOST, _MOST_TOKENS = 1e-4, 10_000, 10**6


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are drawn, and how fast."""

    temperature: float = 1.0
    top_k: int | None = None  # only the k most likely tokens
    top_p: float = 0.95  # only the most likely tokens that together have this probability
    # share of a window's side that overlaps with the window before, on canvases larger than it
    context: float = 0.5
    # causal: per_token moves the window as the release does
    windows: Literal["block", "per_token"] = "block"
    # masked: passes over a window of which nothing is known; fewer where less is to be imagined
    steps: int = 8
    # masked: evenly spread cells first, or those it is sure of
    order: Literal["halton", "confidence"] = "halton"
    guidance: float = 0.0  # masked: how much more than usual the domain counts
    precision: Precision = "float32"  # of the prior's weights; int8 for the causal prior only

    def __post_init__(self) -> None:
        if not _COLDEST <= self.temperature <= _MOST:  # also where it is nan
            raise UserError(
                f"temperature must be above 0 (at least {_COLDEST:g}) and at most {_MOST:,}, got "
                f"{self.temperature}"
            )
        if self.top_k is not None and not 1 <= self.top_k <= _MOST_TOKENS:
            raise UserError(
                f"top_k must be at least 1 and at most {_MOST_TOKENS:,}, got {self.top_k}"
            )
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p must lie in (0, 1], got {self.top_p}")
        if not 0 <= self.context < 1:
            raise UserError(f"context must lie in [0, 1), got {self.context}")
        if not 1 <= self.steps <= _MOST:
            raise UserError(f"steps must be at least 1 and at most {_MOST:,}, got {self.steps}")
        if not 0 <= self.guidance <= _MOST:
            raise UserError(
                f"guidance must not be below 0, and at most {_MOST:,}, got {self.guidance}"
            )
        if self.windows == "per_token" and self.precision != "float32":
            raise UserError(
                "windows=per_token shows what the release does, in precision=float32 only"
            )


def probabilities(logits: Tensor, sampling: Sampling) -> Tensor:
    """Probabilities (b, k) of logits (b, k) after temperature, top-k and top-p."""
    logits = logits.float() / sampling.temperature
    if sampling.top_k is not None:
        # The k-th largest logit, (b, 1); what equals it stays, too.
        threshold = logits.topk(min(sampling.top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < threshold, -torch.inf)
    if sampling.top_p == 1:
        return logits.softmax(-1)
    ordered, order = logits.softmax(-1).sort(descending=True)
    # The most likely token always stays: its own probability is not counted as being before it.
    ordered = ordered.masked_fill(ordered.cumsum(-1) - ordered >= sampling.top_p, 0)
    # Back from the order of size to that of the codebook.
    kept = torch.zeros_like(ordered).scatter(-1, order, ordered)
    return kept / kept.sum(-1, keepdim=True)


def uniforms(generators: Sequence[torch.Generator], count: int) -> Tensor:
    """Uniform numbers (b, count), each row from its own generator."""
    return torch.stack([torch.rand(count, generator=generator) for generator in generators])


def draw(probs: Tensor, uniform: Tensor) -> Tensor:
    """One token per row of probabilities (b, k), chosen by uniform numbers (b,)."""
    # The inverse of the distribution function, which ends at its own rounded total and not at 1.
    ladder = probs.cumsum(-1)
    rung = uniform.to(ladder)[:, None] * ladder[:, -1:]
    # right: at 0 the first token that has a probability, not the first token.
    return torch.searchsorted(ladder, rung, right=True)[:, 0].clamp_max(probs.shape[-1] - 1)
