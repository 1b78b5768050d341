"""Tiles that cannot be told from the whole."""

from typing import Any

import pytest
import torch

from tests.conftest import TINY
from tests.vqi2i.networks.test_autoencoder import network
from vqi2i.networks.decoder import Decoder
from vqi2i.networks.tiling import cut, decode_in_tiles

KINDS: list[dict[str, Any]] = [
    {},
    {"adain": "bottleneck", "patch": 1, "base_channels": 32},
    {
        "adain": "bottleneck",
        "patch": 1,
        "attention_resolutions": (16,),
        "channel_multipliers": (1, 1, 2),
    },
]


def decoder_of(changes: dict[str, Any]) -> tuple[Decoder, int]:
    torch.manual_seed(0)
    config = network(**changes)
    return Decoder(config).eval(), config.stride


@pytest.mark.parametrize("changes", KINDS, ids=str)
@pytest.mark.parametrize("varying", [False, True])
def test_tiles_join_without_a_seam(changes: dict[str, Any], varying: bool) -> None:
    decoder, stride = decoder_of(changes)
    content = torch.randn(2, TINY.z_channels, 40, 56)
    content[..., 28:] *= 3  # statistics differ from tile to tile
    shape = (2, 2 * sum(decoder.adain_channels), *((40, 56) if varying else ()))
    parameters = 1 + 0.3 * torch.randn(shape)
    with torch.no_grad():
        whole = decoder(content, parameters)
        tiled = decode_in_tiles(decoder, content, parameters, side=16, stride=stride)
    error = (tiled - whole).abs()
    assert error.mean() < 0.005 * whole.std()
    border = error[..., 16 * stride - 1 : 16 * stride + 1].mean()
    assert border < 2 * error.mean() + 1e-6  # no worse at a seam than elsewhere


@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_with_the_true_statistics_tiles_are_exact(changes: dict[str, Any]) -> None:
    """One tile over the whole canvas collects them; what is left is the overlap, which must reach
    far enough.
    """
    decoder, stride = decoder_of(changes)
    content = torch.randn(1, TINY.z_channels, 40, 40)
    parameters = 1 + 0.3 * torch.randn(1, 2 * sum(decoder.adain_channels))
    with torch.no_grad():
        whole = decoder(content, parameters)
        torch.testing.assert_close(
            decode_in_tiles(decoder, content, parameters, side=40, stride=stride),
            whole,
            atol=1e-4,
            rtol=1e-4,
        )


def test_cores_cover_the_grid_once() -> None:
    seen = torch.zeros(23, 31, dtype=torch.int)
    for tile in cut(23, 31, side=8, overlap=3):
        seen[tile.place] += 1
        window = torch.arange(23 * 31).view(23, 31)
        assert torch.equal(window[tile.window][tile.core], window[tile.place])
    assert (seen == 1).all()
