"""Means and sums over the workers of a run: through memory where they share a machine, else over the network."""

import contextlib
import os
import tempfile
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

SHARED = Path("/dev/shm")  # files that are memory; only Linux has it


class SharedMemory:
    """Means and sums of CPU workers on one machine: each adds up some of what all bring, the others fetch it.

    Args:
        file: float32 numbers that all workers map, (world_size + 1) * size of them.
        rank: of this worker.
        world_size: number of workers.
        group: of torch.distributed, where they meet; None: all processes.
    """

    def __init__(self, file: Path, rank: int, world_size: int, group: Any = None):
        if not file.is_file():  # mapping would make one
            raise FileNotFoundError(file)
        mapped = torch.from_file(str(file), shared=True, size=file.stat().st_size // 4, dtype=torch.float32)
        *self._brought, self._totals = mapped.view(world_size + 1, -1)
        self.size = len(self._totals)
        self._rank = rank
        self._group = group

    @classmethod
    def of(cls, rank: int, world_size: int, size: int, group: Any = None) -> "SharedMemory | None":
        """Room for sums of so many numbers; None if the workers are not on one machine, or it has not so much memory.

        All workers must ask. The file has no name any more when this returns: nothing stays behind a killed worker.
        """
        name = [_made((world_size + 1) * size * 4) if rank == 0 else ""]
        memory = None
        try:
            dist.broadcast_object_list(name, src=0, group=group)
            with contextlib.suppress(OSError, RuntimeError):  # of another machine, or not to be mapped
                memory = cls(Path(name[0]), rank, world_size, group)
            everyone = torch.tensor(float(memory is not None))
            dist.all_reduce(everyone, dist.ReduceOp.MIN, group=group)
        finally:
            if rank == 0 and name[0]:
                Path(name[0]).unlink()
        return memory if everyone else None

    def reduce(self, averaged: Sequence[Tensor], summed: Sequence[Tensor]) -> None:
        """Replace flat tensors by their means and by their sums over the workers.

        What a worker adds up stays where it is: half of all copies is saved for two workers.
        """
        tensors = [*averaged, *summed]
        sizes = [len(tensor) for tensor in tensors]
        adders = _adders(sizes, len(self._brought))
        own = [number for number, adder in enumerate(adders) if adder == self._rank]
        rest = [number for number, adder in enumerate(adders) if adder != self._rank]
        brought = [row[: sum(sizes)].split(sizes) for row in self._brought]
        totals = self._totals[: sum(sizes)].split(sizes)
        for number in rest:
            brought[self._rank][number].copy_(tensors[number])
        self._meet()
        for number in own:
            for rank, theirs in enumerate(brought):
                if rank != self._rank:
                    tensors[number] += theirs[number]
            if number < len(averaged):
                tensors[number] /= len(brought)
            totals[number].copy_(tensors[number])
        self._meet()
        for number in rest:
            tensors[number].copy_(totals[number])

    def _meet(self) -> None:
        dist.all_reduce(torch.zeros(1), group=self._group)


class Exchange:
    """Means and sums of many tensors in one go, by the way that turns out to be there.

    Args:
        rank: of this worker.
        world_size: number of workers, more than one.
        device: on which the tensors are.
        group: of torch.distributed; None: all processes.
    """

    def __init__(self, rank: int, world_size: int, device: torch.device, group: Any = None):
        self._rank, self._world_size, self._group = rank, world_size, group
        self._memory: SharedMemory | None = None
        self._may_share = device.type == "cpu"  # GPUs have their own ways

    def reduce(self, averaged: Sequence[Tensor], summed: Sequence[Tensor] = ()) -> None:
        """Replace tensors of float32 by their means and by their sums; every worker must bring the same shapes.

        Args:
            averaged: dense in memory, in whatever order of axes.
            summed: the same.
        """
        flat = [_flat(tensor) for tensor in (*averaged, *summed)]
        sizes = [len(numbers) for numbers in flat]
        if self._may_share and (self._memory is None or self._memory.size < sum(sizes)):
            self._memory = None  # gives back what it held
            self._memory = SharedMemory.of(self._rank, self._world_size, sum(sizes), self._group)
            self._may_share = self._memory is not None
        if self._memory is not None:
            self._memory.reduce(flat[: len(averaged)], flat[len(averaged) :])
            return
        total = torch.cat(flat)
        dist.all_reduce(total, group=self._group)
        total[: sum(sizes[: len(averaged)])] /= self._world_size
        for numbers, summed_up in zip(flat, total.split(sizes), strict=True):
            numbers.copy_(summed_up)


def _flat(tensor: Tensor) -> Tensor:
    """The same numbers in the order of memory."""
    is_last = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return (tensor.permute(0, 2, 3, 1) if is_last else tensor).view(-1)


def _adders(sizes: Sequence[int], workers: int) -> list[int]:
    """Which worker adds up each of some tensors: about as many numbers for one as for the other."""
    middles = (end - size / 2 for size, end in zip(sizes, accumulate(sizes), strict=True))
    return [min(workers - 1, int(middle * workers / max(1, sum(sizes)))) for middle in middles]


def _made(size: int) -> str:
    """A file of so many bytes of memory, or nothing."""
    if not SHARED.is_dir():
        return ""
    number, name = tempfile.mkstemp(prefix="vqi2i-", dir=SHARED)
    try:
        os.posix_fallocate(number, 0, size)  # now, or the first write beyond the limit would kill
    except OSError:
        Path(name).unlink()
        return ""
    finally:
        os.close(number)
    return name
