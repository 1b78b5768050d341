"""The codebook as all workers move it together, and which codes were in use over the last epoch."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from training.distributed.collectives import Collectives
from vqi2i.networks.quantizers import Quantizer, Usage, assignments


class RollingUsage:
    """Counts of codes over a window that moves with training.

    Args:
        size: number of codes.
        window: positions (images of each domain) to look back, for example an epoch.
        slots: steps in which the window moves.
    """

    def __init__(self, size: int, window: int, *, slots: int = 32):
        self.window = max(window, 1)
        self._counts = torch.zeros(slots, size)  # a ring: slot number n lies in row n % slots
        self._newest = 0  # number of the newest slot, counted from the start of training

    def add(self, counts: Tensor, position: int) -> None:
        """Take in how often each code was chosen at `position`, by all workers."""
        slots = len(self._counts)
        number = position * slots // self.window
        # Rows that a new slot takes over from one a window ago.
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


class Assigned(NamedTuple):
    """What content chose, and what dead codes may begin anew on."""

    counts: Tensor  # (size,)
    sums: Tensor  # (size, d)
    # (workers, n, d): each worker's own content, zeros in the places of the others
    candidates: Tensor


class SharedCodebook:
    """What all workers' batches do to a codebook, the same on each, as one worker would do it.

    Args:
        codebook: this worker's copy.
        collectives: with whom sums and vectors are exchanged.
        num_domains: content comes domain by domain.
        usage: takes in which codes are chosen.
    """

    def __init__(
        self, codebook: Quantizer, collectives: Collectives, num_domains: int, usage: RollingUsage
    ):
        self._codebook = codebook
        self._collectives = collectives
        self._num_domains = num_domains
        self._usage = usage

    def start_from(self, content: Tensor, generator: torch.Generator) -> None:
        """Draw the first vectors from content (b, d, h, w); none from what is not finite."""
        # (workers, b * h * w, d)
        everyones = self._laid_out(_rows(content))
        self._collectives.sum(everyones)
        vectors = self._by_domain(everyones)
        if len(vectors := vectors[vectors.isfinite().all(dim=1)]):
            self._codebook.start_from(vectors, generator)

    def assigned(self, content: Tensor, tokens: Tensor) -> Assigned:
        """What this worker's content (b, d, h, w) and tokens (b, h, w) say, to be summed."""
        vectors = _rows(content)
        return Assigned(*assignments(vectors, tokens, self._codebook.size), self._laid_out(vectors))

    def follow(self, assigned: Assigned, position: int, generator: torch.Generator) -> int:
        """Move towards what all workers' content chose; return how many codes began anew."""
        self._usage.add(assigned.counts, position)
        candidates = self._by_domain(assigned.candidates)
        return self._codebook.follow(assigned.counts, assigned.sums, candidates, generator)

    def _laid_out(self, vectors: Tensor) -> Tensor:
        """Vectors (n, d) in this worker's place among (workers, n, d) zeros.

        Summed over the workers, all of theirs.
        """
        places = vectors.new_zeros(self._collectives.world_size, *vectors.shape)
        places[self._collectives.rank] = vectors
        return places

    def _by_domain(self, everyones: Tensor) -> Tensor:
        """(workers, n, d) as the rows of one worker with the whole batch: domain by domain."""
        # (workers, domains, n / domains, d) to (domains, workers, n / domains, d); restarts
        # draw rows by number, so that their order must not depend on the number of workers.
        return everyones.unflatten(1, (self._num_domains, -1)).transpose(0, 1).flatten(0, 2)


def _rows(content: Tensor) -> Tensor:
    """Content maps (b, d, h, w) as vectors (b * h * w, d)."""
    return content.detach().float().permute(0, 2, 3, 1).flatten(0, 2)
