"""All that a stage may know of other workers: who it is among them, and the sums they take
together.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from training.distributed.exchange import Exchange
from training.stopwatch import Stopwatch


class Collectives:
    """One of `world_size` equal processes.

    Args:
        rank: its number, from 0.
        world_size: how many there are.
        device: where it computes.
        group: of those that take sums together, for torch.distributed; None: all processes.
    """

    def __init__(
        self, *, rank: int = 0, world_size: int = 1, device: torch.device, group: Any = None
    ):
        self.rank = rank
        self.world_size = world_size
        self.device = device
        self.stopwatch = Stopwatch(device)
        self._group = group

    def exchange(self, networks: Iterable[nn.Module], *totals: Tensor) -> None:
        """Replace gradients by their means and `totals` (float32) by their sums over the workers,
        all in one go.

        Once per step: whenever workers meet, one waits for the other.
        """
        if self.world_size == 1:
            return
        with self.stopwatch.phase("communication"):
            self._exchange.reduce(
                [p.grad for net in networks for p in net.parameters() if p.grad is not None], totals
            )

    @functools.cached_property
    def _exchange(self) -> Exchange:
        return Exchange(self.rank, self.world_size, self.device, self._group)

    def sum(self, tensor: Tensor) -> None:
        """Add up a tensor over the workers, in place."""
        self.sum_meanwhile(tensor)()

    def sum_meanwhile(self, tensor: Tensor) -> Callable[[], Tensor]:
        """Begin to add up a tensor over the workers, in place; to be called for it when it is
        needed.
        """
        if self.world_size == 1:
            return lambda: tensor
        work = dist.all_reduce(tensor, group=self._group, async_op=True)
        assert work is not None

        def summed() -> Tensor:
            with self.stopwatch.phase("communication"):
                work.wait()
            return tensor

        return summed
