"""The order of training data as pure functions of (seed, domain, position).

A position counts the images of one domain seen since training began, over all workers; it is the whole data state.
The arithmetic is spelled out (splitmix64, blake2b), because NumPy's random streams may change between versions.
"""

import hashlib
from functools import lru_cache

import numpy as np

ORDER_VERSION = 1  # part of a run's state: another version means another order


@lru_cache(maxsize=16)
def permutation(seed: int, domain: str, epoch: int, count: int) -> np.ndarray:
    """The order of `count` samples in one epoch: a read-only int64 permutation of 0..count-1."""
    key = np.uint64(_hash64("permutation", seed, domain, epoch))
    order = np.argsort(_splitmix64(np.arange(count, dtype=np.uint64), key), kind="stable")
    order.setflags(write=False)
    return order


def sample_at(position: int, *, seed: int, domain: str, count: int) -> int:
    """Index of the sample that stands at `position` of a domain with `count` samples."""
    epoch, rank = divmod(position, count)
    return int(permutation(seed, domain, epoch, count)[rank])


def sample_key(seed: int, domain: str, position: int) -> int:
    """64-bit key of the random augmentation at `position`."""
    return _hash64("augmentation", seed, domain, position)


def _hash64(*parts: str | int) -> int:
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "little")


def _splitmix64(index: np.ndarray, key: np.uint64) -> np.ndarray:
    """Output number `index` of the splitmix64 generator seeded with `key`; distinct indices give distinct values."""
    z = (index + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + key
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
