"""Building blocks of the encoders and generators."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vqi2i.networks.stopping import may_stop


class GroupNorm(nn.GroupNorm):
    """Group normalisation with 32 groups, or the largest power of two that divides the channels."""

    def __init__(self, channels: int):
        super().__init__(math.gcd(32, channels), channels, eps=1e-6)

    def forward(self, input: Tensor) -> Tensor:
        """Map (b, c, h, w) to the same shape."""
        return normalise(input, self.num_groups, self.weight, self.bias, self.eps)


class InstanceNorm(nn.GroupNorm):
    """Instance normalisation with a learned scale and shift: one group per channel."""

    def __init__(self, channels: int):
        super().__init__(channels, channels, eps=1e-5)

    def forward(self, input: Tensor) -> Tensor:
        """Map (b, c, h, w) to the same shape."""
        return normalise(input, self.num_groups, self.weight, self.bias, self.eps)


_MOST_PAIRS = 2**28  # of positions that are compared at a time
# at a time: from there on the kernel's blocks, and so the bits, are those of the whole
_FEWEST_QUERIES = 1024
_BAND = 2**20  # AdaIN parameters that are interpolated at a time where style varies

Norm = Callable[[Tensor, int, Tensor | None, Tensor | None, float], Tensor]
_shared_norm: ContextVar[Norm | None] = ContextVar("shared_norm", default=None)


@contextmanager
def shared_norm(norm: Norm) -> Iterator[None]:
    """Let `norm` do all normalisation of this thread: it knows more than the tile at hand."""
    token = _shared_norm.set(norm)
    try:
        yield
    finally:
        _shared_norm.reset(token)


Network = TypeVar("Network", bound=nn.Module)


def channels_last(network: Network) -> Network:
    """Lay weights out as convolutions are fastest: their inputs and gradients follow."""
    return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def run(block: nn.Module, *inputs: Any, recompute: bool) -> Tensor:
    """Apply a block; with `recompute`, its activations are not kept but made again backward."""
    if recompute and torch.is_grad_enabled():
        return checkpoint(block, *inputs, use_reentrant=False)
    return block(*inputs)


def normalise(
    x: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Group normalisation that is fast in channels-last memory.

    On CPUs the kernel is 6 to 15 times faster on contiguous bfloat16 tensors than on channels-last
    ones, and the convolutions the other way round: two copies cost less than either.
    """
    may_stop()  # every block of every network passes here
    # The compiler cannot look into context variables; what is compiled is never decoded in tiles.
    shared = None if torch.compiler.is_compiling() else _shared_norm.get()
    if shared is not None:
        return shared(x, num_groups, weight, bias, eps)
    if x.device.type == "cpu" and x.is_contiguous(memory_format=torch.channels_last):
        y = F.group_norm(cast(Tensor, _Contiguous.apply(x)), num_groups, weight, bias, eps)
        return y.contiguous(memory_format=torch.channels_last)
    return F.group_norm(x, num_groups, weight, bias, eps)


class _Contiguous(torch.autograd.Function):
    """A contiguous copy of a channels-last tensor; its gradient is channels-last again."""

    @staticmethod
    def forward(ctx: Any, *args: Tensor) -> Tensor:
        return args[0].contiguous()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        return grad_outputs[0].contiguous(memory_format=torch.channels_last)


def adain(x: Tensor, parameters: Tensor) -> Tensor:
    """Adaptive instance normalisation: normalise each channel, then scale and shift it by style.

    Args:
        x: features (b, c, h, w).
        parameters: bias then weight, (b, 2c) for one style per image, or (b, 2c, m, n) for a style
            that varies over the canvas and is interpolated to the features' size.
    """
    # AdaIN (Huang & Belongie, 2017): weight * (x - mean) / std + bias, mean and std per channel.
    # One channel per group is instance normalisation: the same numbers, a faster kernel.
    normalised = normalise(x, x.shape[1])
    if parameters.ndim == 4:
        return _modulated(normalised, parameters.to(normalised))
    # (b, c, 1, 1) each; the bias comes first, as in the release's checkpoints
    bias, weight = parameters[:, :, None, None].to(normalised).chunk(2, dim=1)
    return torch.addcmul(bias, normalised, weight)


