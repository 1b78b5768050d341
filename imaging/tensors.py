"""uint8 pixels (height, width, 3) to float tensors (b, 3, h, w) in [-1, 1] and back."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from imaging.codec import Pixels


def to_tensor(images: Sequence[Pixels] | np.ndarray) -> Tensor:
    """Stack equally large uint8 images into a float tensor (b, 3, h, w) in [-1, 1]."""
    stacked = torch.from_numpy(np.stack(list(images)))
    return stacked.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def to_pixels(images: Tensor) -> list[Pixels]:
    """Round a float tensor (b, 3, h, w) in [-1, 1] to a list of uint8 images; values outside are
    clipped.
    """
    rounded = images.detach().float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    return list(rounded.permute(0, 2, 3, 1).contiguous().cpu().numpy())
