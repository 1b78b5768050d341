"""Perceptual distances: zero for equal images, growing with damage, from files that are what they
claim.
"""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vqi2i.errors import UserError
from vqi2i.objective.perceptual import LPIPS, MultiScale

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


def test_three_scales_are_compared_and_the_colours_of_the_fourth() -> None:
    image, target = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    wanted, difference = torch.zeros(()), image - target
    for _ in range(3):
        steps = difference.diff(dim=2).abs().mean() + difference.diff(dim=3).abs().mean()
        wanted, difference = wanted + steps / 3, F.avg_pool2d(difference, 2)
    torch.testing.assert_close(
        MultiScale()(image, target), wanted + difference.abs().mean(), atol=1e-5, rtol=1e-4
    )


def as_published(files: tuple[Path, Path], image: torch.Tensor, target: torch.Tensor) -> float:
    """LPIPS over a VGG-16 that is written down layer by layer."""
    vgg, heads = (torch.load(file) for file in files)
    shift, scale = (
        torch.tensor(row).view(1, 3, 1, 1)
        for row in ([-0.03, -0.088, -0.188], [0.458, 0.448, 0.45])
    )
    x, y, distance = (image - shift) / scale, (target - shift) / scale, 0.0
    for stage, places in enumerate(((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))):
        if stage:
            x, y = (nn.MaxPool2d(2)(features) for features in (x, y))
        for place in places:
            weight, bias = (vgg[f"features.{place}.{name}"] for name in ("weight", "bias"))
            x, y = (F.conv2d(features, weight, bias, padding=1).relu() for features in (x, y))
        nx, ny = (
            features / features.norm(dim=1, keepdim=True).clamp_min(1e-10) for features in (x, y)
        )
        weighted = ((nx - ny) ** 2 * heads[f"lin{stage}.model.1.weight"]).sum(1)
        distance += float(weighted.mean())
    return distance


def test_lpips_is_the_published_distance(files: tuple[Path, Path]) -> None:
    image, target = (torch.rand(2, 3, 32, 32) * 2 - 1 for _ in range(2))
    found = float(LPIPS(*files)(image, target))
    assert found == pytest.approx(as_published(files, image, target), rel=1e-4)


def test_lpips_is_frozen_and_passes_gradients_to_images(files: tuple[Path, Path]) -> None:
    distance = LPIPS(*files)
    image = torch.rand(1, 3, 32, 32, requires_grad=True)
    distance(image, torch.rand(1, 3, 32, 32)).backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in distance.parameters())


def test_a_file_that_is_no_vgg_is_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"heads.pth holds 0 convolutions, not the 13 of VGG-16"):
        LPIPS(files[1], files[1])
    with pytest.raises(UserError, match=r"vgg.pth holds no lin0.model.1.weight of 64 numbers"):
        LPIPS(files[0], files[0])
    weights = torch.load(files[0])
    torch.save(weights | {"features.5.weight": torch.zeros(128, 64, 5, 5)}, tmp_path / "wide.pth")
    with pytest.raises(UserError, match=r"wide.pth holds no features.5 of VGG-16"):
        LPIPS(tmp_path / "wide.pth", files[1])
    del weights["features.28.bias"]
    torch.save(weights, tmp_path / "bare.pth")
    with pytest.raises(UserError, match=r"bare.pth holds no features.28 of VGG-16"):
        LPIPS(tmp_path / "bare.pth", files[1])
    heads = torch.load(files[1])
    torch.save(heads | {"lin4.model.1.weight": torch.zeros(1, 64, 1, 1)}, tmp_path / "heads.pth")
    with pytest.raises(UserError, match=r"no lin4.model.1.weight of 512 numbers: it is not LPIPS"):
        LPIPS(files[0], tmp_path / "heads.pth")


def test_a_file_that_holds_no_weights_is_told_by_its_name(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(
        UserError, match=r"absent.pth cannot be read as a file of weights \(.*absent"
    ):
        LPIPS(tmp_path / "absent.pth", files[1])
    for name, content in (("list", [torch.zeros(1)]), ("numbers", {"a": torch.zeros(1), "b": 1})):
        torch.save(content, tmp_path / name)
        with pytest.raises(UserError, match=rf"{tmp_path / name} holds no weights by name"):
            LPIPS(tmp_path / name, files[1])