def _modulated(x: Tensor, parameters: Tensor) -> Tensor:
    """Scale and shift (b, c, h, w) by (b, 2c, m, n) in bilinear interpolation, band by band.

    Interpolated all at once, the parameters would be twice as large as the features: a gigabyte per
    layer of a canvas.
    """
    height, width = x.shape[2:]
    rows = parameters.shape[2]
    # Bilinear in two passes: columns at once to (b, 2c, m, w), rows band by band.
    wide = F.interpolate(parameters, size=(rows, width), mode="bilinear", align_corners=False)
    # Where the middle of each row lies among the m rows, as align_corners=False has it.
    place = ((torch.arange(height, device=x.device) + 0.5) * (rows / height) - 0.5).clamp(
        0, rows - 1
    )
    above = place.long()
    below, share = (above + 1).clamp_max(rows - 1), (place - above)[:, None].to(x)
    made = torch.empty_like(x)
    # rows of the result whose parameters hold no more than _BAND numbers
    band = max(1, _BAND // wide[:, :, 0].numel())
    for start in range(0, height, band):
        part = slice(start, start + band)
        # (b, c, band, w) each
        bias, weight = torch.lerp(
            wide[:, :, above[part]], wide[:, :, below[part]], share[part]
        ).chunk(2, dim=1)
        made[:, :, part] = torch.addcmul(bias, x[:, :, part], weight)
    return made


class ResBlock(nn.Module):
    """Pre-activation residual block; normalised by group, or by style where `adaptive`."""

    def __init__(self, in_channels: int, out_channels: int, *, adaptive: bool = False):
        super().__init__()
        self.adaptive = adaptive
        self.norm1 = nn.Identity() if adaptive else GroupNorm(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = nn.Identity() if adaptive else GroupNorm(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = (
            nn.Identity()
            if in_channels == out_channels
            else nn.Conv2d(in_channels, out_channels, 1)
        )

    @property
    def adain_channels(self) -> list[int]:
        """Channels of each AdaIN layer, in the order they are met."""
        return [self.conv1.in_channels, self.conv2.in_channels] if self.adaptive else []

    def forward(self, x: Tensor, style: list[Tensor] | None = None) -> Tensor:
        """Map (b, in, h, w) to (b, out, h, w); `style`: AdaIN parameters, one tensor per layer."""
        first, second = style if self.adaptive and style else (None, None)
        y = self.norm1(x) if first is None else adain(x, first)
        y = self.conv1(F.silu(y))
        y = self.norm2(y) if second is None else adain(y, second)
        return self.shortcut(x) + self.conv2(F.silu(y))


class AdaINResBlock(nn.Module):
    """The paper's style block: two reflection-padded convolutions, each followed by AdaIN."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")

    @property
    def adain_channels(self) -> list[int]:
        """Channels of each AdaIN layer, in the order they are met."""
        return [self.conv1.out_channels, self.conv2.out_channels]

    def forward(self, x: Tensor, style: list[Tensor]) -> Tensor:
        """Map (b, c, h, w) to the same shape under two AdaIN parameter tensors."""
        first, second = style
        return x + adain(self.conv2(F.relu(adain(self.conv1(x), first))), second)


class Attention(nn.Module):
    """Single-head self-attention over all positions."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = GroupNorm(channels)
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, c, h, w) to the same shape."""
        y = self.norm(x)
        # Contiguous, or the kernel that holds all pairs of positions is taken (17 GB at 2048x512).
        # (b, 1, h * w, c): one head, as wide as the features; the scale is c^-0.5
        query, key, value = (
            rearrange(layer(y), "b c h w -> b 1 (h w) c").contiguous()
            for layer in (self.query, self.key, self.value)
        )
        mixed = _attend(query, key, value)
        return x + self.out(rearrange(mixed, "b 1 (h w) c -> b c h w", h=x.shape[2]))


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention over (b, 1, n, c), in parts where it takes long, to be stopped; same bits."""
    count = query.shape[2]
    at_once = max(_FEWEST_QUERIES, _MOST_PAIRS // (count * len(query)))
    if torch.is_grad_enabled() or count < 2 * at_once:
        return F.scaled_dot_product_attention(query, key, value)
    mixed = torch.empty_like(query)
    # The last part takes the rest as well: a short one would be computed in other blocks.
    for start in range(0, count - at_once + 1, at_once):
        may_stop()
        part = slice(start, start + at_once if start + 2 * at_once <= count else count)
        mixed[:, :, part] = F.scaled_dot_product_attention(query[:, :, part], key, value)
    return mixed


class Downsample(nn.Module):
    """Halve both sides: pad right and bottom by one, then a convolution of stride 2."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, c, h, w) to (b, c, h/2, w/2)."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Double both sides: nearest neighbour, then a convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, c, h, w) to (b, c, 2h, 2w)."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
