"""The masked prior: a bidirectional transformer that predicts any tokens from any others."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vqi2i.config import PriorConfig
from vqi2i.priors.transformer import Block, Rotation, initialise, rotation


class GridNeighbours(nn.Module):
    """A depthwise 3x3 convolution over the grid of tokens."""

    def __init__(self, width: int, window: tuple[int, int]):
        super().__init__()
        self.window = window
        self.norm = nn.LayerNorm(width)
        self.conv = nn.Conv2d(width, width, 3, padding=1, groups=width)
        nn.init.zeros_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, rows * columns, width) to the same shape."""
        grid = rearrange(self.norm(x), "b (h w) c -> b c h w", h=self.window[0])
        return rearrange(self.conv(grid), "b c h w -> b (h w) c")


class MaskedPrior(nn.Module):
    """p(hidden tokens | visible tokens, domain) over a window, each hidden token on its own.

    MaskGIT (Chang et al., 2022) with rotary positions along both axes.

    Args:
        config: sizes.
        codebook_size: number of tokens.
        num_domains: number of domains.
    """

    def __init__(self, config: PriorConfig, *, codebook_size: int, num_domains: int):
        super().__init__()
        self.config = config
        self.codebook_size = codebook_size
        self.no_domain = num_domains  # stands for a domain that is not told
        rows, columns = config.window
        # The last row is that of hidden tokens.
        self.embedding = nn.Embedding(codebook_size + 1, config.width)
        self.domains = nn.Embedding(num_domains + 1, config.width)
        self.rows = nn.Parameter(torch.zeros(rows, config.width))
        self.columns = nn.Parameter(torch.zeros(columns, config.width))
        cells = torch.arange(rows * columns)
        turns = rotation(cells // columns, cells % columns, config.width // config.num_heads)
        self.turns: Tensor
        self.register_buffer("turns", torch.stack(turns), persistent=False)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            [
                Block(config, GridNeighbours(config.width, config.window) if config.local else None)
                for _ in range(config.num_layers)
            ]
        )
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, codebook_size, bias=False)
        initialise(self)

    def forward(self, tokens: Tensor, hidden: Tensor, domains: Tensor) -> Tensor:
        """Logits (b, h, w, codebook_size) of every cell.

        Args:
            tokens: int64 (b, h, w), the size of the window; values where `hidden` are ignored.
            hidden: bool (b, h, w).
            domains: int64 (b,); `no_domain` where it is not told.
        """
        shown = torch.where(hidden, self.codebook_size, tokens)
        # (h, w, width), then (b, h, w, width)
        places = self.rows[:, None] + self.columns
        x = self.embedding(shown) + places + self.domains(domains)[:, None, None]
        # (b, h * w, width)
        x = self.dropout(x.flatten(1, 2))
        turn = Rotation(*self.turns)
        for block in self.blocks:
            x = block(x, (turn, turn), causal=False)
        return self.head(self.norm(x)).unflatten(1, self.config.window)

    def nll(self, tokens: Tensor, hidden: Tensor, domains: Tensor) -> Tensor:
        """Mean negative log-likelihood (b,) in nats of the hidden tokens of each grid (b, h, w)."""
        logits = self(tokens, hidden, domains).float()
        each = F.cross_entropy(logits.flatten(0, 2), tokens.flatten(), reduction="none").view_as(
            tokens
        )
        return (each * hidden).sum(dim=(1, 2)) / hidden.sum(dim=(1, 2))
