"""Other colours, the same things in the same places."""

import torch

from vqi2i.objective.recolor import NUM_DRAWS, recolor


def test_no_strength_changes_nothing() -> None:
    images = torch.rand(3, 3, 8, 8)
    torch.testing.assert_close(recolor(images, torch.rand(3, NUM_DRAWS), 0.0), images)


def test_a_third_of_a_turn_passes_the_channels_on() -> None:
    images = torch.rand(1, 3, 8, 8)
    draws = torch.full((1, NUM_DRAWS), 0.5)  # the middle: no change
    draws[:, 0] = 0.5 + 1 / 3  # of the way from minus half a turn to plus half a turn
    draws[:, 1] = 2 / 3  # 1 - 0.25 + 0.75 / 3: full saturation
    torch.testing.assert_close(recolor(images, draws, 1.0), images.roll(1, dims=1))


def test_each_image_has_its_own_colours_and_no_edge_moves() -> None:
    images = torch.zeros(2, 3, 8, 8)
    images[:, :, :, 4:] = torch.tensor([0.5, -0.2, 0.1])[:, None, None]
    draws = torch.rand(2, NUM_DRAWS)
    shown = recolor(images, draws, 1.0)
    assert not torch.allclose(shown[0], shown[1])
    torch.testing.assert_close(recolor(images[1:], draws[1:], 1.0), shown[1:])
    for half in (shown[..., :4], shown[..., 4:]):
        assert (half - half[..., :1, :1]).abs().max() < 1e-6
