"""Putting given pixels back into a picture that a model has made around them, without a border to be seen."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def paste(made: Tensor, given: Tensor, kept: Tensor, *, feather: int = 0, reach: int = 32) -> Tensor:
    """Pictures (b, 3, h, w) that are `given` where it is kept, and follow it softly where they are made.

    Without a feather, what the model has rebuilt wrongly at the border is carried on into the new part and fades there,
    as a membrane would (Pérez et al., Poisson Image Editing, 2003), solved from coarse to fine.

    Args:
        made: the model's pictures.
        given: pixels of the same size; those outside `kept` are ignored.
        kept: bool (h, w).
        feather: pixels inside the kept part over which it goes over into what was made; 0 keeps every given pixel.
        reach: pixels over which that fades in the new part.
    """
    weight = (inside(kept, feather + 1).float() / (feather + 1)).to(made)
    error = torch.where(kept, given - made, 0)
    corrected = made + weight * error
    if not feather:
        away = (inside(~kept, reach).to(made) - 1).clamp_min(0) / reach
        spread = _membrane(error, kept.to(made).expand_as(made[:, :1]))
        corrected = torch.where(kept, corrected, made + spread * (1 + torch.cos(math.pi * away)) / 2)
    return torch.where(weight == 1, given, corrected.clamp(-1, 1))


def inside(kept: Tensor, most: int) -> Tensor:
    """How deep each pixel (h, w) lies in the kept part: 0 outside, 1 at its border, at most `most`."""
    lost = (~kept).float()[None, None]
    depth = kept.long()
    for _ in range(most - 1):
        lost = F.max_pool2d(lost, 3, stride=1, padding=1)
        depth += lost[0, 0] == 0
    return depth


def _membrane(values: Tensor, known: Tensor) -> Tensor:
    """Known values (b, c, h, w) carried on smoothly into what is not known.

    Pull and push: averages of the known, again and again half the size, until nothing is unknown, fill the gaps on the
    way back (Gortler et al., The Lumigraph, 1996).
    """
    if bool((known == 1).all()) or max(values.shape[2:]) == 1:
        return values
    held = F.avg_pool2d(known, 2, ceil_mode=True, count_include_pad=False)
    coarse = F.avg_pool2d(values * known, 2, ceil_mode=True, count_include_pad=False) / held.clamp_min(1e-6)
    below = _membrane(coarse, (4 * held).clamp(max=1))
    up = F.interpolate(below, scale_factor=2, mode="bilinear", align_corners=False)
    return torch.lerp(up[..., : values.shape[2], : values.shape[3]], values, known)
