"""Generator: content codes and a style to an image."""

import math
from collections.abc import Iterable

import torch.nn.functional as F
from torch import Tensor, nn

from vqi2i.config import NetworkConfig
from vqi2i.networks.layers import (
    AdaINResBlock,
    Attention,
    GroupNorm,
    ResBlock,
    Upsample,
    adain,
    run,
)


class Decoder(nn.Module):
    """G: AdaIN blocks at the smallest scale, then levels of residual blocks up to full size."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        adaptive = config.adain == "every_level"
        channels = config.level_channels[-1]
        self.stem = nn.Conv2d(config.z_channels, channels, 3, padding=1)
        # (b, c, h, w) at the scale of the tokens: style blocks, then the middle
        blocks: list[nn.Module] = [AdaINResBlock(channels) for _ in range(config.num_style_blocks)]
        blocks += [
            ResBlock(channels, channels, adaptive=adaptive),
            Attention(channels),
            ResBlock(channels, channels, adaptive=adaptive),
        ]
        # From the coarsest level to the finest, (b, c_l, h * stride/patch/2^l, ...).
        for level, width in reversed(list(enumerate(config.level_channels))):
            for _ in range(config.num_res_blocks + 1):
                blocks.append(ResBlock(channels, width, adaptive=adaptive))
                channels = width
                if config.has_attention(level):
                    blocks.append(Attention(width))
            if level > 0:
                blocks.append(Upsample(width))
        blocks.append(Head(channels, config.patch, adaptive=adaptive))
        self.blocks = nn.ModuleList(blocks)
        # first block after the last attention; the middle has one, so there is always a last
        self.local_from = 1 + max(
            index for index, block in enumerate(blocks) if isinstance(block, Attention)
        )
        self.recompute = False  # trade time for memory in training

    @property
    def adain_channels(self) -> list[int]:
        """Channels of every AdaIN layer, in the order they are met."""
        return [c for block in self.blocks for c in _adain_channels(block)]

    def forward(self, content: Tensor, adain_parameters: Tensor) -> Tensor:
        """Content (b, z_channels, h, w) to images (b, 3, h * stride, w * stride).

        There is no tanh at the end: values may overshoot [-1, 1].

        Args:
            content: quantised content, already mapped from the codebook's channels.
            adain_parameters: a style MLP's output, (b, 2 * sum(adain_channels)) or with two canvas
                axes behind.
        """
        return self.local_part(*self.global_part(content, adain_parameters))

    def global_part(self, content: Tensor, adain_parameters: Tensor) -> tuple[Tensor, Tensor]:
        """All blocks up to the last attention: features, and what is left of the style.

        These blocks see the whole canvas.
        """
        return self._run(self.blocks[: self.local_from], self.stem(content), adain_parameters)

    def local_part(self, features: Tensor, adain_parameters: Tensor) -> Tensor:
        """The blocks after the last attention: features to images.

        Norms aside, a pixel depends on no feature farther away than `reach`.
        """
        return self._run(self.blocks[self.local_from :], features, adain_parameters)[0]

    def _run(
        self, blocks: Iterable[nn.Module], x: Tensor, parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        for block in blocks:
            channels = _adain_channels(block)
            # Each layer takes bias and weight, (b, 2c[, m, n]), off the front of what is left.
            own = [2 * count for count in channels]
            *styles, parameters = parameters.split([*own, parameters.shape[1] - sum(own)], dim=1)
            x = run(block, x, *([styles] if channels else []), recompute=self.recompute)
        return x, parameters

    @property
    def reach(self) -> int:
        """Positions to each side that a pixel depends on in the local part, norms aside."""
        # A k x k convolution sees k // 2 pixels to each side: that many / scale of the features.
        scale, positions = 1, 0.0
        for block in self.blocks[self.local_from :]:
            scale *= 2 if isinstance(block, Upsample) else 1
            for convolution in block.modules():
                if isinstance(convolution, nn.Conv2d):
                    positions += (convolution.kernel_size[0] // 2) / scale
        return math.ceil(positions)


def _adain_channels(block: nn.Module) -> list[int]:
    return block.adain_channels if isinstance(block, AdaINResBlock | ResBlock | Head) else []


class Head(nn.Module):
    """Features to pixels; where style enters every level it sets the colours here."""

    def __init__(self, channels: int, patch: int, *, adaptive: bool, width: int = 16):
        super().__init__()
        self.channels = channels
        self.patch = patch
        self.adaptive = adaptive
        self.norm = nn.Identity() if adaptive else GroupNorm(channels)
        self.conv = nn.Conv2d(channels, 3 if patch == 1 else width * patch**2, 3, padding=1)
        # Sub-pixel outputs are made apart from each other: a convolution at full size joins them.
        self.full_size = nn.Identity() if patch == 1 else nn.Conv2d(width, 3, 3, padding=1)

    @property
    def adain_channels(self) -> list[int]:
        """Channels of each AdaIN layer, in the order they are met."""
        return [self.channels] if self.adaptive else []

    def forward(self, x: Tensor, style: list[Tensor] | None = None) -> Tensor:
        """Map (b, c, h, w) to (b, 3, h * patch, w * patch)."""
        y = adain(x, style[0]) if self.adaptive and style else self.norm(x)
        # (b, 3, h, w), or (b, width * patch^2, h, w)
        y = self.conv(F.silu(y))
        if self.patch == 1:
            return y
        # (b, width, h * patch, w * patch) before the last convolution
        return self.full_size(F.silu(F.pixel_shuffle(y, self.patch)))
