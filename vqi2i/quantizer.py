"""The codebook: continuous content to tokens, kept alive by moving averages and restarts."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class Quantized(NamedTuple):
    """Content after the codebook."""

    codes: Tensor  # (b, d, h, w), the chosen vectors; gradients pass straight through to the content
    tokens: Tensor  # (b, h, w) int64, the chosen indices
    commitment: Tensor  # scalar, distance of the content to its codes


class Codebook(nn.Module):
    """Nearest-neighbour quantizer whose vectors are moving averages of the content they stand for.

    With few images and small batches a codebook that is trained by gradients collapses to a few per cent of its
    codes; moving averages (van den Oord et al., 2017, appendix A.1) with restarts of dead codes (Dhariwal et al.,
    2020) keep it in use.
    """

    def __init__(self, size: int, dim: int, *, decay: float = 0.98, restart_below: float = 0.03):
        super().__init__()
        self.decay = decay
        self.restart_below = restart_below
        self.vectors: Tensor
        self.register_buffer("vectors", torch.randn(size, dim))
        self.counts: Tensor  # moving average of assignments per step
        self.register_buffer("counts", torch.ones(size))
        self.sums: Tensor  # moving average of the assigned content's sum
        self.register_buffer("sums", self.vectors.clone())

    def nearest(self, content: Tensor) -> Tensor:
        """Index of the nearest vector for content (b, d, h, w): int64 (b, h, w)."""
        flat = rearrange(content.float(), "b d h w -> (b h w) d")
        with torch.autocast(content.device.type, enabled=False):  # bfloat16 would confuse near codes
            distances = self.vectors.pow(2).sum(1) - 2 * flat @ self.vectors.T
        return rearrange(distances.argmin(1), "(b h w) -> b h w", b=content.shape[0], h=content.shape[2])

    def lookup(self, tokens: Tensor) -> Tensor:
        """Vectors of the tokens (b, h, w) as a map (b, d, h, w)."""
        return rearrange(F.embedding(tokens, self.vectors), "b h w d -> b d h w")

    def forward(self, content: Tensor) -> Quantized:
        """Quantise content (b, d, h, w); equation (2) of the paper without the codebook term, which EMA replaces."""
        content = content.float()
        tokens = self.nearest(content)
        codes = self.lookup(tokens)
        commitment = F.mse_loss(content, codes)
        return Quantized(content + (codes - content).detach(), tokens, commitment)

    @torch.no_grad()
    def assignments(self, vectors: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Count and sum of the vectors (n, d) that chose each code: what workers add up before `update`."""
        one_hot = F.one_hot(tokens.reshape(-1), self.vectors.shape[0]).to(vectors.dtype)
        return one_hot.sum(0), one_hot.T @ vectors

    @torch.no_grad()
    def start_from(self, vectors: Tensor, generator: torch.Generator) -> None:
        """Take randomly drawn content vectors (n, d) as the codebook's first vectors."""
        size = self.vectors.shape[0]
        rows = torch.randint(len(vectors), (size,), generator=generator) if len(vectors) < size else torch.randperm(
            len(vectors), generator=generator
        )[:size]  # fmt: skip
        self.vectors.copy_(vectors[rows.to(vectors.device)])
        self.counts.fill_(len(vectors) / size)
        self.sums.copy_(self.vectors * self.counts[:, None])

    @torch.no_grad()
    def update(self, counts: Tensor, sums: Tensor, candidates: Tensor, generator: torch.Generator) -> int:
        """Move the vectors towards this step's content; restart dead codes on candidates (n, d); return how many."""
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        uniform = float(self.counts.sum()) / len(self.counts)
        dead = self.counts < self.restart_below * uniform
        restarted = int(dead.sum())
        if restarted:
            rows = torch.randint(len(candidates), (restarted,), generator=generator).to(candidates.device)
            self.counts[dead] = uniform
            self.sums[dead] = candidates[rows] * uniform
        self.vectors.copy_(self.sums / self.counts.clamp_min(1e-6)[:, None])
        return restarted


class Usage(NamedTuple):
    """How much of a codebook a set of tokens uses."""

    used: float  # share of codes that occur, in [0, 1]
    perplexity: float  # exp of the entropy of the codes, in [1, size]

    @classmethod
    def of(cls, counts: Tensor) -> "Usage":
        """Usage from the number of times each code occurred (size,)."""
        shares = counts.double() / counts.sum().clamp_min(1)
        entropy = -torch.special.xlogy(shares, shares).sum()
        return cls(float((counts > 0).double().mean()), float(entropy.exp()))
