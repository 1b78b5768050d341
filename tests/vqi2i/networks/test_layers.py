"""Building blocks: AdaIN is what it says, and blocks keep their shapes."""

import pytest
import torch
import torch.nn.functional as F

from vqi2i.networks import layers
from vqi2i.networks.layers import (
    AdaINResBlock,
    Attention,
    Downsample,
    GroupNorm,
    ResBlock,
    Upsample,
    adain,
)


def features() -> torch.Tensor:
    return torch.randn(2, 8, 6, 10, generator=torch.Generator().manual_seed(0))


def test_adain_is_instance_normalisation_scaled_and_shifted_by_style() -> None:
    x, style = features(), torch.randn(2, 16)
    bias, weight = style[:, :8, None, None], style[:, 8:, None, None]
    torch.testing.assert_close(adain(x, style), F.instance_norm(x) * weight + bias)


def test_a_canvas_of_one_style_is_that_style() -> None:
    x, style = features(), torch.randn(2, 16)
    canvas = style[:, :, None, None].expand(-1, -1, 3, 4)
    torch.testing.assert_close(adain(x, canvas), adain(x, style))


@pytest.mark.parametrize("grid", [(1, 1), (3, 4), (3, 10), (6, 10), (9, 5)])
@pytest.mark.parametrize("band", [1, 200, 2**20])
def test_a_varying_style_is_interpolated_whatever_the_bands(
    grid: tuple[int, int], band: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "_BAND", band)
    x, style = features().requires_grad_(), torch.randn(2, 16, *grid)
    whole = F.interpolate(style, size=x.shape[2:], mode="bilinear", align_corners=False)
    wanted = F.instance_norm(x) * whole[:, 8:] + whole[:, :8]
    torch.testing.assert_close(adain(x, style), wanted, atol=1e-5, rtol=1e-5)
    gradients = [torch.autograd.grad(y.square().sum(), x)[0] for y in (adain(x, style), wanted)]
    torch.testing.assert_close(*gradients, atol=1e-3, rtol=1e-4)


def test_memory_layout_changes_no_numbers() -> None:
    x = features()
    norm = GroupNorm(8)
    torch.testing.assert_close(norm(x.contiguous(memory_format=torch.channels_last)), norm(x))


def test_a_constant_image_stays_finite() -> None:
    assert torch.isfinite(adain(torch.ones(1, 4, 5, 5), torch.ones(1, 8))).all()


@pytest.mark.parametrize(
    ("block", "shape"),
    [
        (ResBlock(8, 12), (2, 12, 6, 10)),
        (Attention(8), (2, 8, 6, 10)),
        (Downsample(8), (2, 8, 3, 5)),
        (Upsample(8), (2, 8, 12, 20)),
    ],
)
def test_blocks_change_the_shape_as_they_say(
    block: torch.nn.Module, shape: tuple[int, ...]
) -> None:
    assert block(features()).shape == shape


@pytest.mark.parametrize("block", [AdaINResBlock(8), ResBlock(8, 12, adaptive=True)])
def test_style_changes_what_a_block_makes(block: AdaINResBlock | ResBlock) -> None:
    styles = [torch.randn(2, 2 * channels) for channels in block.adain_channels]
    shown = block(features(), styles)
    assert not torch.allclose(shown, block(features(), [2 * style for style in styles]))
