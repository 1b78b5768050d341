"""Rotary positions: attention sees distances along both axes, and nothing is lost by turning."""

import math

import torch
from torch import Tensor

from vqi2i.priors.transformer import rotate, rotation

CHANNELS = 8


def turned(x: Tensor, row: int, column: int) -> Tensor:
    """A vector (8,) at a place of the grid."""
    return rotate(x, rotation(torch.tensor([row]), torch.tensor([column]), CHANNELS))


def test_a_channel_and_its_partner_turn_by_row_or_column_at_their_own_pace() -> None:
    x = torch.rand(1, CHANNELS)
    found = turned(x, 3, 5)[0]
    for channel, angle in enumerate((3, 3 / 10, 5, 5 / 10)):  # radians per cell: 1 and 1/10
        first, second = (float(x[0, place]) for place in (channel, channel + 4))
        cos, sin = math.cos(angle), math.sin(angle)
        torch.testing.assert_close(float(found[channel]), first * cos - second * sin)
        torch.testing.assert_close(float(found[channel + 4]), second * cos + first * sin)


def test_products_depend_on_distances_alone_and_lengths_on_nothing() -> None:
    query, key = torch.rand(1, CHANNELS), torch.rand(1, CHANNELS)
    near, far = ((turned(query, 2 + more, 7) * turned(key, 5 + more, 3)).sum() for more in (0, 40))
    torch.testing.assert_close(near, far, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(turned(query, 9, 4).norm(), query.norm())
    assert torch.equal(turned(query, 0, 0), query)
