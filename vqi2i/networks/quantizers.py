"""What every quantizer answers: continuous content to codes and tokens, and tokens back to codes."""

from abc import ABC, abstractmethod
from itertools import chain
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class Quantized(NamedTuple):
    """Content after the quantizer."""

    codes: Tensor  # (b, d, h, w), the chosen vectors; gradients pass straight through to the content
    tokens: Tensor  # (b, h, w) int64, the chosen indices
    commitment: Tensor | None  # scalar, pulls the content to its codes: the second term of equation (2)
    codebook: Tensor | None  # scalar, pulls codes that learn by gradients to the content: the first term of it


class Quantizer(nn.Module, ABC):
    """A finite set of `size` vectors of `dim` channels, one of which stands for each content vector."""

    def __init__(self, size: int, dim: int):
        super().__init__()
        self.size = size
        self.dim = dim

    @abstractmethod
    def forward(self, content: Tensor) -> Quantized:
        """Quantise content (b, d, h, w)."""

    @abstractmethod
    def lookup(self, tokens: Tensor) -> Tensor:
        """Vectors of tokens (b, h, w) as a map (b, d, h, w)."""

    def bounded(self, content: Tensor) -> Tensor:
        """Content (b, d, h, w) where codes lie, so that the two can be compared; for most quantizers as it is."""
        return content

    @torch.no_grad()
    def codes(self) -> Tensor:
        """Vectors of all tokens (size, d)."""
        device = next(chain(self.parameters(), self.buffers())).device
        return self.lookup(torch.arange(self.size, device=device)[None, None])[0, :, 0].T

    def start_from(self, vectors: Tensor, generator: torch.Generator) -> None:
        """Begin on content vectors (n, d) of a first batch; most quantizers stay as they are."""

    def follow(self, counts: Tensor, sums: Tensor, candidates: Tensor, generator: torch.Generator) -> int:
        """Move after a step without a gradient, by what all workers' content chose; return the codes restarted.

        Args:
            counts: (size,), how often each code was chosen.
            sums: (size, d), the sum of the content that chose it.
            candidates: (n, d), content for codes that nobody chooses.
            generator: draws the same on every worker.
        """
        return 0


class VectorQuantizer(Quantizer):
    """The nearest of a table of vectors by squared distance; subclasses say where the table comes from."""

    @property
    @abstractmethod
    def table(self) -> Tensor:
        """The vectors (size, d)."""

    def nearest(self, content: Tensor) -> Tensor:
        """Index of the nearest vector for content (b, d, h, w): int64 (b, h, w)."""
        flat = rearrange(content.float(), "b d h w -> (b h w) d")
        table = self.table.detach()
        with torch.autocast(content.device.type, enabled=False):  # bfloat16 would confuse near codes
            distances = table.pow(2).sum(1) - 2 * flat @ table.T
        return rearrange(distances.argmin(1), "(b h w) -> b h w", b=content.shape[0], h=content.shape[2])

    def lookup(self, tokens: Tensor) -> Tensor:
        """Vectors of tokens (b, h, w) as a map (b, d, h, w)."""
        return rearrange(F.embedding(tokens, self.table), "b h w d -> b d h w")

    def forward(self, content: Tensor) -> Quantized:
        """Quantise content (b, d, h, w) by equation (2), both terms means over all elements."""
        content = content.float()
        tokens = self.nearest(content)
        codes = self.lookup(tokens)
        commitment = F.mse_loss(content, codes.detach())
        codebook = F.mse_loss(codes, content.detach()) if codes.requires_grad else None
        return Quantized(straight_through(content, codes), tokens, commitment, codebook)


def straight_through(content: Tensor, codes: Tensor) -> Tensor:
    """`codes` forward, and backward as if nothing lay between them and `content`."""
    return content + (codes - content).detach()


def assignments(vectors: Tensor, tokens: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Count (size,) and sum (size, d) of the vectors (n, d) that chose each code: what workers add up."""
    one_hot = F.one_hot(tokens.reshape(-1), size).to(vectors.dtype)
    return one_hot.sum(0), one_hot.T @ vectors


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
