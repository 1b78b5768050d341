"""Patch discriminators: real or generated, one logit per patch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqi2i.config import DiscriminatorConfig
from vqi2i.networks.layers import InstanceNorm


def _trunk(config: DiscriminatorConfig) -> tuple[nn.Sequential, int]:
    """Strided convolutions and the number of channels they end with."""
    instance = config.norm == "instance"
    channels = config.base_channels
    # (n, 3 or 6, H, W) to (n, c, H/2, W/2); the first layer has no norm
    layers: list[nn.Module] = [
        nn.Conv2d(6 if config.detail else 3, channels, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
    ]
    for index in range(1, config.num_layers + 1):
        wider = min(2**index, 8) * config.base_channels
        # The last layer, as the head, keeps the size but for a row and a column: 4x4, padding 1.
        stride = 1 if index == config.num_layers else 2
        # Instance normalisation takes a bias away and brings one of its own.
        layers.append(nn.Conv2d(channels, wider, 4, stride=stride, padding=1, bias=not instance))
        if instance:
            layers.append(InstanceNorm(wider))
        layers.append(nn.LeakyReLU(0.2))
        channels = wider
    return nn.Sequential(*layers), channels


class Discriminator(nn.Module):
    """D: one answer per patch and domain; trunks are shared by the domains, or one each."""

    def __init__(self, config: DiscriminatorConfig, domains: tuple[str, ...]):
        super().__init__()
        self.domains = domains
        self.detail = config.detail
        self.shared = config.trunk == "shared"
        owners = ("shared",) if self.shared else domains
        built = {owner: _trunk(config) for owner in owners}
        self.trunks = nn.ModuleDict({owner: trunk for owner, (trunk, _) in built.items()})
        channels = next(iter(built.values()))[1]
        self.heads = nn.ModuleDict(
            {domain: nn.Conv2d(channels, 1, 4, padding=1) for domain in domains}
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=0.2)
        # Start undecided: logits near zero lie inside the hinge's margin on either side.
        for head in self.heads.values():
            assert isinstance(head, nn.Conv2d)
            nn.init.normal_(head.weight, std=0.01)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, 1, h, w) of images (n, 3, H, W), rows ordered domain by domain."""
        shown = (
            torch.cat([images, self.detail * high_pass(images)], dim=1) if self.detail else images
        )
        chunks = shown.chunk(len(self.domains))
        if self.shared:
            # (n / domains, c, h + 1, w + 1) each
            features = self.trunks["shared"](shown).chunk(len(self.domains))
        else:
            features = [self.trunks[d](x) for d, x in zip(self.domains, chunks, strict=True)]
        return torch.cat([self.heads[d](f) for d, f in zip(self.domains, features, strict=True)])


def high_pass(images: Tensor) -> Tensor:
    """What an image has beyond its local mean over 3x3 pixels.

    Translations have the right colours long before they have the right edges, and colours carry
    almost all of an image's energy: without this a small discriminator stays at chance even against
    generators that stand still.
    """
    # Edges are repeated: zeros beyond them would be the strongest detail of all.
    return images - F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
