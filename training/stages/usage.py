"""Which codes were in use over the last epoch, whatever the interval between reports."""

from typing import Any

import torch
from torch import Tensor

from vqi2i.networks.quantizers import Usage


class RollingUsage:
    """Counts of codes over a window that moves with training.

    Args:
        size: number of codes.
        window: positions (images of each domain) to look back, for example an epoch.
        slots: steps in which the window moves.
    """

    def __init__(self, size: int, window: int, *, slots: int = 32):
        self.window = max(window, 1)
        self._counts = torch.zeros(slots, size)
        self._newest = 0  # number of the newest slot, counted from the start of training

    def add(self, counts: Tensor, position: int) -> None:
        """Take in how often each code was chosen at `position`, by all workers."""
        slots = len(self._counts)
        number = position * slots // self.window
        for begun in range(max(self._newest + 1, number - slots + 1), number + 1):
            self._counts[begun % slots] = 0
        self._newest = max(self._newest, number)
        self._counts[number % slots] += counts.cpu()

    def figures(self) -> dict[str, float]:
        """Share of codes in use, perplexity, and the number of codes that nothing chose."""
        usage = Usage.of(self._counts.sum(0))
        dead = round((1 - usage.used) * self._counts.shape[1])
        return {"codes_used": usage.used, "perplexity": usage.perplexity, "dead_codes": float(dead)}

    def history(self) -> Tensor:
        """Counts (slots, codes) over the window, oldest first."""
        return self._counts.roll(-(self._newest + 1), dims=0)

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes."""
        return {"counts": self._counts, "newest": self._newest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self._counts.copy_(state["counts"])
        self._newest = state["newest"]
