"""Random access to the images of a data set through the index of each shard."""

import logging
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from pathlib import Path

import numpy as np
import pyarrow as pa

import imaging
from errors import UserError
from imaging.codec import Pixels
from pipelines.schema import INDEX_SCHEMA, SPLITS, Shard, Split
from pipelines.storage.atomic_files import read_table
from pipelines.storage.remote import IN_FLIGHT
from pipelines.storage.shard_cache import CacheSettings
from pipelines.storage.shard_files import ShardFiles, open_files, read_indexes

_log = logging.getLogger(__name__)
_COLUMNS = ("key", "offset", "size", "crc32", "width", "height")


class CorruptSample(UserError):  # noqa: N818
    """The stored bytes of a sample have changed; the message names shard and key."""


class Samples:
    """The images of one split and domain in stored order; safe to use from several threads.

    Attributes:
        keys: their keys, rising.
        shard, offset, size: (count,) where each image lies: number of the shard, place in it and
            length in bytes.
        width, height: (count,) in pixels.
    """

    def __init__(self, files: ShardFiles, shards: tuple[Shard, ...], tables: Sequence[pa.Table]):
        # The empty one gives the columns where a domain has no shard.
        table = pa.concat_tables(
            [INDEX_SCHEMA.empty_table().select(_COLUMNS), *tables]
        ).combine_chunks()
        self.files = files
        self.shards = shards
        # (count,): rows of the index come shard by shard
        self.shard = np.repeat(
            np.arange(len(shards), dtype=np.int32), [shard.samples for shard in shards]
        )
        self.keys = table["key"]
        self.offset, self.size, self.crc32, self.width, self.height = (
            table[name].to_numpy() for name in _COLUMNS[1:]
        )

    def __len__(self) -> int:
        return len(self.shard)

    def read(self, index: int) -> Pixels:
        """Decode image number `index` (0-based, stored order) to uint8 (h, w, 3).

        Raises:
            CorruptSample: its bytes do not have the checksum they were written with, or are no
                image.
        """
        shard = self.shards[self.shard[index]]
        return self.decode(
            index, self.files.read(shard, int(self.offset[index]), int(self.size[index]))
        )

    def decode(self, index: int, data: bytes) -> Pixels:
        """Pixels of image number `index` from its bytes; raises as `read` does."""
        # Before decoding: many damaged images decode all the same.
        if zlib.crc32(data) != int(self.crc32[index]):
            raise CorruptSample(
                f"{self.name(index)} have changed: restore the shard from a copy, or delete it "
                "and run `vqi2i data shard` again"
            )
        try:
            return imaging.decode(data)
        except imaging.ImageError as error:
            raise CorruptSample(f"{self.name(index)} cannot be decoded: {error}") from error

    def read_near(self, index: int) -> Pixels:
        """Image number `index`, or the next one that is whole; what is left out is logged.

        Raises:
            CorruptSample: none is whole.
        """
        for skip in range(len(self)):
            try:
                return self.read((index + skip) % len(self))
            except CorruptSample as error:
                _log.warning("%s; the next image takes its place", error)
                if skip == len(self) - 1:
                    raise
        raise IndexError(index)

    def name(self, index: int) -> str:
        """An image for people: its shard and key."""
        return (
            f"{self.files.root}/{self.shards[self.shard[index]].name}: the bytes of sample "
            f"{self.keys[index]}"
        )

    def place(self, index: int) -> str:
        """An image in few words: the path of its shard in the data set, and its key."""
        return f"{self.shards[self.shard[index]].name}:{self.keys[index]}"


class ShardReader:
    """The images of a data set at a folder or an address such as `s3://bucket/folder`.

    Args:
        root: where the data set lies.
        cache: where files of a remote one are kept.

    Raises:
        UserError: there is no data set, or a shard or its index is missing or is not what the
            manifest names.
    """

    def __init__(self, root: str | Path, cache: CacheSettings | None = None) -> None:
        self.root = str(root)
        self.files = open_files(root, cache or CacheSettings())
        self.manifest = self.files.manifest()
        self.files.check(self.manifest.shards())
        self._samples = {
            (split, domain): self._open(self.manifest.of(split, domain))
            for split in SPLITS
            for domain in self.manifest.domains
        }

    def count(self, split: Split, domain: str) -> int:
        """Number of images of one domain in one split."""
        return len(self.samples(split, domain))

    def read(self, split: Split, domain: str, index: int) -> Pixels:
        """Decode one image: see `Samples.read`."""
        return self.samples(split, domain).read(index)

    def read_some(self, split: Split, domain: str, indices: Iterable[int]) -> list[Pixels]:
        """Decode some images, in threads; see `Samples.read_near` for damaged ones."""
        with ThreadPoolExecutor(IN_FLIGHT, "reader") as pool:
            return list(pool.map(self.samples(split, domain).read_near, map(int, indices)))

    def samples(self, split: Split, domain: str) -> Samples:
        """The images of one domain in one split."""
        if (split, domain) not in self._samples:
            known = ", ".join(self.manifest.domains)
            raise UserError(
                f"{self.root} has no domain {domain!r} in {split!r}: its domains are {known}"
            )
        return self._samples[split, domain]

    def pairs(self, split: Split, domains: Sequence[str]) -> dict[str, np.ndarray]:
        """Indices of the images that show the same thing in all of these domains, in one order.

        Raises:
            UserError: the data set was not built as a paired one, or the images of a pair differ in
                size.
        """
        if not self.manifest.options.paired:
            raise UserError(
                f"{self.root} holds no pairs: build it with `vqi2i data shard --paired`"
            )
        samples = {domain: self.samples(split, domain) for domain in domains}
        keys = {domain: each.keys.to_numpy().astype(str) for domain, each in samples.items()}
        common = reduce(np.intersect1d, keys.values())
        # Keys rise, so that their places are found by bisection.
        rows = {domain: np.searchsorted(keys[domain], common) for domain in domains}
        # (domains, 2, pairs): width and height
        sizes = np.stack([np.stack([s.width, s.height])[:, rows[d]] for d, s in samples.items()])
        if (different := (sizes != sizes[0]).any(axis=(0, 1))).any():
            raise UserError(
                f"{self.root}: the images of pair {common[different][0]} differ in size: scale "
                "them first"
            )
        return rows

    def _open(self, shards: tuple[Shard, ...]) -> Samples:
        tables = [
            self._table(shard, data)
            for shard, data in zip(shards, read_indexes(self.files, shards), strict=True)
        ]
        return Samples(self.files, shards, tables)

    def _table(self, shard: Shard, data: bytes) -> pa.Table:
        path = f"{self.files.root}/{shard.index_name}"
        try:
            table = read_table(data, INDEX_SCHEMA, _COLUMNS)
        except UserError as error:
            raise UserError(
                f"{path} cannot be read ({error}): run `vqi2i data shard` again"
            ) from error
        if table.num_rows != shard.samples:
            raise UserError(
                f"{path} lists {table.num_rows} samples, not {shard.samples}: run `vqi2i data "
                "shard` again"
            )
        return table
