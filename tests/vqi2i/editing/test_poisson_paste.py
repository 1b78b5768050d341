"""Given pixels are put back so that nobody sees where."""

import torch

from vqi2i.editing.poisson_paste import _membrane, inside, paste


def scene() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A flat picture, the model's darker version of it, and a mask that keeps the left half."""
    given = torch.full((1, 3, 32, 64), 0.5)
    kept = torch.zeros(32, 64, dtype=torch.bool)
    kept[:, :32] = True
    return given, given - 0.3, kept


def test_without_a_feather_every_kept_pixel_is_the_given_one() -> None:
    given, made, kept = scene()
    given = given + torch.rand(given.shape, generator=torch.Generator().manual_seed(0)) * 0.2
    assert torch.equal(paste(made, given, kept)[..., kept], given[..., kept])


def test_what_the_model_gets_wrong_at_the_border_is_carried_on_and_fades() -> None:
    given, made, kept = scene()
    row = paste(made, given, kept, reach=16)[0, 0, 16]
    assert abs(float(row[32] - row[31])) < 0.06  # a fifth of the step that bare pasting would leave
    assert (row[32:].diff() <= 1e-6).all()
    assert abs(float(row[-1] - made[0, 0, 0, 0])) < 0.02


def test_a_feather_leaves_what_lies_deeper_and_mixes_the_rest() -> None:
    given, made, kept = scene()
    mixed = paste(made, given, kept, feather=5)
    assert torch.equal(mixed[..., :27], given[..., :27])
    row = mixed[0, 0, 16]
    # the darker tone comes in slowly, inside and outside of the border
    assert row.diff().abs().max() < 0.06
    detail = 0.1 * torch.rand(made.shape, generator=torch.Generator().manual_seed(1))
    softer = paste(made + detail, given, kept, feather=5)[..., 27:32].std(dim=2).mean(dim=(0, 1))
    assert (softer.diff() > 0).all()  # the model's detail fades in towards the border


def test_nothing_outside_the_kept_part_is_looked_at() -> None:
    given, made, kept = scene()
    spoilt = torch.where(kept, given, 1e6)
    assert torch.equal(paste(made, given, kept, feather=3), paste(made, spoilt, kept, feather=3))


def test_depth_counts_from_the_border_of_the_kept_part() -> None:
    kept = torch.zeros(9, 9, dtype=torch.bool)
    kept[:, :5] = True
    assert inside(kept, 3)[4].tolist() == [3, 3, 3, 2, 1, 0, 0, 0, 0]


def test_what_is_the_same_wherever_it_is_known_is_the_same_everywhere() -> None:
    generator = torch.Generator().manual_seed(0)
    known = (torch.rand(1, 1, 33, 50, generator=generator) < 0.05).float()
    values = torch.where(known > 0, torch.tensor([0.3, -0.2]).view(1, 2, 1, 1), 7.0)
    smooth = _membrane(values, known)
    torch.testing.assert_close(
        smooth, torch.tensor([0.3, -0.2]).view(1, 2, 1, 1).expand(1, 2, 33, 50)
    )
    assert torch.equal(_membrane(values, torch.ones_like(known)), values)
