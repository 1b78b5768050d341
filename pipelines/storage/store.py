"""A folder or a bucket that is written to: every file appears when it is complete."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
from pyarrow import fs

from pipelines.storage.atomic_files import atomic
from pipelines.storage.remote import StorageError, local_folder, with_retries

_BUCKETS = ("s3://", "gs://")
_CHUNK = 2**22

Result = TypeVar("Result")


class Store:
    """Files below a folder, or below an address at s3:// or gs:// whose query sets options such as
    endpoint_override.

    Raises:
        StorageError: nothing here can write to such an address.
    """

    def __init__(self, root: str | Path):
        folder = local_folder(root)
        if folder is None and not str(root).startswith(_BUCKETS):
            raise StorageError(
                f"{root} cannot be written to: give a folder, or an address at s3:// or gs://"
            )
        self.root = str(root).partition("?")[0].rstrip("/")
        self.folder = folder.absolute() if folder is not None else None
        try:
            self.fs, base = fs.FileSystem.from_uri(str(self.folder or root))
        except (pa.ArrowException, OSError) as error:
            raise StorageError(
                f"{self.root} cannot be opened ({error}): check address and credentials"
            ) from error
        self.base = base.rstrip("/")

    def write(self, source: Path | bytes, name: str) -> None:
        """Write a file; an older one of that name stays until the new one is complete.

        Raises:
            StorageError: the place cannot be reached or written to, or is full.
        """
        self._with_retries(name, "written", lambda: self._write(source, name))

    def read(self, name: str) -> bytes | None:
        """All bytes of a file, None if it does not exist.

        Raises:
            StorageError: the place cannot be reached.
        """

        def get() -> bytes | None:
            try:
                with self.fs.open_input_stream(self._path(name)) as stream:
                    return stream.read()
            except FileNotFoundError:
                return None

        return self._with_retries(name, "read", get)

    def read_start(self, name: str, size: int) -> bytes | None:
        """Up to `size` bytes from a file's beginning, None if it does not exist; raises as `read`
        does.
        """

        def get() -> bytes | None:
            try:
                with self.fs.open_input_file(self._path(name)) as stream:
                    return stream.read_at(size, 0)
            except FileNotFoundError:
                return None

        return self._with_retries(name, "read", get)

    def names(self) -> list[str]:
        """Files that lie directly here, sorted; raises as `read` does."""
        selector = fs.FileSelector(self.base, allow_not_found=True)
        found = self._with_retries("", "listed", lambda: self.fs.get_file_info(selector))
        return sorted(info.base_name for info in found if info.type == fs.FileType.File)

    def size(self, name: str) -> int | None:
        """Length of a file in bytes, None if it does not exist."""
        return self._with_retries(
            name, "read", lambda: self.fs.get_file_info(self._path(name)).size
        )

    def delete(self, name: str) -> None:
        """Remove a file; nothing happens if there is none."""

        def remove() -> None:
            try:
                self.fs.delete_file(self._path(name))
            except FileNotFoundError:
                return

        self._with_retries(name, "deleted", remove)

    def _write(self, source: Path | bytes, name: str) -> None:
        if self.folder is not None:
            with atomic(self.folder / name) as stream:
                _copy(source, stream.write)
        else:  # an object appears when its upload ends
            with self.fs.open_output_stream(self._path(name)) as stream:
                _copy(source, stream.write)

    def _with_retries(self, name: str, done: str, action: Callable[[], Result]) -> Result:
        """Do something, again after a pause if a network fails."""
        failures = (pa.ArrowException, OSError)
        try:
            return action() if self.folder is not None else with_retries(action, again=failures)
        except failures as error:
            reason = _reason(error)
            check = (
                "check address, credentials and network"
                if self.folder is None
                else "check space and rights"
            )
            raise StorageError(
                f"{self.root}/{name} cannot be {done} ({reason.strip()}): {check}"
            ) from error

    def _path(self, name: str) -> str:
        return f"{self.base}/{name}"


def _reason(error: Exception) -> str:
    """Why something failed, in few words: Arrow puts the system's among its own."""
    if code := re.search(r"\[errno (\d+)\]", str(error)):
        return os.strerror(int(code[1]))
    return (isinstance(error, OSError) and error.strerror) or str(error)


def join(root: str | Path, name: str) -> str:
    """The address of a folder below a folder or below an address at s3:// or gs://."""
    if local_folder(root) is not None:
        return f"{root}/{name}"
    address, mark, query = str(root).partition("?")
    return f"{address.rstrip('/')}/{name}{mark}{query}"


def _copy(source: Path | bytes, write: Callable[[bytes], object]) -> None:
    if isinstance(source, bytes):
        write(source)
        return
    with source.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            write(chunk)
