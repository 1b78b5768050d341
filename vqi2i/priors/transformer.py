"""What both priors are made of: blocks of attention and MLP, rotary positions on a grid."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vqi2i.config import PriorConfig

# the slowest angle turns by about a hundredth per cell: grids are some tens of cells wide
_BASE = 100.0


class Rotation(NamedTuple):
    """Cosines and sines (n, head channels / 2) of the angles of n places."""

    cos: Tensor
    sin: Tensor


def rotation(rows: Tensor, columns: Tensor, channels: int) -> Rotation:
    """Angles of grid places (n,) and (n,): half of a head's channels each for row and column.

    Rotary positions (Su et al., RoFormer, 2021), axis by axis: attention sees distances alone.
    """
    # A quarter of the channels as frequencies: from one radian per cell down towards 1 / _BASE.
    steps = _BASE ** -(torch.arange(channels // 4) / (channels // 4))
    angles = torch.cat([rows[:, None] * steps, columns[:, None] * steps], dim=1)
    return Rotation(angles.cos(), angles.sin())


def rotate(x: Tensor, by: Rotation) -> Tensor:
    """Turn the channels of (..., n, d) by the angles of n places."""
    # (first + i second) exp(i angle), channel i paired with channel i + d / 2
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * by.cos - second * by.sin, second * by.cos + first * by.sin], dim=-1)


class Block(nn.Module):
    """Pre-normalised self-attention and MLP, after `local` if given has mixed neighbours."""

    def __init__(self, config: PriorConfig, local: nn.Module | None):
        super().__init__()
        width = config.width
        self.num_heads = config.num_heads
        self.local = local
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
            nn.Dropout(config.dropout),
        )
        self.residual_dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Tensor, turns: tuple[Rotation, Rotation] | None, *, causal: bool
    ) -> Tensor:
        """Map (b, n, width) to the same shape; `turns` are those of queries and of keys."""
        if self.local is not None:
            x = x + self.local(x)
        y = self.norm1(x)
        # (b, heads, n, head channels)
        q, k, v = (
            rearrange(f(y), "b n (h d) -> b h n d", h=self.num_heads)
            for f in (self.query, self.key, self.value)
        )
        if turns is not None:
            q, k = rotate(q, turns[0]).to(v), rotate(k, turns[1]).to(v)
        # Dropout stays out of the attention itself, where it would cost the fused kernel.
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        x = x + self.residual_dropout(self.out(rearrange(mixed, "b h n d -> b n (h d)")))
        return x + self.mlp(self.norm2(x))


def initialise(prior: nn.Module) -> None:
    """Small weights for linear layers, embeddings and places.

    What mixes neighbours starts with doing nothing.
    """
    for module in prior.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
    for name, parameter in prior.named_parameters(recurse=False):
        nn.init.normal_(parameter, std=0.02)
        assert name in ("positions", "rows", "columns"), name
