"""The next batches are read while the current one is computed."""

import queue
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from typing import TypeVar

Read = TypeVar("Read")
Made = TypeVar("Made")
_DEPTH = 2  # batches that wait


class _End:
    """What stands in place of a batch that does not come."""

    def __init__(self, error: BaseException | None = None):
        self.error = error


def prefetched(source: Generator[Read, None, None], make: Callable[[Read], Made]) -> Generator[Made, None, None]:
    """`map(make, source)` by a thread that is at most three batches ahead; closing it closes `source`.

    Args:
        source: read by the thread alone, in its order.
        make: applied by the thread, for example to move a batch to the device.

    Raises:
        Exception: whatever `source` or `make` raised, at the batch where it happened.
    """
    waiting: queue.Queue[Made | _End] = queue.Queue(_DEPTH)
    closed = threading.Event()

    def hand_over(item: Made | _End) -> None:
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
        while thread.is_alive():
            _take(waiting)
            thread.join(timeout=0.05)


def _take(waiting: "queue.Queue[Made | _End]") -> None:
    """Make room for a thread that waits to hand something over."""
    try:
        waiting.get_nowait()
    except queue.Empty:
        return
