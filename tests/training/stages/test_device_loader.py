import threading
import time
from collections.abc import Generator
from itertools import islice

import numpy as np
import pytest
import torch

from training.stages.device_loader import Transfer, prefetched


class Source:
    """Numbers, and what became of the generator."""

    def __init__(self, *, end: int = 10**9, fail_at: int = -1):
        self.read = 0
        self.closed = False
        self.threads: set[str] = set()
        self._end, self._fail_at = end, fail_at

    def numbers(self) -> Generator[int, None, None]:
        try:
            for number in range(self._end):
                if number == self._fail_at:
                    raise OSError("the disk is gone")
                self.read += 1
                self.threads.add(threading.current_thread().name)
                yield number
        finally:
            self.closed = True


def _identity(number: int) -> int:
    return number


def test_batches_come_in_order_from_one_thread() -> None:
    source = Source(end=500)
    assert list(prefetched(source.numbers(), lambda number: number + 0.5)) == [
        n + 0.5 for n in range(500)
    ]
    assert source.threads == {"prefetch"}
    assert source.closed


def test_the_next_batch_is_read_while_the_current_one_is_used() -> None:
    asked = [threading.Event() for _ in range(8)]

    def numbers() -> Generator[int, None, None]:
        for number, event in enumerate(asked):
            event.set()
            yield number

    batches = prefetched(numbers(), _identity)
    for number in range(7):
        assert next(batches) == number
        assert asked[number + 1].wait(timeout=60)
    batches.close()


def test_no_more_than_three_batches_are_read_ahead() -> None:
    source = Source()
    batches = prefetched(source.numbers(), _identity)
    next(batches)
    time.sleep(0.3)
    assert 2 <= source.read <= 4
    batches.close()


def test_closing_ends_the_thread_and_closes_the_source() -> None:
    source = Source()
    batches = prefetched(source.numbers(), _identity)
    next(batches)
    batches.close()
    assert source.closed
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def test_an_error_comes_at_its_batch() -> None:
    source = Source(fail_at=3)
    batches = prefetched(source.numbers(), _identity)
    assert list(islice(batches, 3)) == [0, 1, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(batches)
    assert source.closed


def test_an_error_while_a_batch_is_made_closes_the_source_too() -> None:
    source = Source()
    with pytest.raises(ZeroDivisionError):
        list(prefetched(source.numbers(), lambda number: 1 // (2 - number)))
    assert source.closed


def test_arrays_arrive_as_they_are() -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    received = Transfer(torch.device("cpu")).send(array).receive()
    assert received.dtype == torch.uint8
    assert np.array_equal(received.numpy(), array)
