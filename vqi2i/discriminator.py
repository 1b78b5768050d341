"""Patch discriminators: real or generated, one logit per patch."""

import torch
from torch import Tensor, nn

from vqi2i.config import DiscriminatorConfig
from vqi2i.layers import InstanceNorm


def _trunk(config: DiscriminatorConfig) -> tuple[nn.Sequential, int]:
    """Strided convolutions and the number of channels they end with."""
    instance = config.norm == "instance"
    channels = config.base_channels
    layers: list[nn.Module] = [nn.Conv2d(3, channels, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    for index in range(1, config.num_layers + 1):
        wider = min(2**index, 8) * config.base_channels
        stride = 1 if index == config.num_layers else 2
        layers.append(nn.Conv2d(channels, wider, 4, stride=stride, padding=1, bias=not instance))
        if instance:
            layers.append(InstanceNorm(wider))
        layers.append(nn.LeakyReLU(0.2))
        channels = wider
    return nn.Sequential(*layers), channels


class Discriminator(nn.Module):
    """D: one answer per patch and domain, from a shared trunk with a head per domain, or from one trunk each."""

    def __init__(self, config: DiscriminatorConfig, domains: tuple[str, ...]):
        super().__init__()
        self.domains = domains
        self.shared = config.trunk == "shared"
        owners = ("shared",) if self.shared else domains
        built = {owner: _trunk(config) for owner in owners}
        self.trunks = nn.ModuleDict({owner: trunk for owner, (trunk, _) in built.items()})
        channels = next(iter(built.values()))[1]
        self.heads = nn.ModuleDict({domain: nn.Conv2d(channels, 1, 4, padding=1) for domain in domains})
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=0.2)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, 1, h, w) of images (n, 3, H, W); rows ordered domain by domain, equally many of each."""
        chunks = images.chunk(len(self.domains))
        if self.shared:
            features = self.trunks["shared"](images).chunk(len(self.domains))
        else:
            features = [self.trunks[d](x) for d, x in zip(self.domains, chunks, strict=True)]
        return torch.cat([self.heads[d](f) for d, f in zip(self.domains, features, strict=True)])
