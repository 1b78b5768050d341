"""Other colours, the same things in the same places."""

import pytest
import torch

from tests.pretend_gpu import PretendGPU
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


def recolored(place: int, draw: float, strength: float = 1.0) -> torch.Tensor:
    """What one draw makes of a pixel (0.4, 0.1, -0.2), whose gray is 0.1; the others stand at
    values that change nothing: the middle, and full saturation.
    """
    draws = torch.full((1, NUM_DRAWS), 0.5)
    draws[:, 1] = 2 / 3
    draws[:, place] = draw
    pixel = torch.tensor([0.4, 0.1, -0.2]).view(1, 3, 1, 1)
    return recolor(pixel, draws, strength).flatten()


@pytest.mark.parametrize(
    ("place", "draw", "expected"),
    [
        (1, 0.0, (0.1, 0.1, 0.1)),  # no saturation: gray
        (1, 1.0, (0.55, 0.1, -0.35)),  # one and a half times as far from gray
        (2, 0.0, (0.2, 0.05, -0.1)),  # half of the contrast
        (2, 1.0, (0.6, 0.15, -0.3)),
        (3, 1.0, (0.5, 0.1, -0.2)),  # a quarter more of red
        (4, 0.0, (0.4, 0.075, -0.2)),  # a quarter less of green
        (5, 1.0, (0.4, 0.1, -0.25)),
        (6, 1.0, (0.8, 0.1, -0.2)),  # more light in red
        (7, 0.0, (0.4, -0.3, -0.2)),  # less in green
        (8, 1.0, (0.4, 0.1, 0.2)),
    ],
)
def test_each_draw_changes_one_thing(
    place: int, draw: float, expected: tuple[float, float, float]
) -> None:
    torch.testing.assert_close(recolored(place, draw), torch.tensor(expected))


def test_half_the_strength_changes_half_as_much() -> None:
    half = recolored(6, 1.0, strength=0.5) - recolored(6, 0.5, strength=0.5)
    torch.testing.assert_close(half, torch.tensor([0.2, 0.0, 0.0]))


def test_images_keep_their_precision_and_lie_as_convolutions_like_them() -> None:
    shown = recolor(torch.rand(2, 3, 8, 8).bfloat16(), torch.rand(2, NUM_DRAWS), 0.7)
    assert shown.dtype == torch.bfloat16
    assert shown.is_contiguous(memory_format=torch.channels_last)


def test_each_image_has_its_own_colours_and_no_edge_moves() -> None:
    images = torch.zeros(2, 3, 8, 8)
    images[:, :, :, 4:] = torch.tensor([0.5, -0.2, 0.1])[:, None, None]
    draws = torch.rand(2, NUM_DRAWS)
    shown = recolor(images, draws, 1.0)
    assert not torch.allclose(shown[0], shown[1])
    torch.testing.assert_close(recolor(images[1:], draws[1:], 1.0), shown[1:])
    for half in (shown[..., :4], shown[..., 4:]):
        assert (half - half[..., :1, :1]).abs().max() < 1e-6


def test_a_gpu_makes_the_same_colours(gpu: PretendGPU) -> None:
    images, draws = torch.rand(2, 3, 8, 8), torch.rand(2, NUM_DRAWS)
    shown = recolor(images.to("cuda"), draws, 1.0)  # the draws come from the host
    torch.testing.assert_close(shown.cpu(), recolor(images, draws, 1.0))
