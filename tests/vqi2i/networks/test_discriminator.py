"""Discriminators: their inputs and what they can be taught to see."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vqi2i.config import DiscriminatorConfig
from vqi2i.networks.discriminator import Discriminator, high_pass


def test_the_high_pass_keeps_edges_and_drops_colours() -> None:
    assert high_pass(torch.full((1, 3, 8, 8), 0.7)).abs().max() < 1e-6
    step = torch.zeros(1, 3, 8, 8)
    step[..., 4:] = 1
    columns = high_pass(step).abs().mean(dim=(0, 1, 2))
    assert (columns > 0.1).nonzero().flatten().tolist() == [3, 4]


def test_with_detail_blurred_images_are_soon_found_out() -> None:
    def loss_after(detail: float) -> float:
        torch.manual_seed(0)
        judge = Discriminator(
            DiscriminatorConfig(base_channels=8, num_layers=2, norm="none", detail=detail),
            ("a", "b"),
        )
        adam = torch.optim.Adam(judge.parameters(), 2e-3, (0.5, 0.99))
        loss = torch.ones(())
        for _ in range(40):
            real = F.interpolate(torch.rand(4, 3, 8, 8), scale_factor=4.0)
            blurred = F.avg_pool2d(F.pad(real, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
            loss = F.relu(1 - judge(real)).mean() + F.relu(1 + judge(blurred)).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
        return float(loss.detach())

    assert loss_after(4.0) < 0.5 * loss_after(0.0)


def layers(**settings: Any) -> list[tuple[int, int, int, bool]]:
    """Channels in and out, stride and whether there is a bias, of a trunk's convolutions."""
    judge = Discriminator(DiscriminatorConfig(**settings), ("a", "b"))
    return [
        (m.in_channels, m.out_channels, m.stride[0], m.bias is not None)
        for m in judge.trunks["shared"]
        if isinstance(m, nn.Conv2d)
    ]


def test_channels_double_up_to_eight_times_and_the_last_layer_keeps_the_size() -> None:
    assert layers(base_channels=4, num_layers=5, norm="none", detail=1.0) == [
        (6, 4, 2, True),
        (4, 8, 2, True),
        (8, 16, 2, True),
        (16, 32, 2, True),
        (32, 32, 2, True),
        (32, 32, 1, True),
    ]
    assert layers(base_channels=4, num_layers=1, norm="instance") == [
        (3, 4, 2, True),
        (4, 8, 1, False),
    ]


@pytest.mark.parametrize("trunk", ["shared", "per_domain"])
@pytest.mark.parametrize("norm", ["none", "instance"])
def test_each_domain_is_judged_by_its_own_part_layer_by_layer(trunk: Any, norm: Any) -> None:
    config = DiscriminatorConfig(base_channels=4, num_layers=2, norm=norm, trunk=trunk, detail=2.0)
    judge = Discriminator(config, ("a", "b"))
    assert set(judge.trunks) == ({"shared"} if trunk == "shared" else {"a", "b"})
    images, wanted = torch.rand(4, 3, 32, 32), []
    for domain, own in zip("ab", images.chunk(2), strict=True):
        x = torch.cat([own, 2 * high_pass(own)], dim=1)
        parts = judge.trunks["shared" if trunk == "shared" else domain]
        for number, layer in enumerate(m for m in parts if isinstance(m, nn.Conv2d)):
            x = F.conv2d(x, layer.weight, layer.bias, layer.stride, padding=1)
            if norm == "instance" and number:
                x = F.instance_norm(x)
            x = F.leaky_relu(x, 0.2)
        head = judge.heads[domain]
        assert isinstance(head, nn.Conv2d)
        wanted.append(F.conv2d(x, head.weight, head.bias, padding=1))
    found = judge(images)
    assert found.shape == (4, 1, 6, 6)
    torch.testing.assert_close(found, torch.cat(wanted), atol=1e-5, rtol=1e-4)


def test_a_discriminator_begins_undecided_with_layers_that_keep_the_scale() -> None:
    torch.manual_seed(0)
    judge = Discriminator(DiscriminatorConfig(base_channels=32), ("a", "b"))
    for module in judge.trunks.modules():
        if isinstance(module, nn.Conv2d):
            wanted = (2 / (1 + 0.2**2) / (16 * module.in_channels)) ** 0.5
            assert float(module.weight.detach().std()) == pytest.approx(wanted, rel=0.1)
    for head in judge.heads.values():
        assert float(head.weight.detach().std()) == pytest.approx(0.01, rel=0.1)
