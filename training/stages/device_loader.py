"""Batches are read and on their way to the device while the one before is computed."""

import queue
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

Read = TypeVar("Read")
Made = TypeVar("Made")
_DEPTH = 2  # batches that wait


class Sent(NamedTuple):
    """An array under way."""

    tensor: Tensor
    arrived: torch.cuda.Event | None

    def receive(self) -> Tensor:
        """The tensor, for the stream of work that asks; the stream waits, the host does not."""
        if self.arrived is not None:
            stream = torch.cuda.current_stream(self.tensor.device)
            stream.wait_event(self.arrived)
            # Its memory is not given to another batch before that work is done.
            self.tensor.record_stream(stream)
        return self.tensor


class Transfer:
    """Copies arrays to a device.

    On a GPU from pinned memory and in a stream of its own, so that it computes on.
    """

    def __init__(self, device: torch.device):
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def send(self, array: np.ndarray) -> Sent:
        """Begin to copy; the array must not change afterwards."""
        tensor = torch.from_numpy(array)
        if self._stream is None:
            return Sent(tensor, None)
        # A thread begins on the first GPU, whatever this worker's is.
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            there = tensor.pin_memory().to(self._device, non_blocking=True)
            arrived = torch.cuda.Event()
            arrived.record()
        return Sent(there, arrived)


class _End:
    """What stands in place of a batch that does not come."""

    def __init__(self, error: BaseException | None = None):
        self.error = error


def prefetched(
    source: Generator[Read, None, None], make: Callable[[Read], Made]
) -> Generator[Made, None, None]:
    """`map(make, source)` by a thread, up to three batches ahead; closing it closes `source`.

    Args:
        source: read by the thread alone, in its order.
        make: applied by the thread, for example to move a batch to the device.

    Raises:
        Exception: whatever `source` or `make` raised, at the batch where it happened.
    """
    waiting: queue.Queue[Made | _End] = queue.Queue(_DEPTH)
    closed = threading.Event()

    def hand_over(item: Made | _End) -> None:
        # A wait with an end: who does not take any more may have closed meanwhile.
        while not closed.is_set():
            try:
                waiting.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def work() -> None:
        try:
            with closing(source):
                for batch in source:
                    hand_over(make(batch))
                    if closed.is_set():
                        return
            hand_over(_End())
        except BaseException as error:
            hand_over(_End(error))

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item = waiting.get()
            if not isinstance(item, _End):
                yield item
            elif item.error is not None:
                raise item.error
            else:
                return
    finally:
        closed.set()
        # The thread may stand in `put`, or at work on a batch that it will want to hand over.
        while thread.is_alive():
            _take(waiting)
            thread.join(timeout=0.05)


def _take(waiting: "queue.Queue[Made | _End]") -> None:
    """Make room for a thread that waits to hand something over."""
    try:
        waiting.get_nowait()
    except queue.Empty:
        return
