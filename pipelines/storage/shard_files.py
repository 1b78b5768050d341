"""The files of one data set as bytes, wherever they lie."""

import hashlib
import os
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from errors import UserError
from pipelines.schema import MANIFEST_NAME, Manifest, Shard
from pipelines.storage.remote import IN_FLIGHT, Remote, local_folder, open_remote
from pipelines.storage.shard_cache import CacheSettings, ShardCache

_OPEN_FILES = 256  # a process may open about 1,000


class ShardFiles(ABC):
    """Bytes of the shards of one data set; safe to use from several threads."""

    root: str
    in_ranges = False  # whether every read is a request over the network

    @abstractmethod
    def manifest(self) -> Manifest:
        """The data set's manifest.

        Raises:
            UserError: there is none, or it cannot be used.
        """

    @abstractmethod
    def check(self, shards: Iterable[Shard]) -> None:
        """Raise a UserError that names a shard which is missing or has another length than it
        should.
        """

    @abstractmethod
    def read(self, shard: Shard, offset: int, size: int) -> bytes:
        """Up to `size` bytes of a shard."""

    @contextmanager
    def fetching(self, shards: Iterable[Shard]) -> Iterator[None]:
        """Meanwhile, bring these shards to this machine, if they are to be kept here."""
        yield

    def index(self, shard: Shard) -> bytes:
        """The shard's index.

        Raises:
            UserError: it is missing or not the one that was written.
        """
        data = self._read_index(shard)
        if hashlib.sha256(data).hexdigest() != shard.index_sha256:
            raise UserError(
                f"{self.root}/{shard.index_name} has changed: run `vqi2i data shard` again"
            )
        return data

    @abstractmethod
    def _read_index(self, shard: Shard) -> bytes: ...


class LocalFiles(ShardFiles):
    """A folder on this machine."""

    def __init__(self, root: Path):
        self.root = str(root)
        self._folder = root
        self._files = _OpenFiles(self._open)

    def manifest(self) -> Manifest:
        """See `Manifest.load`."""
        return Manifest.load(self._folder)

    def check(self, shards: Iterable[Shard]) -> None:
        """Compare lengths."""
        for shard in shards:
            path = self._folder / shard.name
            try:
                have = path.stat().st_size
            except OSError as error:
                raise self._missing(path, error) from error
            if have != shard.bytes:
                raise UserError(
                    f"{path} has {have} bytes instead of {shard.bytes}: run `vqi2i data shard` "
                    "again"
                )

    def read(self, shard: Shard, offset: int, size: int) -> bytes:
        """See the base class."""
        return self._files.read(shard, offset, size)

    def _open(self, shard: Shard) -> int:
        path = self._folder / shard.name
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise self._missing(path, error) from error

    def _read_index(self, shard: Shard) -> bytes:
        path = self._folder / shard.index_name
        try:
            return path.read_bytes()
        except OSError as error:
            raise self._missing(path, error) from error

    @staticmethod
    def _missing(path: Path, error: OSError) -> UserError:
        return UserError(
            f"{path} cannot be opened ({error.strerror}): run `vqi2i data shard` again"
        )


class RangeFiles(ShardFiles):
    """A remote data set of which nothing is kept: every read is one request."""

    in_ranges = True

    def __init__(self, remote: Remote):
        self.root = remote.root
        self._remote = remote

    def manifest(self) -> Manifest:
        """The remote manifest."""
        return Manifest.parse(self._remote.read(MANIFEST_NAME), f"{self.root}/{MANIFEST_NAME}")

    def check(self, shards: Iterable[Shard]) -> None:
        """Ask for lengths, several at once."""
        shards = tuple(shards)
        for shard, have in zip(
            shards, self._remote.sizes([shard.name for shard in shards]), strict=True
        ):
            if have != shard.bytes:
                found = (
                    "is missing" if have is None else f"has {have} bytes instead of {shard.bytes}"
                )
                raise UserError(f"{self.root}/{shard.name} {found}: upload the data set again")

    def read(self, shard: Shard, offset: int, size: int) -> bytes:
        """See the base class."""
        return self._remote.read_range(shard.name, offset, size)

    def _read_index(self, shard: Shard) -> bytes:
        return self._remote.read(shard.index_name)


