"""ST-LPIPS (Ghildyal and Liu, 2022): how different two images look, with a tolerance for shifts.

The network is AlexNet trained anew, with a small blur wherever it leaves out pixels. Backbone and
heads come out of a wheel whose code is not looked at; the forward pass is ours.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from errors import UserError
from evaluation.networks.weights import WeightFile, read_weights

WEIGHTS = WeightFile(
    "ST-LPIPS",
    "stlpips-pytorch",
    "stlpips_pytorch/weights/vST0.0/alex_shift_tolerant.pth",
    "b356b382f96010f77d085ee8343ecd9fd322d0a56e8de2b2d0549fafcad8b9ee",
)
SMALLEST = 21  # pixels; below, a map is narrower than the border that is mirrored around it
BATCH_SIZE = 32


class STLPIPS(nn.Module):
    """The distance of the Alex variant; frozen, gradients reach the images alone.

    Raises:
        MissingWeightsError: the extra `vqi2i[metrics]` is not installed.
    """

    name = "ST-LPIPS"

    def __init__(self):
        super().__init__()
        tensors = read_weights(WEIGHTS)
        self.shift = nn.Buffer(tensors["scaling_layer.shift"])
        self.scale = nn.Buffer(tensors["scaling_layer.scale"])
        self.convolutions = nn.ModuleList(
            _convolution(tensors, name, padding)
            for name, padding in (
                ("net.slice1.0", 2),
                ("net.slice2.5", 2),
                ("net.slice3.9", 1),
                ("net.slice4.11", 1),
                ("net.slice5.13", 1),
            )
        )
        filters = ("net.slice1.1.filt", "net.slice2.4.filt", "net.slice3.8.filt")
        self.blurs = nn.ModuleList(_Blur(tensors[name]) for name in filters)
        self.heads = nn.ParameterList(tensors[f"lin{level}.model.1.weight"] for level in range(5))
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def distance(self, images: Tensor, others: Tensor) -> Tensor:
        """Distance of each image to its other one.

        Images are compared at their own size: the definition has no resizing, so distances at
        different sizes do not compare.

        Args:
            images: (n, 3, h, w) in [-1, 1], h and w at least 21; done in batches of 32.
            others: the same shape.

        Returns:
            (n,) on the CPU, no unit, at least 0; 0 for equal images, .47 on average for unrelated
            photographs of 64 px.

        Raises:
            UserError: the images are too small.
        """
        batches = zip(images.split(BATCH_SIZE), others.split(BATCH_SIZE), strict=True)
        return torch.cat([self(a.to(self.shift), b.to(self.shift)).cpu() for a, b in batches])

    def forward(self, images: Tensor, others: Tensor) -> Tensor:
        """The same for one batch (b, 3, h, w), with gradients: (b,)."""
        if min(images.shape[2:]) < SMALLEST:
            raise UserError(
                f"ST-LPIPS needs images of at least {SMALLEST} px, got "
                f"{images.shape[3]}x{images.shape[2]}: enlarge them or leave it out"
            )
        levels = zip(self._levels(images), self._levels(others), strict=True)
        total = images.new_zeros(len(images))
        for (a, b), head in zip(levels, self.heads, strict=True):
            difference = (_unit(a) - _unit(b)).square()
            total = total + F.conv2d(difference, head).mean((1, 2, 3))
        return total

    def _levels(self, images: Tensor) -> list[Tensor]:
        """Maps of the five convolutions; a blur before each of the second and third."""
        first, *others = self.convolutions
        x = F.relu(self.blurs[0](first((images - self.shift) / self.scale)))
        maps = [x]
        for number, convolution in enumerate(others, start=1):
            if number < len(self.blurs):
                x = self.blurs[number](F.max_pool2d(x, 3, 1))
            x = F.relu(convolution(x))
            maps.append(x)
        return maps


class _Blur(nn.Module):
    """Every second pixel, after a filter of 3 x 3 on each channel and a mirrored border of two."""

    def __init__(self, filters: Tensor):
        super().__init__()
        self.filters = nn.Buffer(filters)

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, (2, 2, 2, 2), mode="reflect")
        return F.conv2d(padded, self.filters, stride=2, groups=len(self.filters))


def _convolution(tensors: dict[str, Tensor], name: str, padding: int) -> nn.Conv2d:
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    outputs, inputs, kernel, _ = weight.shape
    # On no device: drawing weights that are replaced at once would move the global random state.
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=padding, device="meta")
    convolution.load_state_dict({"weight": weight, "bias": bias}, assign=True)
    return convolution


def _unit(maps: Tensor) -> Tensor:
    """Channel vectors of length 1; the gradient of the root is finite where all are 0."""
    return maps * (maps.square().sum(1, keepdim=True) + 1e-20).rsqrt()
