"""Where on a canvas each of several styles is met."""

import pytest
import torch

from vqi2i.editing.style_blending import blend, shares

WHERE = {"stride": 4, "size": (32, 64), "offset": (0, 0)}


@pytest.mark.parametrize(
    ("direction", "first", "last"),
    [
        ("horizontal", (3, 0), (5, 15)),
        ("vertical", (0, 3), (7, 9)),
    ],
)
def test_a_straight_way_begins_and_ends_at_the_borders(direction, first, last) -> None:
    share = shares(direction, (8, 16), **WHERE)
    assert float(share[first]) == 0
    assert float(share[last]) == 1
    assert (share.diff(dim=1 if direction == "horizontal" else 0) > 0).all()


def test_a_radial_way_leads_from_the_middle_to_the_corners() -> None:
    share = shares("radial", (8, 16), **WHERE)
    assert torch.allclose(share, share.flip(0).flip(1), atol=1e-6)
    assert float(share[3:5, 7:9].max()) < 0.1
    assert float(share[0, 0]) == share.max() == pytest.approx(1)


def test_the_picture_and_not_the_canvas_around_it_is_crossed() -> None:
    share = shares("horizontal", (8, 20), stride=4, size=(32, 64), offset=(0, 16))
    assert torch.equal(share[:, 4:], shares("horizontal", (8, 16), **WHERE))
    assert (share[:, :4] == 0).all()


def test_beyond_the_picture_the_last_style_goes_on() -> None:
    share = shares("horizontal", (8, 20), **WHERE)
    assert torch.equal(share[:, :16], shares("horizontal", (8, 16), **WHERE))
    assert (share[:, 16:] == 1).all()


def test_shares_grow_evenly_along_each_way() -> None:
    torch.testing.assert_close(shares("horizontal", (8, 16), **WHERE)[2], torch.arange(16) / 15)
    torch.testing.assert_close(shares("vertical", (8, 16), **WHERE)[:, 2], torch.arange(8) / 7)
    radial = shares("radial", (8, 16), **WHERE)
    middle = torch.tensor([(4 / 7 - 0.5) * 32, (8 / 15 - 0.5) * 64])
    assert float(radial[4, 8]) == pytest.approx(float(middle.norm() / (32**2 + 64**2) ** 0.5 * 2))
    assert shares("horizontal", (1, 1), stride=4, size=(3, 4), offset=(0, 0)).tolist() == [[0]]


def test_styles_are_met_at_equal_distances() -> None:
    styles = torch.tensor([[0.0, 5.0], [1.0, 3.0], [4.0, 3.0]])
    field = blend(styles, torch.tensor([[0.0, 0.25, 0.5, 1.0]]))
    assert field[:, 0].T.tolist() == [[0, 5], [0.5, 4], [1, 3], [4, 3]]


def test_one_style_is_no_transition() -> None:
    with pytest.raises(ValueError, match="at least two styles"):
        blend(torch.zeros(1, 8), torch.zeros(2, 2))
