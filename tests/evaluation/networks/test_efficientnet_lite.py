"""EfficientNet-Lite: golden features, shapes, and a forward pass that is TensorFlow's."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from evaluation.networks.efficientnet_lite import (
    BATCH_NORM_EPS,
    EfficientNetLite,
    _convolution,
    shorter_side,
)

GOLDEN = Path(__file__).parents[2] / "data/efficientnet_lite.json"


def pictures() -> Tensor:
    """Waves, a chessboard and rings by formula: (3, 3, 48, 64) in [-1, 1]."""
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(64.0), indexing="ij")
    phases = torch.arange(3.0)[:, None, None]
    waves = torch.sin(x / 5 + y / 9 + phases)
    board = (((x // 8 + y // 8) % 2) * 2 - 1) * (1 - phases / 4)
    rings = torch.cos(torch.hypot(x - 20, y - 30) / 3 - phases)
    return torch.stack([waves, board.expand(3, -1, -1), rings])


def golden(network: EfficientNetLite) -> dict[str, list]:
    """A few numbers of what a network says of the pictures."""
    pooled, maps = network.extract(pictures())
    return {
        "pooled": pooled[:, ::107].tolist(),
        "pooled_norms": pooled.norm(dim=1).tolist(),
        "maps": maps[:, ::37, 3, ::6].flatten(1).tolist(),
        "maps_norms": maps.flatten(1).norm(dim=1).tolist(),
    }


@pytest.mark.parametrize("variant", ["lite0", "lite2"])
def test_features_of_fixed_pictures_are_the_golden_ones(
    variant: str, request: pytest.FixtureRequest
):
    found = golden(request.getfixturevalue(variant))
    for name, expected in json.loads(GOLDEN.read_text())[variant].items():
        torch.testing.assert_close(
            torch.tensor(found[name]), torch.tensor(expected), rtol=1e-3, atol=1e-3, msg=name
        )


def test_levels_halve_from_stride_two_to_thirty_two(lite0: EfficientNetLite):
    shapes = [tuple(level.shape) for level in lite0.levels(torch.zeros(2, 3, 64, 70))]
    assert shapes == [
        (2, 16, 32, 35),
        (2, 24, 16, 18),
        (2, 40, 8, 9),
        (2, 112, 4, 5),
        (2, 320, 2, 3),
    ]


def test_images_of_any_size_are_seen_at_the_scale_of_training(lite0: EfficientNetLite):
    pooled, maps = lite0.extract(pictures())
    assert pooled.shape == (3, 1280)
    assert maps.shape == (3, 112, 14, 19)
    assert pooled.min() >= 0
    large = shorter_side(pictures(), 224)
    assert large.shape == (3, 3, 224, 299)
    torch.testing.assert_close(lite0.features(large), pooled, rtol=1e-4, atol=1e-4)
    small = shorter_side(white_noise(), 224)
    assert small.std() < 0.5 * white_noise().std()  # antialiased on the way down


def white_noise() -> Tensor:
    return torch.randn(1, 3, 896, 896, generator=torch.Generator().manual_seed(0))


def test_features_do_not_depend_on_the_batch(
    lite0: EfficientNetLite, monkeypatch: pytest.MonkeyPatch
):
    whole = lite0.features(pictures())
    monkeypatch.setattr("evaluation.networks.efficientnet_lite.BATCH_SIZES", {"cpu": 2})
    torch.testing.assert_close(lite0.features(pictures()), whole, rtol=1e-4, atol=1e-4)


def test_gradients_reach_the_images_and_not_the_weights(lite0: EfficientNetLite):
    images = pictures().requires_grad_()
    lite0.pooled(lite0.levels(images)[-1]).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert not any(weight.requires_grad for weight in lite0.parameters())


def test_loading_it_leaves_the_global_random_state(lite0: EfficientNetLite):
    before = torch.get_rng_state()
    EfficientNetLite("lite0")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize(("side", "padding"), [(8, (0, 1, 0, 1)), (9, (1, 1, 1, 1))])
def test_a_convolution_pads_as_tensorflow_and_includes_its_norm(
    side: int, padding: tuple[int, ...], depthwise: bool
):
    draw = torch.Generator().manual_seed(0)
    inputs = 1 if depthwise else 4
    tensors = {"c.weight": torch.randn(4, inputs, 3, 3, generator=draw)} | {
        f"n.{part}": torch.rand(4, generator=draw) + 0.1
        for part in ("weight", "bias", "running_mean", "running_var")
    }
    x = torch.randn(2, 4, side, side, generator=draw)
    convolved = F.conv2d(F.pad(x, padding), tensors["c.weight"], None, 2, 0, 1, 4 // inputs)
    expected = F.batch_norm(
        convolved,
        tensors["n.running_mean"],
        tensors["n.running_var"],
        tensors["n.weight"],
        tensors["n.bias"],
        eps=BATCH_NORM_EPS,
    )
    folded = _convolution(tensors, "c", "n", stride=2, depthwise=depthwise)
    torch.testing.assert_close(folded(x), expected, rtol=1e-4, atol=1e-5)
