"""Where a stage runs: the only code that knows of ranks, devices and Ray Train."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn


class Worker:
    """One of `world_size` equal processes, with the sums they take together."""

    def __init__(self, *, rank: int = 0, world_size: int = 1, device: torch.device | None = None):
        self.rank = rank
        self.world_size = world_size
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def average_gradients(self, module: nn.Module) -> None:
        """Replace every gradient by its mean over the workers, in one exchange."""
        if self.world_size == 1:
            return
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.world_size
        for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def sum(self, *tensors: Tensor) -> None:
        """Add up each tensor over the workers, in place."""
        if self.world_size > 1:
            for tensor in tensors:
                dist.all_reduce(tensor)

    def gather(self, rows: Tensor) -> Tensor:
        """Rows of all workers, in the order of their ranks: (n, ...) to (world_size * n, ...)."""
        if self.world_size == 1:
            return rows
        gathered = [torch.empty_like(rows) for _ in range(self.world_size)]
        dist.all_gather(gathered, rows.contiguous())
        return torch.cat(gathered)
