"""Quantizers: continuous content to codes and tokens, and tokens back to codes."""

import math
from abc import ABC, abstractmethod
from itertools import chain
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vqi2i.config import NetworkConfig


class Quantized(NamedTuple):
    """Content after the quantizer."""

    # (b, d, h, w), the chosen vectors; gradients pass straight through to the content
    codes: Tensor
    tokens: Tensor  # (b, h, w) int64, the chosen indices
    # scalar, pulls the content to its codes: the commitment term of eq. (2)
    commitment: Tensor | None
    # scalar, pulls codes that learn by gradients to the content: the codebook term of eq. (2)
    codebook: Tensor | None


class Quantizer(nn.Module, ABC):
    """A finite set of `size` vectors of `dim` channels; one stands for each content vector."""

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
        """Content (b, d, h, w) in the range of the codes, to be compared with them.

        For most quantizers it stays as it is.
        """
        return content

    @torch.no_grad()
    def codes(self) -> Tensor:
        """Vectors of all tokens (size, d)."""
        device = next(chain(self.parameters(), self.buffers())).device
        # All tokens as one map of one row: (1, 1, size) to (1, d, 1, size).
        return self.lookup(torch.arange(self.size, device=device)[None, None])[0, :, 0].T

    def start_from(self, vectors: Tensor, generator: torch.Generator) -> None:
        """Begin on content vectors (n, d) of a first batch; most quantizers stay as they are."""

    def follow(
        self, counts: Tensor, sums: Tensor, candidates: Tensor, generator: torch.Generator
    ) -> int:
        """Move after a step, without a gradient; return how many codes were restarted.

        Args:
            counts: (size,), how often each code was chosen.
            sums: (size, d), the sum of the content that chose it.
            candidates: (n, d), content for codes that nobody chooses.
            generator: draws the same on every worker.
        """
        return 0


class VectorQuantizer(Quantizer):
    """The nearest of a table of vectors by squared distance; subclasses own the table."""

    @property
    @abstractmethod
    def table(self) -> Tensor:
        """The vectors (size, d)."""

    def nearest(self, content: Tensor) -> Tensor:
        """Index of the nearest vector for content (b, d, h, w): int64 (b, h, w)."""
        flat = rearrange(content.float(), "b d h w -> (b h w) d")
        table = self.table.detach()
        # bfloat16 would confuse near codes.
        with torch.autocast(content.device.type, enabled=False):
            # |x - e|^2 = |x|^2 - 2 x.e + |e|^2; |x|^2 is the same for every code and left out.
            # (b * h * w, size)
            distances = table.pow(2).sum(1) - 2 * flat @ table.T
        return rearrange(
            distances.argmin(1), "(b h w) -> b h w", b=content.shape[0], h=content.shape[2]
        )

    def lookup(self, tokens: Tensor) -> Tensor:
        """Vectors of tokens (b, h, w) as a map (b, d, h, w)."""
        return rearrange(F.embedding(tokens, self.table), "b h w d -> b d h w")

    def forward(self, content: Tensor) -> Quantized:
        """Quantise content (b, d, h, w) by equation (2), both terms means over all elements."""
        content = content.float()
        tokens = self.nearest(content)
        codes = self.lookup(tokens)
        commitment = F.mse_loss(content, codes.detach())
        # The vectors of a moving average have no gradient: for them this term does not exist.
        codebook = F.mse_loss(codes, content.detach()) if codes.requires_grad else None
        return Quantized(straight_through(content, codes), tokens, commitment, codebook)


def straight_through(content: Tensor, codes: Tensor) -> Tensor:
    """`codes` forward, and backward as if nothing lay between them and `content`."""
    # d(codes)/d(content) is taken for the identity (van den Oord et al., 2017).
    return content + (codes - content).detach()


