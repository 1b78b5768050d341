import pytest
import torch
from torch import nn
from torch.optim import Adam, AdamW

from training.config import OptimConfig
from training.stages.optimizer import OptimizedNetwork


def _optimized(kind: type[Adam] = Adam, **settings: float) -> OptimizedNetwork:
    network = nn.Linear(2, 1, bias=False)
    nn.init.ones_(network.weight)
    network.weight.grad = torch.tensor([[3.0, 4.0]])
    return OptimizedNetwork(network, OptimConfig(learning_rate=0.1, **settings), kind)


def test_gradients_are_clipped_by_their_norm_which_is_told() -> None:
    optimized = _optimized(clip_norm=1.0)
    assert float(optimized.clip()) == pytest.approx(5)
    (weight,) = optimized.network.parameters()
    torch.testing.assert_close(weight.grad, torch.tensor([[0.6, 0.8]]))


@pytest.mark.parametrize("factor", [1.0, 0.25])
def test_a_step_is_as_long_as_the_schedule_says(factor: float) -> None:
    optimized = _optimized()
    optimized.descend(factor)
    assert optimized.learning_rate == pytest.approx(0.1 * factor)
    (weight,) = optimized.network.parameters()
    # Adam's first step
    torch.testing.assert_close(weight.detach(), torch.full((1, 2), 1 - 0.1 * factor))


def test_weights_decay_apart_from_gradients_where_the_optimiser_does_so() -> None:
    optimized = _optimized(AdamW, weight_decay=0.5)
    optimized.descend(1.0)
    (weight,) = optimized.network.parameters()
    torch.testing.assert_close(weight.detach(), torch.full((1, 2), (1 - 0.1 * 0.5) - 0.1))
