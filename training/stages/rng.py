"""Random numbers of a step, the same on every worker.

They are functions of seed, position and purpose alone.
"""

import hashlib

import torch
from torch import Tensor

from training.distributed.collectives import Collectives


def seed_of(*place: str | int) -> int:
    """A 63-bit seed for one place in a run."""
    digest = hashlib.blake2b("/".join(map(str, place)).encode(), digest_size=8).digest()
    # 63 bits: as int64 it is not negative.
    return int.from_bytes(digest, "big") >> 1


class StepRandom:
    """What a step of a stage draws.

    Args:
        collectives: whose rows are asked for.
        place: the stage, the seed and the position.
        num_domains: rows are ordered domain by domain.
    """

    def __init__(self, collectives: Collectives, *place: str | int, num_domains: int):
        self.collectives = collectives
        self.place = place
        self.num_domains = num_domains

    def generator(self, purpose: str) -> torch.Generator:
        """A fresh stream for a purpose."""
        return torch.Generator().manual_seed(seed_of(*self.place, purpose))

    def integer(self, purpose: str, low: int, high: int) -> int:
        """A number in [low, high)."""
        return int(torch.randint(low, high, (), generator=self.generator(purpose)))

    def uniform(self, purpose: str, groups: int, rows: int, columns: int) -> Tensor:
        """This worker's rows of the uniform numbers (groups, rows, columns) of all workers."""
        shape = (
            groups,
            self.num_domains,
            self.collectives.world_size,
            rows // self.num_domains,
            columns,
        )
        # Everyone draws all and takes its own: with any number of workers a row has equal numbers.
        everyone = torch.rand(shape, generator=self.generator(purpose))
        return (
            everyone[:, :, self.collectives.rank]
            .flatten(1, 2)
            .to(self.collectives.device, non_blocking=True)
        )
