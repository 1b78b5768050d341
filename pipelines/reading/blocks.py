"""Samples of a remote data set in blocks: one request brings many, a few are under way."""

import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from imaging.codec import Pixels
from pipelines.reading.order import WINDOW
from pipelines.reading.reader import Samples
from pipelines.storage.remote import IN_FLIGHT

BLOCK_BYTES = 2**20


def block_numbers(samples: Samples) -> np.ndarray:
    """Number of the block that holds each sample, from 0 without gaps: (count,) int64.

    A block is what begins within one stretch of `BLOCK_BYTES` of a shard.
    """
    # (2, count): a block ends where the shard or the stretch changes
    stretch = np.stack([samples.shard, samples.offset // BLOCK_BYTES])
    return np.concatenate([[0], np.cumsum((np.diff(stretch) != 0).any(axis=0))])[: len(samples)]


class BlockReader:
    """Reads the samples of a block order: the current `WINDOW` blocks, and ahead in the next.

    At most three windows of blocks are in memory; what is asked for beyond that pushes out what was
    used least lately.
    """

    def __init__(self, samples: Samples):
        self._samples = samples
        self._block = block_numbers(samples)
        self._first = np.flatnonzero(np.diff(self._block, prepend=-1))  # sample of each block
        self._last = np.append(self._first[1:], len(samples)) - 1
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(IN_FLIGHT, "blocks")
        self._blocks: OrderedDict[int, Future[bytes]] = OrderedDict()

    def close(self) -> None:
        """End the requests under way."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def want(self, index: int) -> None:
        """Start to fetch the block of sample `index` if it is not here."""
        block = int(self._block[index])
        with self._lock:
            self._future(block)

    def read(self, index: int) -> Pixels:
        """Decode sample `index`: see `Samples.read`."""
        block = int(self._block[index])
        # Waited for without the lock: others may ask meanwhile.
        with self._lock:
            future = self._future(block)
        try:
            data = future.result()
        except BaseException:
            with self._lock:  # whoever asks again tries again
                self._blocks.pop(block, None)
            raise
        # Offsets count from the shard's beginning, `data` from that of the block.
        start = int(self._samples.offset[index] - self._samples.offset[self._first[block]])
        return self._samples.decode(index, data[start : start + int(self._samples.size[index])])

    def _future(self, block: int) -> "Future[bytes]":
        if (future := self._blocks.get(block)) is None:
            future = self._blocks[block] = self._pool.submit(self._fetch, block)
            if len(self._blocks) > 3 * WINDOW:
                # The one at the front, used least lately.
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(block)
        return future

    def _fetch(self, block: int) -> bytes:
        samples, first, last = self._samples, self._first[block], self._last[block]
        start = int(samples.offset[first])
        end = int(samples.offset[last] + samples.size[last])
        return samples.files.read(samples.shards[samples.shard[first]], start, end - start)
