"""Files of remote data sets on this machine: fetched once for all of its processes, checked, and
bounded in size.
"""

import hashlib
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout
from pydantic import Field

from errors import UserError
from vqi2i.checking.frozen import Frozen
from vqi2i.checking.typed import at_home

_log = logging.getLogger(__name__)
_OURS = re.compile(r"[0-9a-f]{64}(\.part)?")  # whatever else lies in the folder is somebody's


class CacheSettings(Frozen):
    """Where files of remote data sets are kept on each machine, and how many."""

    folder: str = "~/.cache/vqi2i/shards"
    gigabytes: float = Field(
        default=64.0,
        ge=0,
        allow_inf_nan=False,
        description="0: remote shards are read in ranges, nothing is kept",
    )

    @property
    def limit(self) -> int:
        """The most that is kept, in bytes."""
        return int(self.gigabytes * 1e9)


class ShardCache:
    """A folder of files named by the sha256 of their content; the least recently opened make room
    for new ones.
    """

    def __init__(self, settings: CacheSettings):
        self.limit = settings.limit
        self._folder = at_home(settings.folder)
        (self._folder / "locks").mkdir(parents=True, exist_ok=True)

    def holds(self, sha256: str, size: int) -> bool:
        """Whether a file is here and whole."""
        try:
            return (self._folder / sha256).stat().st_size == size
        except FileNotFoundError:
            return False

    def open(self, name: str, sha256: str, size: int, fetch: Callable[[BinaryIO], None]) -> int:
        """Descriptor of a file with this content, which `fetch` writes if it is not here yet.

        Once it is open, nobody's need for room takes the file away.

        Raises:
            UserError: the fetched bytes have another sha256, or there is no room for them.
        """
        if (file := self._open(sha256, size)) is not None:
            return file
        # the other processes of this machine wait here and find what the first one fetched
        with self._lock(sha256):
            if (file := self._open(sha256, size)) is None:
                self._fetch(name, sha256, size, fetch)
                file = self._open(sha256, size)
                assert file is not None
            return file

    def _open(self, sha256: str, size: int) -> int | None:
        try:
            file = os.open(self._folder / sha256, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        status = os.fstat(file)
        if status.st_size != size:
            os.close(file)
            return None
        # most file systems are mounted so that reading does not set the time of access
        os.utime(file)
        return file

    def _fetch(self, name: str, sha256: str, size: int, fetch: Callable[[BinaryIO], None]) -> None:
        part = self._folder / f"{sha256}.part"
        try:
            self._reserve(part, size)
            with part.open("r+b") as stream:
                fetch(stream)
                stream.truncate()
                stream.flush()
                stream.seek(0)
                if hashlib.file_digest(stream, "sha256").hexdigest() != sha256:
                    raise UserError(
                        f"{name} is not the file that the manifest names: upload the data set again"
                    )
                os.fsync(stream.fileno())
            # whoever counts files meanwhile would miss one that has just changed its name
            with self._room():
                part.replace(self._folder / sha256)
        finally:
            with self._room():
                part.unlink(missing_ok=True)
        _log.info("%s: fetched %.1f MB", name, size / 1e6)

    def _reserve(self, part: Path, size: int) -> None:
        """Remove the files that were not opened for longest until `size` bytes fit, and take
        those.
        """
        with self._room():
            part.unlink(missing_ok=True)
            files = [
                (path, path.stat()) for path in self._folder.iterdir() if _OURS.fullmatch(path.name)
            ]
            excess = sum(status.st_size for _, status in files) + size - self.limit
            for path, status in sorted(files, key=lambda file: file[1].st_atime_ns):
                if excess > 0 and self._remove(path):
                    excess -= status.st_size
            if excess > 0:
                raise UserError(
                    f"the cache {self._folder} has no room for {size / 1e9:.3g} GB more: enlarge it"
                )
            try:
                with part.open("wb") as stream:
                    os.posix_fallocate(stream.fileno(), 0, size)
            except OSError as error:
                raise UserError(
                    f"{self._folder} cannot take {size / 1e9:.3g} GB more: {error.strerror}"
                ) from error

    def _room(self) -> FileLock:
        """Held by whoever counts the files, or changes which there are."""
        return FileLock(self._folder / "locks" / "room")

    def _remove(self, path: Path) -> bool:
        """Delete a file unless it is just being fetched."""
        try:
            with self._lock(path.stem, timeout=0):
                path.unlink(missing_ok=True)
                return True
        except Timeout:
            return False

    def _lock(self, sha256: str, timeout: float = -1) -> FileLock:
        return FileLock(self._folder / "locks" / sha256, timeout=timeout)
