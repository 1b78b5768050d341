"""The causal prior: a transformer that predicts content tokens one after the other in raster order."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vqi2i.config import PriorConfig


class KeyValueCache:
    """Keys and values of the positions fed so far, per layer: what makes a step cost one token."""

    def __init__(self, num_layers: int):
        self.layers: list[tuple[Tensor, Tensor] | None] = [None] * num_layers

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append (b, heads, n, d) and return all keys and values of the layer."""
        held = self.layers[layer]
        if held is not None:
            keys, values = torch.cat([held[0], keys], dim=2), torch.cat([held[1], values], dim=2)
        self.layers[layer] = (keys, values)
        return keys, values


class Block(nn.Module):
    """Pre-normalised causal self-attention and MLP."""

    def __init__(self, config: PriorConfig):
        super().__init__()
        width = config.width
        self.num_heads = config.num_heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(config.dropout)
        )
        self.residual_dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, layer: int, cache: KeyValueCache | None) -> Tensor:
        """Map (b, n, width) to the same shape; with a cache, the n positions follow those it holds."""
        y = self.norm1(x)
        q, k, v = (
            rearrange(f(y), "b n (h d) -> b h n d", h=self.num_heads) for f in (self.query, self.key, self.value)
        )
        if cache is not None:
            k, v = cache.extend(layer, k, v)
        # Row i of the newest n positions sees everything up to itself. Dropout stays out of the attention itself, where
        # it would cost the fused kernel.
        mask = None
        if q.shape[2] != k.shape[2]:
            mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=x.device).tril(k.shape[2] - q.shape[2])
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        x = x + self.residual_dropout(self.out(rearrange(mixed, "b h n d -> b n (h d)")))
        return x + self.mlp(self.norm2(x))


class CausalPrior(nn.Module):
    """p(token | tokens before it in raster order) over a window of the token grid, after a prefix.

    The prefix is the domain, or for checkpoints of the release a grid of coordinates that is the same for every image.

    Args:
        config: sizes.
        codebook_size: number of tokens.
        num_domains: number of domains.
        stride: image pixels per token; the coordinates are those of pixels.
    """

    def __init__(self, config: PriorConfig, *, codebook_size: int, num_domains: int, stride: int):
        super().__init__()
        self.config = config
        self.codebook_size = codebook_size
        # The prefix shares the table with the tokens: domains have rows of their own, coordinates are read as tokens.
        rows = codebook_size + (num_domains if config.condition == "domain" else 0)
        self.embedding = nn.Embedding(rows, config.width)
        self.coordinates: Tensor
        self.register_buffer("coordinates", coordinate_tokens(config.window, stride, codebook_size), persistent=False)
        self.positions = nn.Parameter(torch.zeros(config.num_positions, config.width))
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.num_layers)])
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, codebook_size, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        nn.init.normal_(self.positions, std=0.02)

    def inputs(self, tokens: Tensor, domains: Tensor) -> Tensor:
        """The sequence fed to predict tokens (b, n) of domains (b,): the prefix, then all tokens but the last."""
        if self.config.condition == "coordinates":
            prefix = self.coordinates.expand(len(tokens), -1)
        else:
            prefix = self.codebook_size + domains[:, None]
        return torch.cat([prefix, tokens[:, :-1]], dim=1)

    def forward(self, inputs: Tensor, start: int = 0, cache: KeyValueCache | None = None) -> Tensor:
        """Logits (b, n, codebook_size) of what follows each of `inputs`; the first token follows the prefix's last.

        Args:
            inputs: int64 (b, n), a part of a sequence made by `inputs`.
            start: place of the part in the sequence; with a cache, what lies before it has been fed.
            cache: keys and values of what was fed; extended in place.
        """
        x = self.dropout(self.embedding(inputs) + self.positions[start : start + inputs.shape[1]])
        for layer, block in enumerate(self.blocks):
            x = block(x, layer, cache)
        return self.head(self.norm(x))

    def nll(self, tokens: Tensor, domains: Tensor) -> Tensor:
        """Mean negative log-likelihood in nats per token of grids (b, h, w), the size of the window."""
        flat = tokens.flatten(1)
        logits = self(self.inputs(flat, domains))[:, self.config.prefix_length - 1 :]
        return F.cross_entropy(logits.float().flatten(0, 1), flat.flatten())


def coordinate_tokens(window: tuple[int, int], stride: int, codebook_size: int) -> Tensor:
    """The release's prefix (rows * columns,): raster position of each cell's mean pixel, scaled to the codebook."""
    rows, columns = window
    height, width = rows * stride, columns * stride
    y, x = (torch.arange(side, dtype=torch.float64) * stride + (stride - 1) / 2 for side in window)
    share = (y[:, None] * width + x[None]) / (height * width)
    return (codebook_size * share).round().long().flatten()
