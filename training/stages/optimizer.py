"""A network and its Adam: gradients clipped by norm, a rate that follows the schedule."""

from torch import Tensor, nn
from torch.optim import Adam

from training.config import OptimConfig


class OptimizedNetwork:
    """A network with its optimiser.

    Args:
        network: whose weights are learned.
        optim: how.
        kind: Adam, or a descendant of it such as AdamW.
    """

    def __init__(self, network: nn.Module, optim: OptimConfig, kind: type[Adam] = Adam):
        self.network = network
        self.optim = optim
        self.adam = kind(
            network.parameters(),
            optim.learning_rate,
            optim.betas,
            weight_decay=optim.weight_decay,
            fused=True,
        )

    @property
    def learning_rate(self) -> float:
        """Of the last step."""
        return self.adam.param_groups[0]["lr"]

    def clip(self) -> Tensor:
        """Clip the gradients; their norm before that."""
        return nn.utils.clip_grad_norm_(self.network.parameters(), self.optim.clip_norm)

    def descend(self, factor: float) -> None:
        """Take a step at `factor` times the full learning rate."""
        # Set anew in every step: a function of the position, so that a resume needs no scheduler.
        for group in self.adam.param_groups:
            group["lr"] = self.optim.learning_rate * factor
        self.adam.step()
