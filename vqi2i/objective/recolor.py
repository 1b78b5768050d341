"""Random colours for what the content encoder looks at, so that content cannot hold a palette.

The image is still rebuilt in its own colours, which the style alone then knows: a restyling with a
known answer.
"""

import torch
from torch import Tensor

NUM_DRAWS = 9  # uniform numbers per image


def recolor(images: Tensor, draws: Tensor, strength: float) -> Tensor:
    """Turn hues, change saturation, contrast and white balance of images (n, 3, h, w) in [-1, 1].

    Args:
        images: any images.
        draws: (n, NUM_DRAWS) uniform in [0, 1).
        strength: 0 leaves images as they are, 1 turns hues all the way around.
    """
    # (n, 9) in [-1, 1): one each for hue, saturation, contrast; three gains, three tints
    centred = 2 * draws.to(images) - 1
    hue, saturation, contrast = centred[:, :3, None, None].unbind(1)
    gains, tints = centred[:, 3:6], centred[:, 6:, None, None]
    # (n, 3, 3); read from the right: turn the hue, change saturation, then gains and contrast
    matrix = (1 + 0.5 * strength * contrast) * torch.diag_embed(1 + 0.25 * strength * gains)
    matrix = (
        matrix
        @ _saturate(1 - 0.25 * strength + 0.75 * strength * saturation)
        @ _turn(strength * hue * torch.pi)
    )
    turned = torch.einsum("nij,njhw->nihw", matrix, images) + 0.4 * strength * tints
    return turned.contiguous(memory_format=torch.channels_last)


def _saturate(factor: Tensor) -> Tensor:
    """Matrices (n, 3, 3) that scale the distance from gray by factors (n, 1, 1)."""
    identity = torch.eye(3, device=factor.device, dtype=factor.dtype)
    return factor * identity + (1 - factor) / 3


def _turn(angle: Tensor) -> Tensor:
    """Rotations (n, 3, 3) around the gray axis by angles (n, 1, 1): Rodrigues' formula."""
    identity = torch.eye(3, device=angle.device, dtype=angle.dtype)
    # cos I + (1 - cos) k k^T + sin [k]x about the axis k = (1, 1, 1) / sqrt(3)
    cross = (
        torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]], device=angle.device, dtype=angle.dtype)
        / 3**0.5
    )
    return angle.cos() * identity + (1 - angle.cos()) / 3 + angle.sin() * cross
