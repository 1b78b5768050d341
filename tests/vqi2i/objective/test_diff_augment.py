import pytest
import torch
from torch import Tensor

from vqi2i.objective.diff_augment import NUM_DRAWS, Augmentation, augment

KINDS: tuple[Augmentation, ...] = ("color", "translation", "cutout")
ALMOST_ONE = 1 - 2.0**-24  # the largest that is drawn; 1 in bfloat16


def _images() -> Tensor:
    return torch.rand(3, 3, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1


def _draws(value: float) -> Tensor:
    return torch.full((3, NUM_DRAWS), value)


@pytest.mark.parametrize("value", [0.0, 0.3, ALMOST_ONE])
@pytest.mark.parametrize("kind", KINDS)
def test_images_in_bfloat16_are_augmented_as_those_in_float32(
    kind: Augmentation, value: float
) -> None:
    images = _images().bfloat16()
    augmented = augment(images, _draws(value), [kind])
    assert augmented.dtype == torch.bfloat16
    torch.testing.assert_close(augmented, augment(images.float(), _draws(value), [kind]).bfloat16())


def test_draws_in_the_middle_leave_colours_and_place_as_they_are() -> None:
    torch.testing.assert_close(augment(_images(), _draws(0.5), ["color", "translation"]), _images())


def test_a_translation_moves_by_an_eighth_at_most_and_fills_with_zeros() -> None:
    moved = augment(_images(), _draws(ALMOST_ONE), ["translation"])
    assert torch.equal(moved[:, :, :-2, :-3], _images()[:, :, 2:, 3:])
    assert not moved[:, :, -2:].any()
    assert not moved[:, :, :, -3:].any()


def test_a_cutout_hides_the_middle_half_of_each_side() -> None:
    kept = augment(torch.ones(3, 3, 16, 24), _draws(0.5), ["cutout"])
    assert not kept[:, :, 5:12, 7:18].any()
    assert kept[:, :, :4].all()
    assert kept[:, :, :, :6].all()


@pytest.mark.parametrize("kind", KINDS)
def test_each_image_has_draws_of_its_own_and_gradients_come_through(kind: Augmentation) -> None:
    images = _images()[:1].expand(3, -1, -1, -1).clone().requires_grad_()
    draws = torch.rand(3, NUM_DRAWS, generator=torch.Generator().manual_seed(1))
    augmented = augment(images, draws, [kind])
    assert not torch.equal(augmented[0], augmented[1])
    (gradient,) = torch.autograd.grad(augmented.square().sum(), images)
    assert gradient.flatten(1).any(1).all()
