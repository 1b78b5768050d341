"""Batches hold their rows domain by domain; these two join such batches into one pass and part them again."""

from collections.abc import Sequence

import torch
from torch import Tensor


def merge(groups: Sequence[Tensor], num_domains: int) -> Tensor:
    """Join equally large batches so that the result is ordered domain by domain too: g x (n, ...) to (g * n, ...)."""
    return torch.stack([group.unflatten(0, (num_domains, -1)) for group in groups], dim=1).flatten(0, 2)


def part(rows: Tensor, num_domains: int, num_groups: int) -> list[Tensor]:
    """Undo `merge`: (g * n, ...) to g x (n, ...)."""
    groups = rows.unflatten(0, (num_domains, num_groups, -1))
    return [groups[:, index].flatten(0, 1) for index in range(num_groups)]
