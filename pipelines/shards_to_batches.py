"""WebDataset shards to uint8 training batches, read through the index instead of streamed.

Which samples form a batch, and how they are augmented, follows from (seed, domain, position) alone: batches are the
same for any number of threads or ranks and after a resume.
"""

import os
import weakref
import zlib
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import reduce
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pyarrow.parquet as pq

import imaging
from imaging.codec import Pixels
from pipelines.augment import Augmentation
from pipelines.order import sample_at, sample_key
from pipelines.schema import INDEX_SCHEMA, SPLITS, Manifest, Shard, Split


class CorruptSample(ValueError):  # noqa: N818
    """The stored bytes of a sample are not those that were written; the message names shard and key."""


class Batch(NamedTuple):
    """One rank's part of a global batch."""

    images: dict[str, np.ndarray]  # per domain uint8 (global_batch / world_size, crop, crop, 3)
    position: int  # images of each domain seen, over all ranks, before this global batch


class _Index(NamedTuple):
    """The samples of one split and domain in stored order; the arrays run in parallel."""

    shards: tuple[Shard, ...]
    files: list[int]  # descriptors, parallel to `shards`
    shard: np.ndarray
    key: np.ndarray
    offset: np.ndarray
    size: np.ndarray
    crc32: np.ndarray
    width: np.ndarray
    height: np.ndarray


