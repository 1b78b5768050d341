"""Perceptual distances: zero for equal images, growing with damage, from files that are what they
claim.
"""

from pathlib import Path

import pytest
import torch

from vqi2i.errors import UserError
from vqi2i.objective.perceptual import LPIPS, MultiScale
from vqi2i.priors.style_prior import StylePrior

PLACES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
WIDTHS = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
CONVOLUTIONS = {place: (WIDTHS[i], WIDTHS[i + 1]) for i, place in enumerate(PLACES)}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Weight files of the right layout with random numbers."""
    folder = tmp_path_factory.mktemp("weights")
    generator = torch.Generator().manual_seed(0)
    vgg = {}
    for index, (before, after) in CONVOLUTIONS.items():
        vgg[f"features.{index}.weight"] = (
            torch.randn(after, before, 3, 3, generator=generator) * (9 * before) ** -0.5
        )
        vgg[f"features.{index}.bias"] = torch.zeros(after)
    vgg["classifier.0.weight"] = torch.zeros(2, 2)
    heads = {
        f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1)
        for i, c in enumerate((64, 128, 256, 512, 512))
    }
    torch.save(vgg, folder / "vgg.pth")
    torch.save(heads, folder / "heads.pth")
    return folder / "vgg.pth", folder / "heads.pth"


def test_distances_grow_with_damage(files: tuple[Path, Path]) -> None:
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    noise = torch.randn(1, 3, 32, 32)
    for distance in (MultiScale(), LPIPS(*files)):
        assert distance(image, image) == 0
        assert 0 < distance(image + 0.05 * noise, image) < distance(image + 0.3 * noise, image)


def test_lpips_is_frozen_and_passes_gradients_to_images(files: tuple[Path, Path]) -> None:
    distance = LPIPS(*files)
    image = torch.rand(1, 3, 32, 32, requires_grad=True)
    distance(image, torch.rand(1, 3, 32, 32)).backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in distance.parameters())


def test_a_file_that_is_no_vgg_is_refused(files: tuple[Path, Path]) -> None:
    with pytest.raises(UserError, match="13 of VGG-16"):
        LPIPS(files[1], files[1])


def test_sampled_styles_stay_with_the_modes_they_were_fitted_on() -> None:
    modes = torch.tensor([[-5.0, 0.0], [5.0, 0.0]]).repeat_interleave(100, 0) + 0.1 * torch.randn(
        200, 2
    )
    prior = StylePrior({"summer": modes})
    drawn = prior.sample("summer", [torch.Generator().manual_seed(seed) for seed in range(300)])
    distance = torch.cdist(drawn, torch.tensor([[-5.0, 0.0], [5.0, 0.0]])).min(1).values
    assert (distance < 3).double().mean() > 0.95
    assert 0.3 < (drawn[:, 0] > 0).double().mean() < 0.7


def test_a_style_prior_needs_styles() -> None:
    with pytest.raises(ValueError, match="the style prior of summer"):
        StylePrior({"summer": torch.zeros(0, 8)})
