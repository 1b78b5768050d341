"""What is read around given pixels: a picture that seems to go on, and nothing of what is empty."""

from typing import Any

import pytest
import torch
from torch import Tensor

from vqi2i.editing.context import MARGIN, bounding_box, continued, read_known, scaled

STRIDE, LEAST = 4, 4


def test_lost_pixels_are_the_mean_of_kept_neighbours_ring_by_ring_and_then_of_all() -> None:
    row = torch.tensor([[9.0, 9.0, 9.0, 1.0, 3.0, 9.0, 9.0, 9.0]])
    images, kept = torch.stack([row, -row])[:, None].view(2, 1, 1, 8), torch.zeros(1, 8).bool()
    kept[0, 3:5] = True
    found = continued(images, kept, rings=2)
    assert found[0].flatten().tolist() == [2, 1, 1, 1, 3, 3, 3, 2]
    assert found[1].flatten().tolist() == [-2, -1, -1, -1, -3, -3, -3, -2]
    assert continued(images, kept, rings=0)[0].flatten().tolist() == [2, 2, 2, 1, 3, 2, 2, 2]
    assert torch.equal(continued(images, torch.ones(1, 8).bool(), rings=2), images)
    assert continued(images, kept, rings=9)[0].flatten().tolist() == [1, 1, 1, 1, 3, 3, 3, 3]


def test_neighbours_are_those_of_all_eight_directions() -> None:
    images, kept = torch.full((1, 1, 5, 5), 7.0), torch.zeros(5, 5, dtype=torch.bool)
    images[0, 0, 1, 1], images[0, 0, 1, 3], images[0, 0, 2, 4] = 1.0, 3.0, 5.0
    kept[1, 1] = kept[1, 3] = kept[2, 4] = True
    found = continued(images, kept, rings=1)[0, 0]
    assert found[0].tolist() == [1, 1, 2, 3, 3]
    assert found[1].tolist() == [1, 1, 2, 3, 4]
    assert found[2].tolist() == [1, 1, 2, 4, 5]
    assert found[3].tolist() == [3, 3, 3, 5, 5]  # on the left the mean of all
    assert found[4].tolist() == [3, 3, 3, 3, 3]


def seen(kept: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A picture (2, 3, h, w), what the encoder is shown of it, and the tokens that come of it."""
    pixels = torch.rand(2, 3, *kept.shape, generator=torch.Generator().manual_seed(0))
    shown: list[Tensor] = []

    def encode(images: Tensor) -> Tensor:
        shown.append(images)
        rows, columns = (side // STRIDE for side in images.shape[2:])
        return torch.arange(1, rows * columns + 1).view(1, rows, columns).expand(2, -1, -1)

    tokens = read_known(encode, pixels, kept, known, LEAST)
    return pixels, shown[0], tokens


CASES: dict[str, Any] = {
    "in the middle": ((9, 14), (3, 5), (4, 9), (1, 7), (2, 11)),
    "in the corner": ((9, 14), (0, 3), (0, 4), (0, 5), (0, 6)),
    "in the other": ((9, 14), (7, 9), (11, 14), (5, 9), (9, 14)),
    "everywhere": ((9, 14), (0, 9), (0, 14), (0, 9), (0, 14)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_encoder_sees_the_given_part_and_a_margin(name: str) -> None:
    grid, rows, columns, wide, high = CASES[name]
    known = torch.zeros(grid, dtype=torch.bool)
    known[slice(*rows), slice(*columns)] = True
    kept = known.repeat_interleave(STRIDE, 0).repeat_interleave(STRIDE, 1)
    pixels, image, tokens = seen(kept, known)
    part = scaled((slice(*wide), slice(*high)), STRIDE)
    cut, held = pixels[(..., *part)], kept[part]
    assert torch.equal(image, continued(cut, held, rings=2 * MARGIN * STRIDE))
    height, width = wide[1] - wide[0], high[1] - high[0]
    inside = tokens[:, slice(*wide), slice(*high)]
    assert torch.equal(inside[1].flatten(), torch.arange(1, height * width + 1))
    assert (tokens > 0).sum() == 2 * height * width
    assert tokens.dtype == torch.long


def test_a_few_cells_are_shown_among_enough_for_the_encoder() -> None:
    assert MARGIN == 2
    known = torch.zeros(3, LEAST + 6, dtype=torch.bool)
    known[1, -1] = True
    kept = known.repeat_interleave(STRIDE, 0).repeat_interleave(STRIDE, 1)
    _, image, _ = seen(kept, known)
    assert image.shape[3] == max(LEAST, 1 + MARGIN) * STRIDE


def test_only_as_many_rings_go_on_as_the_margin_needs() -> None:
    known = torch.ones(1, 30, dtype=torch.bool)
    kept = torch.zeros(STRIDE, 30 * STRIDE, dtype=torch.bool)
    kept[:, 0] = True
    pixels, image, _ = seen(kept, known)
    far = 2 * MARGIN * STRIDE
    mean = pixels[..., :1].mean(2, keepdim=True)
    torch.testing.assert_close(image[..., far + 1 :], mean.expand(-1, -1, 4, 119 - far))
    assert not torch.isclose(image[..., far], mean[..., 0].expand(-1, -1, 4)).all()


def test_a_box_holds_all_cells_and_no_more() -> None:
    mask = torch.zeros(5, 7, dtype=torch.bool)
    mask[1, 4] = mask[3, 2] = mask[2, 5] = True
    assert bounding_box(mask) == (slice(1, 4), slice(2, 6))
    assert scaled((slice(1, 4), slice(2, 6)), 3) == (slice(3, 12), slice(6, 18))
