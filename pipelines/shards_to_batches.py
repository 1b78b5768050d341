"""WebDataset shards to uint8 training batches, read through the index instead of streamed.

Which samples form a batch, and how they are augmented, follows from (seed, domain, position) alone:
batches are the same for any number of threads or ranks and after a resume.
"""

import logging
from collections import deque
from collections.abc import Collection, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import NamedTuple

import cv2
import numpy as np

import imaging
from errors import UserError
from imaging.codec import Pixels
from pipelines.reading.augment import Augmentation
from pipelines.reading.blocks import BlockReader, block_numbers
from pipelines.reading.order import WINDOW, Order, OrderKind, sample_key
from pipelines.reading.reader import CorruptSample, Samples, ShardReader
from pipelines.schema import Split

_log = logging.getLogger(__name__)


class Batch(NamedTuple):
    """One rank's part of a global batch."""

    pixels: np.ndarray  # uint8 (domains, global_batch / world_size, crop, crop, 3)
    domains: tuple[str, ...]
    position: int  # images of each domain seen, over all ranks, before this global batch
    replaced: tuple[
        str, ...
    ] = ()  # a sentence for every damaged sample in whose place stands the next one

    @property
    def images(self) -> dict[str, np.ndarray]:
        """The pixels by domain."""
        return dict(zip(self.domains, self.pixels, strict=True))


class _Stream(NamedTuple):
    """What is drawn together: the images of one domain, or the pairs of all."""

    name: str
    domains: tuple[str, ...]
    rows: dict[str, np.ndarray]  # per domain: stored index of the stream's n-th sample
    order: Order
    ahead: int  # samples whose blocks are asked for in advance; 0 where there are none


