"""Sums over the workers of a run: through memory where they share a machine, over the network where they do not."""

import contextlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

SHARED = Path("/dev/shm")  # files that are memory; only Linux has it


class SharedMemory:
    """Sums of CPU workers on one machine, each adding up its part of what all have laid out side by side.

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
        *self._laid_out, self._total = mapped.view(world_size + 1, -1)
        self._own = self._laid_out[rank]
        self.size = len(self._total)
        self._part = rank, world_size
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

    def total(self, numbers: Sequence[Tensor]) -> Tensor:
        """The sum over the workers of flat tensors, one after the other; overwritten by the next."""
        count = sum(map(len, numbers))
        torch.cat(list(numbers), out=self._own[:count])
        self._meet()
        rank, world_size = self._part
        part = slice(count * rank // world_size, count * (rank + 1) // world_size)
        torch.add(self._laid_out[0][part], self._laid_out[1][part], out=self._total[part])
        for others in self._laid_out[2:]:
            self._total[part] += others[part]
        self._meet()
        return self._total[:count]

    def _meet(self) -> None:
        dist.all_reduce(torch.zeros(1), group=self._group)


class Exchange:
    """Sums of many tensors in one go, by the way that turns out to be there.

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

    def total(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The sum over the workers of each tensor of float32; every worker must ask for the same shapes.

        What is returned is overwritten by the next exchange.
        """
        flat = [tensor.flatten() for tensor in tensors]
        sizes = [len(numbers) for numbers in flat]
        if self._may_share and (self._memory is None or self._memory.size < sum(sizes)):
            self._memory = None  # gives back what it held
            self._memory = SharedMemory.of(self._rank, self._world_size, sum(sizes), self._group)
            self._may_share = self._memory is not None
        if self._memory is not None:
            total = self._memory.total(flat)
        else:
            total = torch.cat(flat)
            dist.all_reduce(total, group=self._group)
        return [some.view_as(tensor) for some, tensor in zip(total.split(sizes), tensors, strict=True)]


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
