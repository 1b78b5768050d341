"""The codebook as all workers move it together, and how its codes are used."""

import torch
from torch import Tensor

from training.usage import RollingUsage
from training.worker import Worker
from vqi2i.quantizer import Quantizer, assignments


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
        vectors = self._everyones(_rows(content))
        if len(vectors := vectors[vectors.isfinite().all(dim=1)]):
            self._codebook.start_from(vectors, generator)

    def assigned(self, content: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """How often this worker's content (b, d, h, w) chose each code, and its sums; to be summed over all workers."""
        return assignments(_rows(content), tokens, self._codebook.size)

    def follow(
        self, assigned: tuple[Tensor, Tensor], content: Tensor, position: int, generator: torch.Generator
    ) -> int:  # fmt: skip
        """Move towards what all workers' content chose; return how many codes began anew, on content of any worker."""
        counts, sums = assigned
        self._usage.add(counts, position)
        return self._codebook.follow(counts, sums, lambda: self._everyones(_rows(content)), generator)

    def _everyones(self, rows: Tensor) -> Tensor:
        """Rows of all workers, domain by domain, as one worker with the whole batch would have them."""
        shares = self._worker.gather(rows).unflatten(0, (self._worker.world_size, self._num_domains, -1))
        return shares.transpose(0, 1).flatten(0, 2)


def _rows(content: Tensor) -> Tensor:
    """Content maps (b, d, h, w) as vectors (b * h * w, d)."""
    return content.detach().float().permute(0, 2, 3, 1).flatten(0, 2)
