"""Putting given pixels back into a picture made around them, without a visible border."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from vqi2i.networks.stopping import may_stop

SWEEPS = 16  # of relaxation at each scale
# share of fine detail that goes on from pixel to pixel, and as far as it goes (.7^12 = 1.4 %)
DETAIL, RINGS = 0.7, 12


def paste(
    made: Tensor, given: Tensor, kept: Tensor, *, feather: int = 0, reach: int = 32
) -> Tensor:
    """Pictures (b, 3, h, w) that are `given` where it is kept, and follow it softly elsewhere.

    What the model has rebuilt wrongly at the border is carried on into the new part and fades
    there, as a membrane would (Pérez et al., Poisson Image Editing, 2003). A membrane loses fine
    detail from one pixel to the next; without a feather that is let go slowly, so that across the
    border pixels differ as much as the model's own.

    Args:
        made: the model's pictures.
        given: pixels of the same size; those outside `kept` are ignored.
        kept: bool (h, w).
        feather: pixels inside the kept part over which it goes over into what was made; 0 keeps
            every given pixel.
        reach: pixels over which that fades in the new part.
    """
    # (h, w): 0 outside of what is kept, 1 deeper than the feather, rising in between
    weight = (inside(kept, feather + 1).float() / (feather + 1)).to(made)
    fixed = weight == 1
    if not fixed.any():  # the feather is wider than what is kept
        fixed = kept
    # The membrane carries the correction, not the picture: its gradients stay the model's own.
    error = torch.where(fixed, given - made, 0)
    spread = _membrane(error, fixed.to(made).expand_as(made[:, :1]))
    if not feather:
        spread = spread + _detail(error, kept, spread)
    # 0 at the border to (reach - 1) / reach, where (1 + cos(pi x)) / 2 has nearly come to 0
    away = (inside(~kept, reach).to(made) - 1).clamp_min(0) / reach
    moved = made + spread * (1 + torch.cos(math.pi * away)) / 2
    # What is not kept of `given` may be anything, nan too: masked before it is mixed.
    mixed = torch.where(kept, torch.lerp(moved, torch.where(kept, given, 0), weight), moved)
    return torch.where(weight == 1, given, mixed.clamp(-1, 1))


def inside(kept: Tensor, most: int) -> Tensor:
    """How deep each pixel (h, w) lies in the kept part: 0 outside, 1 at its border, .. `most`."""
    # (1, 1, h, w), where the lost part grows by one pixel in each round
    lost = (~kept).float()[None, None]
    depth = kept.long()
    for _ in range(most - 1):
        may_stop()
        lost = F.max_pool2d(lost, 3, stride=1, padding=1)
        depth += lost[0, 0] == 0
    return depth


def _detail(error: Tensor, kept: Tensor, spread: Tensor) -> Tensor:
    """What errors (b, c, h, w) beside the border have and smooth `spread` lacks, fading by ring."""
    detail, passed = torch.zeros_like(error), kept[None, None].to(error)
    values, front = error * passed, passed
    for ring in range(RINGS):
        count, total = _beside(front), _beside(values)
        # (1, 1, h, w): the pixels that touch the last ring and were in none
        front = ((count > 0) & (passed == 0)).to(error)
        if not ring:
            values = (total / count.clamp_min(1) - spread) * front
        else:
            values = DETAIL * total / count.clamp_min(1) * front
        detail, passed = detail + values, passed + front
    return detail


def _beside(values: Tensor) -> Tensor:
    """Sum of the four neighbours of each pixel (b, c, h, w); beyond the edges lies nothing."""
    padded = F.pad(values, (1, 1, 1, 1))
    return (
        padded[..., 1:-1, :-2]
        + padded[..., 1:-1, 2:]
        + padded[..., :-2, 1:-1]
        + padded[..., 2:, 1:-1]
    )


def _membrane(values: Tensor, known: Tensor) -> Tensor:
    """Known values (b, c, h, w) carried on smoothly into what is not known.

    Pull and push gives a first guess: averages of the known, again and again half the size, until
    nothing is unknown, fill the gaps on the way back (Gortler et al., The Lumigraph, 1996).
    Relaxation at every size fits it to the known.
    """
    if bool((known == 1).all()) or max(values.shape[2:]) == 1:
        return values
    # Share of each 2x2 block that is known, and the mean of its known values.
    held = F.avg_pool2d(known, 2, ceil_mode=True, count_include_pad=False)
    coarse = F.avg_pool2d(
        values * known, 2, ceil_mode=True, count_include_pad=False
    ) / held.clamp_min(1e-6)
    # One known pixel of four makes a block wholly known: 4 * held, cut at 1.
    below = _membrane(coarse, (4 * held).clamp(max=1))
    up = F.interpolate(below, scale_factor=2, mode="bilinear", align_corners=False)
    surface = torch.lerp(up[..., : values.shape[2], : values.shape[3]], values, known)
    # Laplace's equation by Jacobi's sweeps: each pixel the mean of its neighbours, the known held.
    for _ in range(SWEEPS):
        mean = _beside(surface) / _beside(torch.ones_like(surface[:1, :1]))
        surface = torch.lerp(mean, values, known)
    return surface
