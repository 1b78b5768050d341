"""The causal prior step by step: what was fed stays in memory, so that a token costs one token.

A step of one token reads all weights once and does little else, so its time is that of fetching them. Hence weights in
16 or 8 bits, queries, keys and values from one matrix, memory for the longest sequence from the start, and as few
calls as possible.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqi2i.causal import CausalPrior, RasterNeighbours
from vqi2i.sampling import Precision
from vqi2i.transformer import Block, Rotation, rotate

Linear = Callable[[Tensor], Tensor]


def frozen_linear(weight: Tensor, bias: Tensor | None, precision: Precision) -> Linear:
    """A linear map of float32 (b, n, inputs) to float32 with weights (outputs, inputs) kept in a precision.

    int8 keeps one scale per output; in both small precisions inputs are rounded to bfloat16 and sums taken in float32.
    """
    if precision == "float32":
        return lambda x: F.linear(x, weight, bias)
    product = _half(weight) if precision == "bf16" else _eighth(weight)
    if bias is None:
        return lambda x: product(x).float()
    return lambda x: product(x) + bias


def _half(weight: Tensor) -> Linear:
    half = weight.bfloat16()
    return lambda x: F.linear(x.bfloat16(), half)


def _eighth(weight: Tensor) -> Linear:
    scales = weight.abs().amax(dim=1).clamp_min(1e-12) / 127
    codes = (weight / scales[:, None]).round().to(torch.int8)
    scales = scales.bfloat16()

    def product(x: Tensor) -> Tensor:
        rows = torch.ops.aten._weight_int8pack_mm(x.flatten(0, -2).bfloat16(), codes, scales)
        return rows.view(*x.shape[:-1], -1)

    return product


class Stepper:
    """A causal prior that is fed piece by piece.

    Args:
        prior: in evaluation mode; its weights must not change meanwhile.
        rows: sequences that are fed side by side.
        precision: of the weights.
    """

    def __init__(self, prior: CausalPrior, rows: int, precision: Precision = "float32"):
        self.prior = prior
        self._places = prior.places()
        length = len(self._places)
        # Input i of those fed sees all up to itself.
        self._hidden = torch.full((length, length), -torch.inf, device=self._places.device).triu(1)
        self._layers = [_Layer(block, rows, length, precision) for block in prior.blocks if isinstance(block, Block)]
        self._head = frozen_linear(prior.head.weight, None, precision)
        self.fed = 0

    def restart(self) -> None:
        """Forget what was fed."""
        self.fed = 0

    @torch.no_grad()
    def feed(self, inputs: Tensor) -> Tensor:
        """Logits (b, codebook_size) of what follows the last of inputs (b, n), which follow those fed before."""
        start, stop = self.fed, self.fed + inputs.shape[1]
        x = self.prior.embedding(inputs) + self._places[start:stop]
        turns = self.prior.rotations(start, stop)
        hidden = self._hidden[start:stop, :stop] if stop - start > 1 else None
        for layer in self._layers:
            x = layer(x, start, turns, hidden)
        self.fed = stop
        return self._head(self.prior.norm(x[:, -1:]))[:, 0]


class _Layer:
    """A block with its weights in inference form and the keys and values of what it was fed."""

    def __init__(self, block: Block, rows: int, length: int, precision: Precision):
        width = block.out.in_features
        self.heads, self.channels = block.num_heads, width // block.num_heads
        self.norm1, self.norm2 = block.norm1, block.norm2
        three = (block.query, block.key, block.value)
        self.query_key_value = frozen_linear(
            torch.cat([part.weight for part in three]), torch.cat([part.bias for part in three]), precision
        )
        linear = (part for part in (block.out, *block.mlp) if isinstance(part, nn.Linear))
        self.out, self.widen, self.narrow = (frozen_linear(part.weight, part.bias, precision) for part in linear)
        like = block.out.weight
        self.seen = like.new_empty(2, rows, self.heads, length, self.channels)  # keys and values
        self.local = block.local if isinstance(block.local, RasterNeighbours) else None
        self.reach = self.local.offsets[-1] if self.local is not None else 0
        self.around = like.new_zeros(rows, self.reach + length, width if self.local is not None else 0)

    def __call__(self, x: Tensor, start: int, turns: tuple[Rotation, Rotation] | None, hidden: Tensor | None) -> Tensor:
        b, n, width = x.shape
        stop = start + n
        if self.local is not None:
            self.around[:, self.reach + start : self.reach + stop] = self.local.norm(x)
            x = x + self.local.mix(self.around, self.reach + start, n)
        parts = self.query_key_value(self.norm1(x)).view(b, n, 3, self.heads, self.channels).permute(2, 0, 3, 1, 4)
        query, seen = parts[0], self.seen[:, :, :, :stop]
        if turns is None:
            seen[..., start:, :] = parts[1:]
        else:
            query = rotate(query, turns[0])
            seen[0, ..., start:, :] = rotate(parts[1], turns[1])
            seen[1, ..., start:, :] = parts[2]
        mixed = F.scaled_dot_product_attention(query, seen[0], seen[1], attn_mask=hidden)
        x = x + self.out(mixed.transpose(1, 2).reshape(b, n, width))
        return x + self.narrow(F.gelu(self.widen(self.norm2(x))))
