"""Generators of the baselines: an image of one domain to an image of another, and nothing else."""

from itertools import permutations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.config import GeneratorConfig
from vqi2i.networks.decoder import Head
from vqi2i.networks.layers import Downsample, ResBlock, Upsample


class Generator(nn.Module):
    """Levels down, residual blocks, levels up (Johnson et al., 2016), as CycleGAN and CUT have it.

    The first half of the residual blocks and all before them are the encoder of PatchNCE.
    """

    def __init__(self, config: GeneratorConfig):
        super().__init__()
        self.patch = config.patch
        widths = config.level_channels
        channels = widths[0]
        self.stem = nn.Conv2d(3 * config.patch**2, channels, 3, padding=1)
        levels: list[nn.Module] = []
        for level, width in enumerate(widths):
            # halved before every level but the first
            before = [Downsample(channels)] if level else []
            levels.append(nn.Sequential(*before, ResBlock(channels, width)))
            channels = width
        self.levels = nn.ModuleList(levels)
        half = config.num_res_blocks // 2
        self.first_half = nn.Sequential(*(ResBlock(channels, channels) for _ in range(half)))
        blocks: list[nn.Module] = [
            ResBlock(channels, channels) for _ in range(config.num_res_blocks - half)
        ]
        for level, width in reversed(list(enumerate(widths))):
            blocks.append(ResBlock(channels, width))
            channels = width
            if level > 0:
                blocks.append(Upsample(width))
        # Given no style, an adaptive head leaves features as they are. A norm per channel would
        # take an image's palette away just before it is drawn.
        self.rest = nn.Sequential(*blocks, Head(channels, config.patch, adaptive=True))
        self.feature_channels = (*widths, widths[-1])

    def forward(self, images: Tensor) -> Tensor:
        """Map (b, 3, h, w) in [-1, 1] likewise; sides are multiples of the stride."""
        return self.with_features(images)[0]

    def with_features(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The translations of images, and the features on the way."""
        features = self.features(images)
        return torch.tanh(self.rest(features[-1])), features

    def features(self, images: Tensor) -> list[Tensor]:
        """Features after every level and after half of the residual blocks.

        (b, c_l, h/patch/2^l, w/patch/2^l) each, the last one as large as that before it.
        """
        x = self.stem(F.pixel_unshuffle(images, self.patch))
        found = []
        for level in self.levels:
            x = level(x)
            found.append(x)
        return [*found, self.first_half(x)]


def direction(source: str, target: str) -> str:
    """What the generator from one domain to another is called; no domain has a `>` in its name."""
    return f"{source}->{target}"


class Generators(nn.Module):
    """One generator for each ordered pair of domains."""

    def __init__(self, config: GeneratorConfig):
        super().__init__()
        self.config = config
        self.directions = nn.ModuleDict(
            {direction(a, b): Generator(config) for a, b in permutations(config.domains, 2)}
        )

    def of(self, source: str, target: str) -> Generator:
        """The generator from one domain to another."""
        generator = self.directions[direction(source, target)]
        assert isinstance(generator, Generator)
        return generator

    def forward(self, images: Tensor, source: str, target: str) -> Tensor:
        """Show images (b, 3, h, w) of `source` in `target`."""
        return self.of(source, target)(images)