class ShardReader:
    """Random access to the images of a data set; safe to use from several threads.

    Raises:
        ValueError: the folder is no data set, or a shard or its index is missing or has another length than it should.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.manifest = Manifest.load(self.root)
        self._files: list[int] = []
        weakref.finalize(self, _close_all, self._files)
        self._indexes = {
            (split, domain): self._open(self.manifest.splits[split][domain])
            for split in SPLITS
            for domain in self.manifest.domains
        }

    def count(self, split: Split, domain: str) -> int:
        """Number of images of one domain in one split."""
        return len(self._index(split, domain).key)

    def read(self, split: Split, domain: str, index: int) -> Pixels:
        """Decode image number `index` (0-based, stored order) to uint8 (h, w, 3).

        Raises:
            CorruptSample: the bytes in the shard do not have the checksum they were written with.
        """
        samples = self._index(split, domain)
        shard = int(samples.shard[index])
        data = os.pread(samples.files[shard], int(samples.size[index]), int(samples.offset[index]))
        if zlib.crc32(data) != samples.crc32[index]:
            raise CorruptSample(
                f"{self.root / samples.shards[shard].name}: the bytes of sample {samples.key[index]} have changed:"
                " restore the shard from a copy, or delete it and run `vqi2i data shard` again"
            )
        return imaging.decode(data)

    def pairs(self, split: Split, domains: Sequence[str]) -> dict[str, np.ndarray]:
        """Indices of the images that show the same thing in all of these domains, in the same order for each.

        Raises:
            ValueError: the data set was not built as a paired one, or the images of a pair differ in size.
        """
        if not self.manifest.options.paired:
            raise ValueError(f"{self.root} holds no pairs: build it with `vqi2i data shard --paired`")
        indexes = {domain: self._index(split, domain) for domain in domains}
        common = reduce(np.intersect1d, [index.key for index in indexes.values()])
        rows = {domain: np.searchsorted(index.key, common) for domain, index in indexes.items()}
        sizes = np.stack([np.stack([index.width, index.height])[:, rows[d]] for d, index in indexes.items()])
        if (different := (sizes != sizes[0]).any(axis=(0, 1))).any():
            raise ValueError(f"{self.root}: the images of pair {common[different][0]} differ in size: scale them first")
        return rows

    def _index(self, split: Split, domain: str) -> _Index:
        if (split, domain) not in self._indexes:
            known = ", ".join(self.manifest.domains)
            raise ValueError(f"{self.root} has no domain {domain!r} in {split!r}: its domains are {known}")
        return self._indexes[split, domain]

    def _open(self, shards: tuple[Shard, ...]) -> _Index:
        files = [self._open_shard(shard) for shard in shards]
        tables = [self._read_index(shard) for shard in shards]
        column = {
            name: np.concatenate(
                [np.empty(0, INDEX_SCHEMA.field(name).type.to_pandas_dtype()), *(t[name] for t in tables)]
            )
            for name in ("key", "offset", "size", "crc32", "width", "height")
        }
        return _Index(shards, files, np.repeat(np.arange(len(shards)), [shard.samples for shard in shards]), **column)

    def _open_shard(self, shard: Shard) -> int:
        path = self.root / shard.name
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise ValueError(f"{path} cannot be opened ({error.strerror}): run `vqi2i data shard` again") from error
        self._files.append(file)
        if (have := os.fstat(file).st_size) != shard.bytes:
            raise ValueError(f"{path} has {have} bytes instead of {shard.bytes}: run `vqi2i data shard` again")
        return file

    def _read_index(self, shard: Shard) -> dict[str, np.ndarray]:
        path = self.root / shard.index_name
        try:
            table = pq.read_table(path, schema=INDEX_SCHEMA)
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} cannot be read ({error}): run `vqi2i data shard` again") from error
        if table.num_rows != shard.samples:
            raise ValueError(
                f"{path} lists {table.num_rows} samples, not {shard.samples}: run `vqi2i data shard` again"
            )
        return {name: table[name].to_numpy() for name in table.column_names}


class Batches:
    """The endless sequence of training batches of one rank, addressed by position.

    Each domain is an independent stream that is permuted anew every epoch; pairs are one stream, cut and mirrored
    alike. Global batch k covers the positions k * global_batch + [0, global_batch); rank r of W takes the r-th of W
    equal parts of it.

    Raises:
        ValueError: the options do not fit each other or the data set.
    """

    def __init__(
        self,
        reader: ShardReader,
        *,
        domains: Sequence[str],
        crop: int,
        global_batch: int,
        seed: int,
        split: Split = "train",
        rank: int = 0,
        world_size: int = 1,
        threads: int = 2,
        flip: bool = True,
        paired: bool = False,
    ) -> None:
        if global_batch < 1 or global_batch % world_size:
            raise ValueError(
                f"global batch {global_batch} cannot be shared by {world_size} workers: use a multiple of it"
            )
        if threads < 1:
            raise ValueError(f"threads is {threads}: at least 1 must load data")
        _check_crop(reader, crop)
        assert 0 <= rank < world_size
        alone = {domain: np.arange(reader.count(split, domain)) for domain in domains}
        self._rows = reader.pairs(split, domains) if paired else alone
        self._streams = {domain: "+".join(domains) if paired else domain for domain in domains}
        if empty := [domain for domain, rows in self._rows.items() if len(rows) == 0]:
            raise ValueError(f"{reader.root} has no {split} images of {', '.join(empty)}: build it from more images")
        self._reader = reader
        self._split: Split = split
        self._seed = seed
        self._threads = threads
        self._augment = Augmentation(crop, flip=flip)
        self.global_batch = global_batch
        self.local_batch = global_batch // world_size
        self._first = rank * self.local_batch

    def at(self, position: int) -> Batch:
        """The batch that starts at `position`, a multiple of the global batch; a pure function of it."""
        if position < 0 or position % self.global_batch:
            raise ValueError(f"position {position} is no multiple of the global batch {self.global_batch}")
        mine = range(position + self._first, position + self._first + self.local_batch)
        return Batch({domain: np.stack([self._sample(domain, p) for p in mine]) for domain in self._rows}, position)

    def iterate(self, start: int = 0) -> Generator[Batch, None, None]:
        """Endless batches from position `start` on, loaded ahead in threads; closing the generator stops them."""
        pool = ThreadPoolExecutor(self._threads, "batches", initializer=cv2.setNumThreads, initargs=(0,))
        pending: deque[Future[Batch]] = deque()
        upcoming = start
        try:
            while True:
                while len(pending) <= self._threads:  # one batch waits while each thread makes another
                    pending.append(pool.submit(self.at, upcoming))
                    upcoming += self.global_batch
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _sample(self, domain: str, position: int) -> Pixels:
        rows, stream = self._rows[domain], self._streams[domain]
        index = rows[sample_at(position, seed=self._seed, domain=stream, count=len(rows))]
        pixels = self._reader.read(self._split, domain, int(index))
        return self._augment(pixels, sample_key(self._seed, stream, position))


def held_out(reader: ShardReader, domain: str, *, crop: int, limit: int) -> np.ndarray:
    """Centre crops of the first `limit` test images of a domain, in stored order: uint8 (n, crop, crop, 3).

    Raises:
        ValueError: the domain has no test images, or they are smaller than `crop`.
    """
    _check_crop(reader, crop)
    count = min(limit, reader.count("test", domain))
    if count < 1:
        raise ValueError(f"{reader.root} has no test images of {domain}: build it with a larger test fraction")
    return np.stack([imaging.center_crop(reader.read("test", domain, index), crop, crop) for index in range(count)])


def _check_crop(reader: ShardReader, crop: int) -> None:
    if not 1 <= crop <= reader.manifest.size:
        size = reader.manifest.size
        raise ValueError(f"cannot crop {crop} px from images of {size} px: lower the crop or build with --size {crop}")


def _close_all(files: list[int]) -> None:
    while files:
        os.close(files.pop())
