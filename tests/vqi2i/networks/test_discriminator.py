"""Discriminators: their inputs and what they can be taught to see."""

import torch
import torch.nn.functional as F

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
