"""Means and sums over workers: by shared memory on one machine, else over the network."""

import contextlib
import os
import tempfile
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

SHARED = Path("/dev/shm")  # files that are memory; only Linux has it


class _Places(NamedTuple):
    """Where some tensors lie in memory that workers share."""

    own: list[int]  # numbers of the tensors that this worker adds up
    rest: list[int]  # of those that others do
    brought: list[list[Tensor]]  # places of all tensors, worker by worker
    totals: list[Tensor]


class SharedMemory:
    """Means and sums of CPU workers on one machine.

    Each adds up some of what all bring, the others fetch it.

    Args:
        file: float32 numbers that all workers map, (world_size + 1) * size of them.
        rank: of this worker.
        world_size: number of workers.
        group: of torch.distributed, where they meet; None: all processes.
    """

    def __init__(self, file: Path, rank: int, world_size: int, group: Any = None):
        if not file.is_file():  # mapping would make one
            raise FileNotFoundError(file)
        mapped = torch.from_file(
            str(file), shared=True, size=file.stat().st_size // 4, dtype=torch.float32
        )
        # (size,) each: a row for what every worker brings, and one for the totals
        *self._brought, self._totals = mapped.view(world_size + 1, -1)
        self.size = len(self._totals)
        self._rank = rank
        self._group = group
        self._places: dict[tuple[Any, ...], _Places] = {}  # by the shapes and strides of tensors

    @classmethod
    def of(cls, rank: int, world_size: int, size: int, group: Any = None) -> "SharedMemory | None":
        """Room for sums of so many numbers; None on several machines, or with too little memory.

        All workers must ask. The file has no name any more when this returns: nothing stays behind
        a killed worker.
        """
        name = [_made((world_size + 1) * size * 4) if rank == 0 else ""]
        memory = None
        try:
            dist.broadcast_object_list(name, src=0, group=group)
            # The file may be another machine's, or not to be mapped.
            with contextlib.suppress(OSError, RuntimeError):
                memory = cls(Path(name[0]), rank, world_size, group)
            # All or none: workers that exchange in different ways would wait for ever.
            everyone = torch.tensor(float(memory is not None))
            dist.all_reduce(everyone, dist.ReduceOp.MIN, group=group)
        finally:
            if rank == 0 and name[0]:
                Path(name[0]).unlink()
        return memory if everyone else None

    def reduce(self, averaged: Sequence[Tensor], summed: Sequence[Tensor]) -> None:
        """Replace tensors by their means, and others by their sums over the workers.

        What a worker adds up it need not bring: half of all copies is saved for two workers.
        """
        tensors = [*averaged, *summed]
        # Means are sums of what each has divided before, on the way into the shared memory.
        weights = [1 / len(self._brought)] * len(averaged) + [1.0] * len(summed)
        places = self._places_of(tensors)
        brought = places.brought[self._rank]
        for number in places.rest:
            torch.mul(tensors[number], weights[number], out=brought[number])
        # From here on all that is brought is there.
        self._meet()
        for number in places.own:
            total = places.totals[number]
            first, *others = (
                row[number] for rank, row in enumerate(places.brought) if rank != self._rank
            )
            torch.add(first, tensors[number], alpha=weights[number], out=total)
            for other in others:
                total += other
            tensors[number].copy_(total)
        # From here on all totals are there, and nobody reads what was brought: the next call may
        # overwrite that before its first meeting, and totals only after it.
        self._meet()
        for number in places.rest:
            tensors[number].copy_(places.totals[number])

    def _places_of(self, tensors: Sequence[Tensor]) -> _Places:
        """Made once: tensors have the same shapes and strides in every step."""
        layouts = tuple((tensor.shape, tensor.stride()) for tensor in tensors)
        if layouts not in self._places:
            adders = _adders([tensor.numel() for tensor in tensors], len(self._brought))
            own = [number for number, adder in enumerate(adders) if adder == self._rank]
            rest = [number for number, adder in enumerate(adders) if adder != self._rank]
            brought = [_shaped(row, tensors) for row in self._brought]
            self._places[layouts] = _Places(own, rest, brought, _shaped(self._totals, tensors))
        return self._places[layouts]

    def _meet(self) -> None:
        # A sum of nothing, which ends when all have come: a barrier.
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

    def reduce(self, averaged: Sequence[Tensor], summed: Sequence[Tensor]) -> None:
        """Replace float32 tensors by their means, and others by their sums.

        Every worker brings the same shapes.
        """
        tensors = [*averaged, *summed]
        sizes = [tensor.numel() for tensor in tensors]
        if self._may_share and (self._memory is None or self._memory.size < sum(sizes)):
            self._memory = None  # gives back what it held
            self._memory = SharedMemory.of(self._rank, self._world_size, sum(sizes), self._group)
            self._may_share = self._memory is not None
        if self._memory is not None:
            self._memory.reduce(averaged, summed)
            return
        # One message for all of them.
        total = torch.cat([_as_stored(tensor).flatten() for tensor in tensors])
        dist.all_reduce(total, group=self._group)
        total[: sum(sizes[: len(averaged)])] /= self._world_size
        for tensor, result in zip(tensors, _shaped(total, tensors), strict=True):
            tensor.copy_(result)


def _as_stored(tensor: Tensor) -> Tensor:
    """The same numbers with axes in the order of memory, so that flattening copies nothing."""
    # In channels-last memory (n, c, h, w) lies as (n, h, w, c).
    is_last = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return tensor.permute(0, 2, 3, 1) if is_last else tensor


def _shaped(numbers: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Flat numbers as tensors of given shapes, one after the other, in their order of memory."""
    sizes = [tensor.numel() for tensor in like]
    return [
        part.view_as(tensor)
        if (stored := _as_stored(tensor)) is tensor
        else part.view_as(stored).permute(0, 3, 1, 2)
        for part, tensor in zip(numbers[: sum(sizes)].split(sizes), like, strict=True)
    ]


def _adders(sizes: Sequence[int], workers: int) -> list[int]:
    """Which worker adds up each of some tensors: about as many numbers for one as for the other."""
    # Tensors stay whole: each goes to the worker in whose share of the numbers its middle lies.
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