class CachedFiles(RangeFiles):
    """A remote data set whose shards are fetched when they are first needed."""

    in_ranges = False

    def __init__(self, remote: Remote, cache: ShardCache):
        super().__init__(remote)
        self._cache = cache
        self._files = _OpenFiles(self._open)

    def check(self, shards: Iterable[Shard]) -> None:
        """Ask for the lengths of what is not here yet, and see that the cache can hold all."""
        shards = tuple(shards)
        if (total := sum(shard.bytes + shard.index_bytes for shard in shards)) > self._cache.limit:
            raise UserError(
                f"{self.root} has {total / 1e9:.3g} GB and the cache may hold "
                f"{self._cache.limit / 1e9:.3g} GB: enlarge it with --cache-gb, or read without "
                "it: --cache-gb 0 --set order=blocks"
            )
        super().check(shard for shard in shards if not self._cache.holds(shard.sha256, shard.bytes))

    def read(self, shard: Shard, offset: int, size: int) -> bytes:
        """See the base class."""
        return self._files.read(shard, offset, size)

    @contextmanager
    def fetching(self, shards: Iterable[Shard]) -> Iterator[None]:
        """Fetch in the background; what fails will fail again, and be told, when it is read."""
        pool = ThreadPoolExecutor(IN_FLIGHT // 2, "fetch")
        for shard in shards:
            pool.submit(lambda shard=shard: os.close(self._open(shard)))
        try:
            yield
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _open(self, shard: Shard) -> int:
        return self._cache.open(
            f"{self.root}/{shard.name}",
            shard.sha256,
            shard.bytes,
            lambda target: self._remote.download(shard.name, target, shard.bytes),
        )

    def _read_index(self, shard: Shard) -> bytes:
        file = self._cache.open(
            f"{self.root}/{shard.index_name}",
            shard.index_sha256,
            shard.index_bytes,
            lambda target: self._remote.download(shard.index_name, target, shard.index_bytes),
        )
        with os.fdopen(file, "rb") as stream:
            return stream.read()


def open_files(root: str | Path, cache: CacheSettings) -> ShardFiles:
    """The files of the data set at a folder or an address.

    Raises:
        StorageError: nothing here can open such an address.
    """
    if (folder := local_folder(root)) is not None:
        return LocalFiles(folder)
    remote = open_remote(str(root))
    return CachedFiles(remote, ShardCache(cache)) if cache.limit else RangeFiles(remote)


def read_manifest(root: str | Path) -> Manifest:
    """The manifest of the data set at a folder or an address.

    Raises:
        UserError: there is none, or it cannot be used.
    """
    folder = local_folder(root)
    return (
        Manifest.load(folder)
        if folder is not None
        else RangeFiles(open_remote(str(root))).manifest()
    )


def read_indexes(files: ShardFiles, shards: Iterable[Shard]) -> list[bytes]:
    """The indexes of several shards, fetched together."""
    with ThreadPoolExecutor(IN_FLIGHT, "indexes") as pool:
        return list(pool.map(files.index, shards))


class _OpenFiles:
    """Descriptors of the shards read last."""

    def __init__(self, opener: Callable[[Shard], int]):
        self._opener = opener
        self._lock = threading.Lock()
        self._files: OrderedDict[str, _Descriptor] = OrderedDict()

    def read(self, shard: Shard, offset: int, size: int) -> bytes:
        file = self._descriptor(shard)  # held by name: it would be closed before it is read from
        return os.pread(file.number, size, offset)

    def _descriptor(self, shard: Shard) -> "_Descriptor":
        with self._lock:
            if (file := self._files.get(shard.name)) is not None:
                self._files.move_to_end(shard.name)
                return file
        file = _Descriptor(self._opener(shard))
        with self._lock:
            file = self._files.setdefault(shard.name, file)
            if len(self._files) > _OPEN_FILES:
                self._files.popitem(last=False)
        return file


class _Descriptor:
    """An open file that is closed when the last thread has done with it."""

    def __init__(self, number: int):
        self.number = number

    def __del__(self) -> None:
        os.close(self.number)