def assignments(vectors: Tensor, tokens: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Count (size,) and sum (size, d) of the vectors (n, d) that chose each code."""
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
        # xlogy, since a code that never occurs adds 0 log 0 = 0.
        entropy = -torch.special.xlogy(shares, shares).sum()
        return cls(float((counts > 0).double().mean()), float(entropy.exp()))


def build_quantizer(config: NetworkConfig) -> Quantizer:
    """The quantizer that the configuration asks for, untrained."""
    size, dim = config.codebook_size, config.embed_dim
    if config.quantizer == "fsq":
        return FiniteScalar(config.fsq_levels)
    kinds = {
        "vq": LearnedCodebook,
        "ema_restart": EmaCodebook,
        "l2": UnitCodebook,
        "simvq": ProjectedCodebook,
    }
    return kinds[config.quantizer](size, dim)


class EmaCodebook(VectorQuantizer):
    """`ema_restart`: codes are moving averages of their content; unused ones begin anew.

    With few images and small batches a codebook that is trained by gradients collapses to a few per
    cent of its codes; moving averages (van den Oord et al., 2017, appendix A.1) with restarts of
    dead codes (Dhariwal et al., 2020) keep it in use.
    """

    def __init__(self, size: int, dim: int, *, decay: float = 0.98, restart_below: float = 0.03):
        super().__init__(size, dim)
        self.decay = decay
        self.restart_below = restart_below
        self.vectors: Tensor
        self.register_buffer("vectors", torch.randn(size, dim))
        self.counts: Tensor  # moving average of assignments per step
        self.register_buffer("counts", torch.ones(size))
        self.sums: Tensor  # moving average of the assigned content's sum
        self.register_buffer("sums", self.vectors.clone())

    @property
    def table(self) -> Tensor:
        """The vectors (size, d)."""
        return self.vectors

    @torch.no_grad()
    def start_from(self, vectors: Tensor, generator: torch.Generator) -> None:
        """Take randomly drawn content vectors (n, d) as the codebook's first vectors."""
        self.vectors.copy_(drawn(vectors, self.size, generator))
        # As if each code had been chosen equally often: none is dead yet.
        self.counts.fill_(len(vectors) / self.size)
        self.sums.copy_(self.vectors * self.counts[:, None])

    @torch.no_grad()
    def follow(
        self, counts: Tensor, sums: Tensor, candidates: Tensor, generator: torch.Generator
    ) -> int:
        """Follow this step's content; restart dead codes on candidates (n, d); return how many."""
        # N <- decay N + (1 - decay) counts, and the same of the sums (van den Oord et al., 2017)
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        # what a code would have if all were chosen alike
        uniform = float(self.counts.sum()) / self.size
        dead = self.counts < self.restart_below * uniform
        restarted = int(dead.sum())
        if restarted:
            rows = torch.randint(len(candidates), (restarted,), generator=generator).to(
                candidates.device
            )
            # A restarted code begins as one in average use, or it would be dead again at once.
            self.counts[dead] = uniform
            self.sums[dead] = candidates[rows] * uniform
        self.vectors.copy_(self.sums / self.counts.clamp_min(1e-6)[:, None])
        return restarted


class LearnedCodebook(VectorQuantizer):
    """`vq`: the paper's table, trained by the codebook term of equation (2)."""

    def __init__(self, size: int, dim: int):
        super().__init__(size, dim)
        self.vectors = nn.Parameter(torch.empty(size, dim).uniform_(-1 / size, 1 / size))

    @property
    def table(self) -> Tensor:
        """The vectors (size, d)."""
        return self.vectors


class UnitCodebook(LearnedCodebook):
    """`l2`: content and vectors on the unit sphere (Yu et al., 2022): cosine similarity."""

    def __init__(self, size: int, dim: int):
        super().__init__(size, dim)
        nn.init.normal_(self.vectors)

    @property
    def table(self) -> Tensor:
        """The vectors (size, d), each of length 1."""
        return F.normalize(self.vectors, dim=1)

    def forward(self, content: Tensor) -> Quantized:
        """Quantise the directions of content (b, d, h, w)."""
        return super().forward(self.bounded(content))

    def bounded(self, content: Tensor) -> Tensor:
        """Content (b, d, h, w) on the unit sphere."""
        return F.normalize(content.float(), dim=1)


class ProjectedCodebook(VectorQuantizer):
    """`simvq`: a fixed random table under a learned linear map (Zhu et al., 2024).

    Every code moves with each.
    """

    def __init__(self, size: int, dim: int):
        super().__init__(size, dim)
        self.basis: Tensor
        self.register_buffer("basis", torch.randn(size, dim) * dim**-0.5)
        self.projection = nn.Linear(dim, dim, bias=False)

    @property
    def table(self) -> Tensor:
        """The vectors (size, d)."""
        with torch.autocast(self.basis.device.type, enabled=False):
            return self.projection(self.basis)


class FiniteScalar(Quantizer):
    """`fsq`: channels are rounded to a few levels (Mentzer et al., 2023): nothing to collapse."""

    def __init__(self, levels: tuple[int, ...]):
        super().__init__(math.prod(levels), len(levels))
        self.levels: Tensor
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        # A token is a number of mixed radix: digit i counts levels[0] * ... * levels[i - 1].
        strides = torch.tensor([math.prod(levels[:index]) for index in range(len(levels))])
        self.strides: Tensor
        self.register_buffer("strides", strides, persistent=False)

    def bounded(self, content: Tensor) -> Tensor:
        """Content (b, d, h, w) between the lowest and the highest level."""
        return content.float().tanh()

    def forward(self, content: Tensor) -> Quantized:
        """Quantise content (b, d, h, w), d = number of levels, to codes in [-1, 1]."""
        bounded = rearrange(self.bounded(content), "b d h w -> b h w d")
        # What is not finite has some level, but its code stays not finite: the guard sees it.
        # (-1, 1) to 0 .. level - 1, the two outer levels with half a step of room
        digits = ((bounded.nan_to_num() + 1) / 2 * (self.levels - 1)).round().long()
        codes = straight_through(bounded, self._scaled(digits))
        tokens = (digits * self.strides).sum(-1)
        return Quantized(rearrange(codes, "b h w d -> b d h w"), tokens, None, None)

    def lookup(self, tokens: Tensor) -> Tensor:
        """Codes of tokens (b, h, w) as a map (b, d, h, w)."""
        # (b, h, w, d): the digits of each token
        digits = tokens[..., None] // self.strides % self.levels
        return rearrange(self._scaled(digits), "b h w d -> b d h w")

    def _scaled(self, digits: Tensor) -> Tensor:
        return 2 * digits / (self.levels - 1) - 1


def drawn(vectors: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` of the vectors (n, d) at random, without repeats if there are enough."""
    if len(vectors) < count:
        rows = torch.randint(len(vectors), (count,), generator=generator)
    else:
        rows = torch.randperm(len(vectors), generator=generator)[:count]
    return vectors[rows.to(vectors.device)]
