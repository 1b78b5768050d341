"""The order of training data as pure functions of (seed, stream, position).

A position counts the images of one domain seen since training began, over all workers; it is the
whole data state. The arithmetic is spelled out (splitmix64, blake2b), because NumPy's random
streams may change between versions.
"""

import hashlib
from functools import lru_cache
from typing import Literal

import numpy as np

ORDER_VERSION = 1  # part of a run's state: another version means another order
WINDOW = 64  # blocks whose samples are mixed with each other

OrderKind = Literal["samples", "blocks"]


class Order:
    """One endless stream over `count` samples, permuted anew in every epoch.

    Args:
        seed: of the run.
        stream: name of the stream, the domain's or those of a pair.
        count: number of samples.
        blocks: with it, samples that are stored together come near each other: see
            `block_permutation`.
    """

    def __init__(self, *, seed: int, stream: str, count: int, blocks: np.ndarray | None = None):
        def permuted(epoch: int) -> np.ndarray:
            if blocks is None:
                return permutation(seed, stream, epoch, count)
            return block_permutation(seed, stream, epoch, blocks)

        self.count = count
        # Threads work at the end of one epoch and the start of the next.
        self._epoch = lru_cache(maxsize=3)(permuted)

    def at(self, position: int, *, skip: int = 0) -> int:
        """Index of the sample at `position`, or `skip` places later in its epoch, cyclically."""
        epoch, rank = divmod(position, self.count)
        return int(self._epoch(epoch)[(rank + skip) % self.count])


def permutation(seed: int, stream: str, epoch: int, count: int) -> np.ndarray:
    """The order of `count` samples in one epoch: a permutation of 0..count-1."""
    return np.argsort(_draws("permutation", seed, stream, epoch, count), kind="stable")


def block_permutation(seed: int, stream: str, epoch: int, blocks: np.ndarray) -> np.ndarray:
    """An order for storage where distant reads are dear: a permutation of 0..len(blocks)-1.

    The blocks are permuted; then the samples of `WINDOW` successive blocks are mixed, and those of
    the next.

    Args:
        seed: of the run.
        stream: name of the stream.
        epoch: number of the epoch.
        blocks: (samples,) number of the block that holds each sample, from 0 without gaps.
    """
    # place[b]: when block b comes, the inverse of the order in which blocks come
    number = int(blocks[-1]) + 1 if len(blocks) else 0
    place = np.empty(number, np.int64)
    place[np.argsort(_draws("blocks", seed, stream, epoch, number), kind="stable")] = np.arange(
        number
    )
    # By the last key first: windows of blocks in order, samples of a window at random.
    return np.lexsort(
        (_draws("permutation", seed, stream, epoch, len(blocks)), place[blocks] // WINDOW)
    )


def sample_key(seed: int, stream: str, position: int) -> int:
    """64-bit key of the random augmentation at `position`."""
    return _hash64("augmentation", seed, stream, position)


def _hash64(*parts: str | int) -> int:
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "little")


def _draws(purpose: str, seed: int, stream: str, epoch: int, count: int) -> np.ndarray:
    """`count` distinct random 64-bit numbers: splitmix64 with a key of the arguments."""
    # State i is key + (i + 1) * golden ratio; the mixing is one to one, so no two are equal.
    key = np.uint64(_hash64(purpose, seed, stream, epoch))
    z = (np.arange(count, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + key
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
