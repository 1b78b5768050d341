"""Batches with rows ordered domain by domain, equally many of each: joined, parted, paired."""

from collections.abc import Sequence

import torch
from torch import Tensor


def merge(groups: Sequence[Tensor], num_domains: int) -> Tensor:
    """Join batches, g x (n, ...) to (g * n, ...), so that rows stay ordered domain by domain."""
    # Each (domains, n / domains, ...), stacked to (domains, g, n / domains, ...): the domain stays
    # the outermost axis, so that `chunk(domains)` still cuts between domains.
    return torch.stack([group.unflatten(0, (num_domains, -1)) for group in groups], dim=1).flatten(
        0, 2
    )


def part(rows: Tensor, num_domains: int, num_groups: int) -> list[Tensor]:
    """Undo `merge`: (g * n, ...) to g x (n, ...)."""
    groups = rows.unflatten(0, (num_domains, num_groups, -1))
    return [groups[:, index].flatten(0, 1) for index in range(num_groups)]


def partners(rows: Tensor, num_domains: int, shift: int) -> Tensor:
    """For each row of (n, ...) that of the domain `shift` places on, 0 <= shift < num_domains."""
    # Row i becomes row i + shift * (rows of a domain), cyclically.
    return rows.roll(-shift * (len(rows) // num_domains), dims=0)


def places_of_parts(
    count: int, num_domains: int, num_parts: int, device: torch.device
) -> list[Tensor]:
    """Indices of `count` rows in up to `num_parts` parts, each ordered domain by domain."""
    # (domains, count / domains)
    by_domain = torch.arange(count, device=device).unflatten(0, (num_domains, -1))
    return [some.flatten() for some in by_domain.chunk(num_parts, dim=1)]


def put_back(parts: Sequence[Tensor], places: Sequence[Tensor]) -> Tensor:
    """The rows of parts in the order of the batch that their places are indices of."""
    # The argsort of a permutation is its inverse.
    return torch.cat(list(parts))[torch.cat(list(places)).argsort()]
