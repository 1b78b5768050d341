"""Content encoder (shared by the domains) and style encoder (one per domain)."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vqi2i.config import NetworkConfig
from vqi2i.networks.layers import Attention, Downsample, GroupNorm, ResBlock, run


class ContentEncoder(nn.Module):
    """E^c: images to continuous content, one vector per token position."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.patch = config.patch
        channels = config.base_channels
        self.stem = nn.Conv2d(3 * config.patch**2, channels, 3, padding=1)
        blocks: list[nn.Module] = []
        self._level_ends: list[int] = []  # number of blocks up to and including each level
        for level, width in enumerate(config.level_channels):
            for _ in range(config.num_res_blocks):
                blocks.append(ResBlock(channels, width))
                channels = width
                if config.has_attention(level):
                    blocks.append(Attention(width))
            self._level_ends.append(len(blocks))
            if level < len(config.level_channels) - 1:
                blocks.append(Downsample(width))
        self.levels = nn.Sequential(*blocks)
        self.middle = nn.Sequential(
            ResBlock(channels, channels), Attention(channels), ResBlock(channels, channels)
        )
        self.head = nn.Sequential(
            GroupNorm(channels), nn.SiLU(), nn.Conv2d(channels, config.z_channels, 3, padding=1)
        )
        # the release's `quant_conv`: what it gives is E^c, as eq. (6) compares it
        self.to_embedding = nn.Conv2d(config.z_channels, config.embed_dim, 1)
        self.recompute = False  # trade time for memory in training
        self.feature_channels = (*config.level_channels, channels)

    def forward(self, images: Tensor) -> Tensor:
        """Encode (b, 3, h, w) in [-1, 1] to (b, embed_dim, h/stride, w/stride).

        Sides must be multiples of the stride.
        """
        return self.with_features(images)[0]

    def with_features(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The content of images, and the features after every level and after the middle."""
        # (b, 3 * patch^2, h/patch, w/patch), then (b, c, h/patch, w/patch)
        x = self.stem(F.pixel_unshuffle(images, self.patch))
        features = []
        for number, block in enumerate(self.levels, start=1):
            x = run(block, x, recompute=self.recompute)
            if number in self._level_ends:
                # level l: (b, c_l, h/patch/2^l, w/patch/2^l), before it is halved
                features.append(x)
        # (b, c, h/stride, w/stride), as are all that follow
        x = self.middle(x)
        return self.to_embedding(self.head(x)), [*features, x]


class StyleEncoder(nn.Module):
    """E^s: images to one style vector each; no normalisation, since it would wash the style out."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        width = config.style_channels
        widths = [width, 2 * width, 4 * width, 4 * width, 4 * width]
        layers: list[nn.Module] = [
            nn.Conv2d(3, width, 7, padding=3, padding_mode="reflect"),
            nn.ReLU(),
        ]
        for before, after in pairwise(widths):
            layers += [
                nn.Conv2d(before, after, 4, stride=2, padding=1, padding_mode="reflect"),
                nn.ReLU(),
            ]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], config.style_dim)
        # Without norms the default weights fade the image out: all styles would start the same.
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Encode (b, 3, h, w), sides at least 16, to styles (b, style_dim)."""
        # (b, 4c, h/16, w/16) before the mean, which forgets places and sizes
        return self.head(self.features(images).mean(dim=(2, 3)))


class StyleMLP(nn.Module):
    """Style vectors to the parameters of every AdaIN layer of a generator."""

    def __init__(self, style_dim: int, adain_channels: list[int], hidden: int = 256):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(style_dim, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 2 * sum(adain_channels)),
        )
        for module in self.layers:
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight)
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        # The bias alone is plain instance normalisation; a style moves it from the start.
        nn.init.normal_(last.weight, std=hidden**-0.5)
        last.bias.data = _plain(adain_channels)

    def forward(self, styles: Tensor) -> Tensor:
        """Map (b, style_dim[, m, n]) to (b, 2 * channels[, m, n])."""
        if styles.ndim == 2:
            return self.layers(styles)
        # Linear layers want the channels last.
        return rearrange(self.layers(rearrange(styles, "b s m n -> b m n s")), "b m n p -> b p m n")


class DomainStyle(nn.Module):
    """AdaIN parameters without styles (uni-VQ-I2I): learned, the same for every image."""

    def __init__(self, adain_channels: list[int]):
        super().__init__()
        self.parameters_of_adain = nn.Parameter(_plain(adain_channels))

    def forward(self, styles: Tensor) -> Tensor:
        """Repeat them for styles (b, 0[, m, n]): (b, 2 * channels[, m, n])."""
        rows, canvas = styles.shape[0], styles.shape[2:]
        parameters = self.parameters_of_adain.view(1, -1, *[1] * len(canvas))
        return parameters.expand(rows, -1, *canvas)


def _plain(adain_channels: list[int]) -> Tensor:
    """AdaIN parameters of plain instance normalisation: per layer zeros, and then ones."""
    return torch.cat(
        [torch.cat([torch.zeros(channels), torch.ones(channels)]) for channels in adain_channels]
    )
