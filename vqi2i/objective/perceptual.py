"""Perceptual distances of reconstructions: one without a download, and LPIPS from files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqi2i.errors import UserError, first_line
from vqi2i.objective.losses import total_variation

PerceptualKind = Literal["none", "multiscale", "lpips"]


class MultiScale(nn.Module):
    """Differences of gradients over an image pyramid, and of colours at its top.

    Structure without a pretrained network.
    """

    def __init__(self, num_scales: int = 3):
        super().__init__()
        self.num_scales = num_scales

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        """Distance of each image to its target (b, 3, h, w), averaged to a scalar."""
        total = images.new_zeros(())
        # The total variation of a difference is the distance of the two images' gradients.
        for _ in range(self.num_scales):
            total = total + total_variation(images - targets)
            images, targets = F.avg_pool2d(images, 2), F.avg_pool2d(targets, 2)
        # What is left, (b, 3, h / 2^n, w / 2^n), holds colours alone.
        return total / self.num_scales + (images - targets).abs().mean()


VGG_WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class LPIPS(nn.Module):
    """Learned perceptual distance over VGG-16 features (Zhang et al., 2018), from local files.

    Args:
        vgg: a torchvision VGG-16 state dictionary (`features.0.weight`, ...).
        heads: LPIPS v0.1 linear heads (`lin0.model.1.weight`, ...).

    Raises:
        UserError: a file is missing or is not what its argument says.
    """

    def __init__(self, vgg: Path, heads: Path):
        super().__init__()
        self.stages = nn.ModuleList(_vgg_stages())
        features = _weights(vgg)
        convolutions = [
            m for stage in self.stages for m in stage.modules() if isinstance(m, nn.Conv2d)
        ]
        keys = [
            key.removesuffix(".weight")
            for key in features
            if key.startswith("features.") and key.endswith(".weight")
        ]
        if len(keys) != len(convolutions):
            raise UserError(
                f"{vgg} holds {len(keys)} convolutions, not the {len(convolutions)} of VGG-16"
            )
        for convolution, key in zip(convolutions, keys, strict=True):
            _fill(convolution, features, key, vgg)
        linear = _weights(heads)
        for index, widths in enumerate(VGG_WIDTHS):
            name = f"lin{index}.model.1.weight"
            if name not in linear or linear[name].numel() != widths[-1]:
                raise UserError(
                    f"{heads} holds no {name} of {widths[-1]} numbers: it is not LPIPS v0.1 over "
                    "VGG-16"
                )
            self.register_buffer(f"head{index}", linear[name].flatten())
        # ImageNet's mean and deviation, moved from [0, 1] to [-1, 1]
        self.register_buffer("mean", torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor([0.458, 0.448, 0.450]).view(3, 1, 1))
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        """Mean distance of images (b, 3, h, w) in [-1, 1] to their targets, which are constants."""
        # Targets need no way back, which is half of it.
        with torch.no_grad():
            wanted = list(self._features(targets))
        total = images.new_zeros(())
        for index, (found, sought) in enumerate(zip(self._features(images), wanted, strict=True)):
            head = self.get_buffer(f"head{index}")
            # (b, c, h, w) weighted to (b, h, w): per stage a mean over places, summed over stages
            total = total + torch.einsum("bchw,c->bhw", (found - sought).pow(2), head).mean()
        return total

    def _features(self, images: Tensor) -> Iterator[Tensor]:
        x = (images - self.get_buffer("mean")) / self.get_buffer("std")
        for stage in self.stages:
            x = stage(x)
            # Each place's channels to length 1.
            yield F.normalize(x, dim=1, eps=1e-10)


def _weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name."""
    try:
        data = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # missing and damaged files raise whatever the reader stumbles over
        raise UserError(
            f"{path} cannot be read as a file of weights ({first_line(error)})"
        ) from error
    if not isinstance(data, dict) or not all(isinstance(value, Tensor) for value in data.values()):
        raise UserError(f"{path} holds no weights by name")
    return data


def _fill(convolution: nn.Conv2d, weights: dict[str, Tensor], key: str, path: Path) -> None:
    try:
        convolution.load_state_dict({name: weights[f"{key}.{name}"] for name in ("weight", "bias")})
    except (KeyError, RuntimeError) as error:
        raise UserError(
            f"{path} holds no {key} of VGG-16, {convolution.in_channels} to "
            f"{convolution.out_channels} channels: give the weights of torchvision's vgg16"
        ) from error


def _vgg_stages() -> list[nn.Sequential]:
    stages, channels = [], 3
    for index, widths in enumerate(VGG_WIDTHS):
        layers: list[nn.Module] = [] if index == 0 else [nn.MaxPool2d(2)]
        for width in widths:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        stages.append(nn.Sequential(*layers))
    return stages
