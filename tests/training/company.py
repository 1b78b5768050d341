"""Workers that are threads of this process: sums over them without other processes."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

Result = TypeVar("Result")


class Company:
    """Stands for torch.distributed among some threads.

    Args:
        workers: number of threads, each with its rank.
    """

    def __init__(self, workers: int):
        self.workers = workers
        self._rank = threading.local()
        self._brought: dict[int, Any] = {}
        self._all_are_here = threading.Barrier(workers, timeout=30)
        self._all_have_read = threading.Barrier(workers, self._brought.clear, timeout=30)

    def ask(self, task: Callable[[int], Result]) -> list[Result]:
        """What each worker answers; the ends of all if one raises."""

        def run(rank: int) -> Result:
            self._rank.own = rank
            try:
                return task(rank)
            except BaseException:
                self._all_are_here.abort()
                self._all_have_read.abort()
                raise

        with ThreadPoolExecutor(self.workers) as pool:
            return list(pool.map(run, range(self.workers)))

    @contextmanager
    def _together(self, value: Any) -> Iterator[list[Any]]:
        """What all bring, in the order of ranks."""
        self._brought[self._rank.own] = value
        self._all_are_here.wait()
        yield [self._brought[rank] for rank in range(self.workers)]
        self._all_have_read.wait()

    def all_reduce(
        self, tensor: Tensor, op: Any = dist.ReduceOp.SUM, group: Any = None, async_op: bool = False
    ) -> "Company":
        """As torch.distributed's, at once."""
        with self._together(tensor.clone()) as everyones:
            stacked = torch.stack(everyones)
        tensor.copy_(stacked.sum(0) if op == dist.ReduceOp.SUM else stacked.amin(0))
        return self

    def wait(self) -> None:
        """It is over already."""

    def broadcast_object_list(self, objects: list[Any], src: int, group: Any = None) -> None:
        """As torch.distributed's."""
        with self._together(list(objects)) as everyones:
            objects[:] = everyones[src]


def company(workers: int, monkeypatch: pytest.MonkeyPatch) -> Company:
    """Threads that take sums together as processes would."""
    made = Company(workers)
    monkeypatch.setattr(dist, "all_reduce", made.all_reduce)
    monkeypatch.setattr(dist, "broadcast_object_list", made.broadcast_object_list)
    return made