class Batches:
    """The endless sequence of training batches of one rank, addressed by position.

    Each domain is an independent stream that is permuted anew every epoch; pairs are one stream,
    cut and mirrored alike. Global batch k covers the positions k * global_batch + [0,
    global_batch); rank r of W takes the r-th of W equal parts of it. A damaged sample is replaced
    by the one after it in the epoch.

    Args:
        reader: the data set.
        domains: names of the domains, in the order of the batches.
        crop: side of the crops in pixels.
        global_batch: images of each domain, over all ranks.
        seed: of order and augmentation.
        split: which images.
        rank: of this process.
        world_size: number of processes.
        threads: batches made at once.
        flip: whether half of the images are mirrored.
        jitter: see `Augmentation`; label maps keep their colours.
        paired: the images of a pair stand at the same place.
        order: a full permutation, or one that keeps samples together which are stored together.
        max_corrupt: different damaged samples after which `iterate` fails.

    Raises:
        UserError: the options do not fit each other or the data set.
        ValueError: no thread is to load data.
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
        jitter: float = 0.0,
        paired: bool = False,
        order: OrderKind = "samples",
        max_corrupt: int = 0,
    ) -> None:
        if global_batch < 1 or global_batch % world_size:
            raise UserError(
                f"global batch {global_batch} cannot be shared by {world_size} workers: use a "
                "multiple of it"
            )
        if threads < 1:
            raise ValueError(f"threads is {threads}: at least 1 must load data")
        if reader.files.in_ranges and order != "blocks":
            raise UserError(
                f"{reader.root} is read without a cache: set order=blocks, or every image would "
                "be one request"
            )
        _check_crop(reader, crop)
        assert 0 <= rank < world_size
        self._samples: dict[str, Samples] = {
            domain: reader.samples(split, domain) for domain in domains
        }
        self._streams = _streams(
            reader, split, tuple(domains), seed=seed, paired=paired, order=order
        )
        self._sources: dict[str, Samples | BlockReader] = dict(self._samples)
        self._reader = reader
        self._seed = seed
        self._threads = threads
        self._crop = crop
        self._augment = Augmentation(crop, flip=flip, jitter=jitter)
        self._domains = {domain: number for number, domain in enumerate(domains)}
        self._max_corrupt = max_corrupt
        self.global_batch = global_batch
        self.local_batch = global_batch // world_size
        self._first = rank * self.local_batch
        self._corrupt: set[str] = set()

    def at(self, position: int) -> Batch:
        """The batch that starts at `position`, a multiple of the global batch; a pure function of
        it.
        """
        if position < 0 or position % self.global_batch:
            raise UserError(
                f"position {position} is no multiple of the global batch {self.global_batch}: go "
                "on with one that fits"
            )
        pixels = np.empty(
            (len(self._domains), self.local_batch, self._crop, self._crop, 3), np.uint8
        )
        replaced: list[str] = []
        for stream in self._streams:
            for row in range(self.local_batch):
                place = position + self._first + row
                for domain, image in self._read(stream, place, replaced).items():
                    out = pixels[self._domains[domain], row]
                    self._augment(
                        image,
                        out,
                        sample_key(self._seed, stream.name, place),
                        self._color(domain, place),
                    )
        return Batch(pixels, tuple(self._domains), position, tuple(replaced))

    def names(self, position: int, rank: int) -> list[str]:
        """Where the images of a rank's part of the batch at `position` lie; those of damaged ones
        stand for others.
        """
        first = position + rank * self.local_batch
        return [
            self._samples[domain].place(int(stream.rows[domain][stream.order.at(place)]))
            for stream in self._streams
            for place in range(first, first + self.local_batch)
            for domain in stream.domains
        ]

    def iterate(self, start: int = 0) -> Generator[Batch, None, None]:
        """Endless batches from position `start` on, loaded ahead in threads; closing the generator
        stops them.

        Raises:
            CorruptSample: more than `max_corrupt` different samples are damaged.
        """
        with ExitStack() as stack:
            shards = [shard for samples in self._samples.values() for shard in samples.shards]
            stack.enter_context(self._reader.files.fetching(shards))
            if self._reader.files.in_ranges:
                stack.callback(self._sources.update, self._samples)
                blocks = {
                    d: stack.enter_context(closing(BlockReader(s)))
                    for d, s in self._samples.items()
                }
                self._sources.update(blocks)
            pool = ThreadPoolExecutor(
                self._threads, "batches", initializer=cv2.setNumThreads, initargs=(0,)
            )
            stack.callback(pool.shutdown, wait=True, cancel_futures=True)
            pending: deque[Future[Batch]] = deque()
            upcoming = start
            while True:
                # one batch waits while each thread makes another
                while len(pending) <= self._threads:
                    if self._reader.files.in_ranges:
                        self._ask_ahead(upcoming, first=upcoming == start)
                    pending.append(pool.submit(self.at, upcoming))
                    upcoming += self.global_batch
                yield self._counted(pending.popleft().result())

    def _counted(self, batch: Batch) -> Batch:
        for sentence in batch.replaced:
            if sentence not in self._corrupt:
                self._corrupt.add(sentence)
                _log.warning("%s; the next image takes its place", sentence)
        self._check_corrupt(self._corrupt)
        return batch

    def _check_corrupt(self, sentences: Collection[str]) -> None:
        if len(sentences) > self._max_corrupt:
            raise CorruptSample(
                f"{len(sentences)} samples are damaged, more than max_corrupt={self._max_corrupt}:"
                f" {'; '.join(sorted(sentences)[:5])}"
            )

    def _read(self, stream: _Stream, position: int, replaced: list[str]) -> dict[str, Pixels]:
        """The images of one place; what is damaged takes its partners along, and is noted."""
        for skip in range(stream.order.count):
            number = stream.order.at(position, skip=skip)
            try:
                return {
                    d: self._sources[d].read(int(stream.rows[d][number])) for d in stream.domains
                }
            except CorruptSample as error:
                replaced.append(str(error))
                self._check_corrupt(set(replaced))
        raise CorruptSample(
            f"{self._reader.root}: no sample of {stream.name} can be read; {replaced[-1]}"
        )

    def _color(self, domain: str, position: int) -> int | None:
        if not self._augment.varies_colors or domain in self._reader.manifest.options.labels:
            return None
        return sample_key(self._seed, f"colors of {domain}", position)

    def _ask_ahead(self, position: int, *, first: bool) -> None:
        """Start to fetch the blocks of a batch that comes later; at the beginning, of all until
        then.
        """
        for stream in self._streams:
            steps = -(-stream.ahead // self.global_batch)
            for step in range(steps + 1) if first else (steps,):
                begin = position + step * self.global_batch + self._first
                for place in range(begin, begin + self.local_batch):
                    number = stream.order.at(place)
                    for domain in stream.domains:
                        if isinstance(source := self._sources[domain], BlockReader):
                            source.want(int(stream.rows[domain][number]))


def held_out(
    reader: ShardReader, domain: str, *, crop: int, limit: int, split: Split = "test"
) -> np.ndarray:
    """Centre crops of the first `limit` images of a split and domain, in stored order: uint8 (n,
    crop, crop, 3).

    Raises:
        UserError: there are none, or they are smaller than `crop`.
    """
    _check_crop(reader, crop)
    count = min(limit, reader.count(split, domain))
    if count < 1:
        raise UserError(
            f"{reader.root} has no {split} images of {domain}: build it with a larger {split} "
            "fraction"
        )
    return np.stack(
        [
            imaging.center_crop(pixels, crop, crop)
            for pixels in reader.read_some(split, domain, range(count))
        ]
    )


def _streams(
    reader: ShardReader,
    split: Split,
    domains: tuple[str, ...],
    *,
    seed: int,
    paired: bool,
    order: OrderKind,
) -> list[_Stream]:
    if paired:
        rows = reader.pairs(split, domains)
        parts = [("+".join(domains), domains, rows)]
    else:
        parts = [
            (domain, (domain,), {domain: np.arange(reader.count(split, domain))})
            for domain in domains
        ]
    streams = []
    for name, members, rows in parts:
        blocks = _blocks(reader, split, rows) if order == "blocks" else None
        count = len(rows[members[0]])
        if count == 0:
            raise UserError(
                f"{reader.root} has no {split} images of {name}: build it from more images"
            )
        ahead = (
            min(count, count * WINDOW // (2 * (int(blocks[-1]) + 1))) if blocks is not None else 0
        )
        streams.append(
            _Stream(
                name,
                members,
                rows,
                Order(seed=seed, stream=name, count=count, blocks=blocks),
                ahead,
            )
        )
    return streams


def _blocks(reader: ShardReader, split: Split, rows: dict[str, np.ndarray]) -> np.ndarray:
    """Blocks of a stream's samples: those of the domain that has most, so that no partner has many
    more.
    """
    numbers = [
        block_numbers(reader.samples(split, domain))[index] for domain, index in rows.items()
    ]
    _, renumbered = np.unique(
        max(numbers, key=lambda blocks: blocks[-1] if len(blocks) else 0), return_inverse=True
    )
    return renumbered


def _check_crop(reader: ShardReader, crop: int) -> None:
    if not 1 <= crop <= reader.manifest.size:
        size = reader.manifest.size
        raise UserError(
            f"cannot crop {crop} px from images of {size} px: lower the crop or build with --size "
            f"{crop}"
        )
