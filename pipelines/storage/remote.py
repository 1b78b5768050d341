"""Remote places that hold a data set: `s3://` and `gs://` buckets, web servers, and whatever else
fsspec opens.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import pyarrow as pa
from pyarrow import fs

from errors import UserError
from vqi2i.checking.typed import at_home

IN_FLIGHT = 8  # requests at once
_DOWNLOAD_BYTES = 8 * 2**20  # of one request when a whole file is fetched
_PAUSES = (0.2, 1.0, 5.0)  # seconds before a failed request is made again

Result = TypeVar("Result")


class StorageError(UserError):
    """A file cannot be read where it should lie; the message names it."""


Failures = type[BaseException] | tuple[type[BaseException], ...]


def with_retries(
    action: Callable[[], Result], *, again: Failures, at_once: Failures = ()
) -> Result:
    """Do something, again after a pause if it fails as networks do; the last failure is raised.

    Args:
        action: what is done.
        again: failures that may pass.
        at_once: those among them that will not.
    """
    for pause in _PAUSES:
        try:
            return action()
        except at_once:
            raise
        except again:
            time.sleep(pause)
    return action()


def local_folder(root: str | Path) -> Path | None:
    """The folder that `root` names on this machine, None if it is an address elsewhere."""
    text = str(root)
    if text.startswith("file://"):
        return Path(text.removeprefix("file://"))
    return None if "://" in text else at_home(text)


class Remote(ABC):
    """Files below an address, read whole or in ranges; safe to use from several threads."""

    def __init__(self, root: str):
        self.root = root.rstrip("/")

    def read(self, name: str) -> bytes:
        """All bytes of a small file.

        Raises:
            StorageError: it does not exist or cannot be read.
        """
        return self._with_retries(name, lambda: self._read(name))

    def read_range(self, name: str, start: int, size: int) -> bytes:
        """`size` bytes from `start` on, in one request.

        Raises:
            StorageError: the file does not exist, is too short or cannot be read.
        """

        def get() -> bytes:
            data = self._read_range(name, start, size)
            if len(data) > size:
                raise StorageError(
                    f"{self.root}/{name}: the server answers a range with the whole file: read "
                    "through the cache"
                )
            if len(data) < size:
                raise OSError(f"{len(data)} bytes instead of {size}")
            return data

        return self._with_retries(name, get)

    def sizes(self, names: Sequence[str]) -> list[int | None]:
        """Length of each file in bytes, None where there is none."""
        with ThreadPoolExecutor(IN_FLIGHT, "sizes") as pool:
            return list(
                pool.map(lambda name: self._with_retries(name, lambda: self._size(name)), names)
            )

    @abstractmethod
    def download(self, name: str, target: BinaryIO, size: int) -> None:
        """Write a file of `size` bytes to `target`."""

    @abstractmethod
    def _read(self, name: str) -> bytes: ...

    @abstractmethod
    def _read_range(self, name: str, start: int, size: int) -> bytes: ...

    @abstractmethod
    def _size(self, name: str) -> int | None: ...

    def _with_retries(self, name: str, get: Callable[[], Result]) -> Result:
        """Call `get`, again after a pause if the network fails."""
        try:
            # Network libraries have no exception in common.
            return with_retries(get, again=Exception, at_once=(StorageError, FileNotFoundError))
        except StorageError:
            raise
        except FileNotFoundError as error:
            raise StorageError(f"{self.root}/{name} does not exist: check the address") from error
        except Exception as error:
            raise StorageError(
                f"{self.root}/{name} cannot be read ({error}): check address, credentials and "
                "network"
            ) from error


class _Bucket(Remote):
    """S3 or Google Cloud Storage, through pyarrow; the query of an address sets options such as
    endpoint_override.
    """

    def __init__(self, root: str):
        address, _, _ = root.partition("?")
        super().__init__(address)
        try:
            self._fs, base = fs.FileSystem.from_uri(root)
        except (pa.ArrowException, OSError) as error:
            raise StorageError(
                f"{root} cannot be opened ({error}): check address and credentials"
            ) from error
        self._base = base.rstrip("/")
        # Opening asks for the length, which would double the requests.
        self._open = lru_cache(maxsize=1024)(
            lambda name: self._fs.open_input_file(self._path(name))
        )

    def download(self, name: str, target: BinaryIO, size: int) -> None:
        """Fetch several ranges at once."""
        starts = range(0, size, _DOWNLOAD_BYTES)
        with ThreadPoolExecutor(IN_FLIGHT // 2, "download") as pool:
            for first in range(0, len(starts), IN_FLIGHT):  # bounds what is held in memory
                some = starts[first : first + IN_FLIGHT]
                for part in pool.map(
                    lambda start: self.read_range(name, start, min(_DOWNLOAD_BYTES, size - start)),
                    some,
                ):
                    target.write(part)

    def _read(self, name: str) -> bytes:
        with self._fs.open_input_stream(self._path(name)) as stream:
            return stream.read()

    def _read_range(self, name: str, start: int, size: int) -> bytes:
        return self._open(name).read_at(size, start)

    def _size(self, name: str) -> int | None:
        return self._fs.get_file_info(self._path(name)).size

    def _path(self, name: str) -> str:
        return f"{self._base}/{name}"


class _Web(Remote):
    """A web server, or any other protocol that fsspec knows."""

    def __init__(self, root: str):
        import fsspec

        super().__init__(root)
        try:
            self._fs: Any = fsspec.core.url_to_fs(self.root)[0]
        except (ImportError, ValueError) as error:
            raise StorageError(f"{root} cannot be opened: {error}") from error

    def download(self, name: str, target: BinaryIO, size: int) -> None:
        """Fetch in one stream, which every server can do."""

        def get() -> None:
            target.seek(0)
            self._fs.get_file(self._path(name), target)

        self._with_retries(name, get)

    def _read(self, name: str) -> bytes:
        return self._fs.cat_file(self._path(name))

    def _read_range(self, name: str, start: int, size: int) -> bytes:
        return self._fs.cat_file(self._path(name), start=start, end=start + size)

    def _size(self, name: str) -> int | None:
        try:
            return self._fs.info(self._path(name))["size"]
        except FileNotFoundError:
            return None

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}"


def open_remote(root: str) -> Remote:
    """The files below an address such as `s3://bucket/folder` or `https://server/folder`.

    Raises:
        StorageError: nothing here can open such an address.
    """
    return _Bucket(root) if root.startswith(("s3://", "gs://")) else _Web(root)
