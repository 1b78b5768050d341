"""The codebook as all workers move it together, and how its codes are used."""

from typing import NamedTuple

import torch
from torch import Tensor

from training.stages.usage import RollingUsage
from training.distributed.worker import Worker
from vqi2i.networks.quantizers import Quantizer, assignments


class Assigned(NamedTuple):
    """What content chose, and what dead codes may begin anew on."""

    counts: Tensor  # (size,)
    sums: Tensor  # (size, d)
    candidates: Tensor  # (workers, n, d): each worker's own content, zeros in the places of the others


class SharedCodebook:
    """What the batches of all workers do to a codebook: the same on every worker, and as one worker would do it.

    Args:
        codebook: this worker's copy.
        worker: with whom sums and vectors are exchanged.
        num_domains: content comes domain by domain.
        usage: takes in which codes are chosen.
    """

    def __init__(self, codebook: Quantizer, worker: Worker, num_domains: int, usage: RollingUsage):
        self._codebook = codebook
        self._worker = worker
        self._num_domains = num_domains
        self._usage = usage

    def start_from(self, content: Tensor, generator: torch.Generator) -> None:
        """Draw the first vectors from content (b, d, h, w); from what is not finite none can be drawn."""
        everyones = self._laid_out(_rows(content))
        self._worker.sum(everyones)
        vectors = self._by_domain(everyones)
        if len(vectors := vectors[vectors.isfinite().all(dim=1)]):
            self._codebook.start_from(vectors, generator)

    def assigned(self, content: Tensor, tokens: Tensor) -> Assigned:
        """What a step's content (b, d, h, w) and its tokens (b, h, w) say, on this worker; to be summed over all."""
        vectors = _rows(content)
        return Assigned(*assignments(vectors, tokens, self._codebook.size), self._laid_out(vectors))

    def follow(self, assigned: Assigned, position: int, generator: torch.Generator) -> int:
        """Move towards what all workers' content chose; return how many codes began anew, on content of any worker."""
        self._usage.add(assigned.counts, position)
        candidates = self._by_domain(assigned.candidates)
        return self._codebook.follow(assigned.counts, assigned.sums, candidates, generator)

    def _laid_out(self, vectors: Tensor) -> Tensor:
        """Vectors (n, d) in this worker's place among (workers, n, d) zeros: summed over the workers, all of theirs."""
        places = vectors.new_zeros(self._worker.world_size, *vectors.shape)
        places[self._worker.rank] = vectors
        return places

    def _by_domain(self, everyones: Tensor) -> Tensor:
        """(workers, n, d) as the rows that one worker with the whole batch would have: domain by domain."""
        return everyones.unflatten(1, (self._num_domains, -1)).transpose(0, 1).flatten(0, 2)


def _rows(content: Tensor) -> Tensor:
    """Content maps (b, d, h, w) as vectors (b * h * w, d)."""
    return content.detach().float().permute(0, 2, 3, 1).flatten(0, 2)
