"""The causal prior step by step: what was fed stays in memory, so that a token costs one token.

A step of one token reads all weights once and does little else, so its time is that of fetching
them; beside eight rows' keys and values. Hence weights in 16 or 8 bits, keys and values in 16 then,
queries, keys and values from one matrix, memory for the longest sequence from the start, and as few
calls as possible.
"""

from collections.abc import Callable
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqi2i.networks.stopping import may_stop
from vqi2i.priors.causal import CausalPrior, RasterNeighbours
from vqi2i.priors.sampling import Precision
from vqi2i.priors.transformer import Block, Rotation, rotate

Linear = Callable[[Tensor], Tensor]


def frozen_linear(weight: Tensor, bias: Tensor | None, precision: Precision) -> Linear:
    """A linear map of float32 (b, n, inputs) to float32, its weights kept in a precision.

    Weights are (outputs, inputs).

    int8 keeps one scale per output; in both small precisions inputs are rounded to bfloat16 and
    sums taken in float32.
    """
    if precision == "float32":
        return lambda x: F.linear(x, weight, bias)
    product = _half(weight) if precision == "bf16" else _eighth(weight)
    if bias is None:
        return lambda x: product(x).float()
    return lambda x: product(x) + bias


def _memory(precision: Precision) -> torch.dtype:
    """How keys and values are kept."""
    return torch.float32 if precision == "float32" else torch.bfloat16


def _half(weight: Tensor) -> Linear:
    half = weight.bfloat16()
    return lambda x: F.linear(x.bfloat16(), half)


def _eighth(weight: Tensor) -> Linear:
    low, high = weight.aminmax(dim=1)
    # One scale per output, symmetric: the largest weight of a row becomes 127 or -127.
    scales = torch.maximum(high, -low).clamp_min(1e-12) / 127
    codes = (weight * (1 / scales)[:, None]).round_().to(torch.int8)
    # The kernel wants scales of the inputs' type.
    scales = scales.bfloat16()

    def product(x: Tensor) -> Tensor:
        # A private name: there is no public one (docs/DESIGN.md).
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
        prepared = _prepared(prior, precision)
        # Input i of those fed sees all up to itself.
        self._hidden = self._places.new_full(
            (length, length), -torch.inf, dtype=_memory(precision)
        ).triu(1)
        self._layers = [_Layer(weights, rows, length, self._places) for weights in prepared.blocks]
        self._head = prepared.head
        self.fed = 0

    def restart(self) -> None:
        """Forget what was fed."""
        self.fed = 0

    @torch.no_grad()
    def feed(self, inputs: Tensor) -> Tensor:
        """Logits (b, codebook_size) after inputs (b, n), which follow those fed before."""
        may_stop()
        start, stop = self.fed, self.fed + inputs.shape[1]
        x = self.prior.embedding(inputs) + self._places[start:stop]
        turns = self.prior.rotations(start, stop)
        # (n, stop); a single input sees all there is, and needs no mask
        hidden = self._hidden[start:stop, :stop] if stop - start > 1 else None
        for layer in self._layers:
            x = layer(x, start, turns, hidden)
        self.fed = stop
        return self._head(self.prior.norm(x[:, -1:]))[:, 0]


class _Weights:
    """A block in inference form: what all sequences share."""

    def __init__(self, block: Block, precision: Precision):
        self.heads, self.channels = block.num_heads, block.out.in_features // block.num_heads
        self.norm1, self.norm2 = block.norm1, block.norm2
        self.local = block.local if isinstance(block.local, RasterNeighbours) else None
        self.memory = _memory(precision)
        # One product (width, 3 * width) instead of three.
        three = (block.query, block.key, block.value)
        self.query_key_value = frozen_linear(
            torch.cat([part.weight for part in three]),
            torch.cat([part.bias for part in three]),
            precision,
        )
        linear = (part for part in (block.out, *block.mlp) if isinstance(part, nn.Linear))
        self.out, self.widen, self.narrow = (
            frozen_linear(part.weight, part.bias, precision) for part in linear
        )


class _Prepared(NamedTuple):
    """A prior's weights in a precision."""

    state: tuple[object, ...]  # of the parameters they were made from
    blocks: list[_Weights]
    head: Linear


_PREPARED: WeakKeyDictionary[CausalPrior, dict[Precision, _Prepared]] = WeakKeyDictionary()


@torch.no_grad()
def _prepared(prior: CausalPrior, precision: Precision) -> _Prepared:
    """A prior's weights, converted once, and again only after they have changed or moved."""
    held = _PREPARED.setdefault(prior, {})
    # What writes in place raises `_version`, what replaces a tensor changes its address.
    state = tuple((value.data_ptr(), value._version) for value in prior.parameters())
    if precision not in held or held[precision].state != state:
        blocks = [_Weights(block, precision) for block in prior.blocks if isinstance(block, Block)]
        held[precision] = _Prepared(
            state, blocks, frozen_linear(prior.head.weight, None, precision)
        )
    return held[precision]


class _Layer:
    """A block and the keys and values of what it was fed."""

    def __init__(self, weights: _Weights, rows: int, length: int, like: Tensor):
        self.weights = weights
        size = (2, rows, weights.heads, length, weights.channels)  # keys and values
        self.seen = like.new_empty(size, dtype=weights.memory)
        self.reach = weights.local.offsets[-1] if weights.local is not None else 0
        width = weights.heads * weights.channels if weights.local is not None else 0
        # normalised inputs behind `reach` zeros, as `RasterNeighbours.forward` pads them
        self.around = like.new_zeros(rows, self.reach + length, width)

    def __call__(
        self, x: Tensor, start: int, turns: tuple[Rotation, Rotation] | None, hidden: Tensor | None
    ) -> Tensor:
        b, n, width = x.shape
        weights = self.weights
        stop = start + n
        if weights.local is not None:
            self.around[:, self.reach + start : self.reach + stop] = weights.local.norm(x)
            x = x + weights.local.mix(self.around, self.reach + start, n)
        # (3, b, heads, n, head channels)
        parts = (
            weights.query_key_value(weights.norm1(x))
            .view(b, n, 3, weights.heads, weights.channels)
            .permute(2, 0, 3, 1, 4)
        )
        # seen: (2, b, heads, stop, head channels), a view: what is written to it stays
        query, seen = parts[0], self.seen[:, :, :, :stop]
        if turns is None:
            seen[..., start:, :] = parts[1:]
        else:
            query = rotate(query, turns[0])
            seen[0, ..., start:, :] = rotate(parts[1], turns[1])
            seen[1, ..., start:, :] = parts[2]
        mixed = F.scaled_dot_product_attention(
            query.to(weights.memory), seen[0], seen[1], attn_mask=hidden
        )
        x = x + weights.out(mixed.transpose(1, 2).reshape(b, n, width))
        return x + weights.narrow(F.gelu(weights.widen(weights.norm2(x))))
