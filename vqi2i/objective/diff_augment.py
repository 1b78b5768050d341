"""Differentiable augmentation (Zhao et al., 2020) of all that discriminators see.

Real and generated images go through one policy.

Everything is a function of uniform draws that the caller makes, so that a step can be repeated and
shared by workers.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Augmentation = Literal["color", "translation", "cutout"]
NUM_DRAWS = 7  # uniform numbers per image


def augment(images: Tensor, draws: Tensor, policy: Sequence[Augmentation]) -> Tensor:
    """Augment images (n, 3, h, w) in [-1, 1] by uniform draws (n, NUM_DRAWS), float32 in [0, 1)."""
    # In float32 whatever the images are in: bfloat16 would round some up to 1.
    draws = draws.to(images.device)
    for name in policy:
        images = _POLICIES[name](images, draws).to(images.dtype)
    return images


def _color(images: Tensor, draws: Tensor) -> Tensor:
    """Brightness by up to 0.5, saturation by 0 to 2, contrast by 0.5 to 1.5."""
    # (n, 1, 1, 1) each
    brightness, saturation, contrast = draws[:, :3, None, None, None].unbind(1)
    images = images + (brightness - 0.5)
    gray = images.mean(1, keepdim=True)
    images = gray + 2 * saturation * (images - gray)
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (0.5 + contrast) * (images - mean)


def _translation(images: Tensor, draws: Tensor) -> Tensor:
    """Move by up to an eighth of each side; what comes in from outside is zero."""
    height, width = images.shape[2:]
    reach = (height // 8, width // 8)
    # (n,) whole numbers from 0 to 2 * reach: where the crop begins in the padded image
    down, right = ((draws[:, 3 + axis] * (2 * r + 1)).long() for axis, r in enumerate(reach))
    rows = torch.arange(height, device=images.device) + down[:, None]
    columns = torch.arange(width, device=images.device) + right[:, None]
    padded = F.pad(images, (reach[1], reach[1], reach[0], reach[0]))
    # Advanced indices around a slice: their axes (n, h, w) come first, the channels last.
    which = torch.arange(len(images), device=images.device)
    return padded[which[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(
        0, 3, 1, 2
    )


def _cutout(images: Tensor, draws: Tensor) -> Tensor:
    """Cut a rectangle of half of each side around a random centre: zero, which is mid-grey."""
    height, width = images.shape[2:]
    # Distances to the centre, in sides: (n, h) and (n, w).
    y = torch.arange(height, device=images.device) / height - draws[:, 5, None]
    x = torch.arange(width, device=images.device) / width - draws[:, 6, None]
    hidden = (y.abs() < 0.25)[:, None, :, None] & (x.abs() < 0.25)[:, None, None, :]
    return images * ~hidden


_POLICIES: dict[Augmentation, Callable[[Tensor, Tensor], Tensor]] = {
    "color": _color,
    "translation": _translation,
    "cutout": _cutout,
}
