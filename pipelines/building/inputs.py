"""The files of a folder: every one is found, opened once and named by its content, or by what is
wrong with it.
"""

import hashlib
import os
import stat
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from errors import UserError
from imaging.codec import SUFFIXES
from imaging.header import MAX_PIXELS
from imaging.kinds import HEAD_BYTES, ImageError, refuse_unreadable, sniff
from pipelines.progress import Advance
from pipelines.storage.atomic_files import entries, read_table, write_table

# of a file: nothing that is accepted needs more, and it is read as a whole
MAX_BYTES = 4 * MAX_PIXELS
IGNORED = frozenset({"hidden", "other_file"})  # reasons of files that nobody meant as images

_SAVE_EVERY = 5.0  # seconds
_AT_ONCE = 4096
_CACHE_SCHEMA = pa.schema(
    [("path", pa.string()), ("size", pa.int64()), ("mtime_ns", pa.int64()), ("sha256", pa.string())]
)


class InputFile(NamedTuple):
    """A file, or a folder that cannot be entered; `source` is its path inside the domain's
    folder.
    """

    path: Path
    source: str
    sha256: str  # empty if the file cannot be used
    reason: str  # why, in a word
    detail: str


class HashCache:
    """Hashes of files that have not changed since, so that an interrupted plan goes on where it
    was.

    Parquet files in a folder, one for every few seconds of work; a file is known by path, size and
    time of change.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._fresh: list[tuple[str, int, int, str]] = []
        self._saved = time.monotonic()
        self._known: dict[tuple[str, int, int], str] = {}
        for part in entries(folder):
            if part.suffix != ".parquet":
                continue
            try:
                rows = read_table(part.read_bytes(), _CACHE_SCHEMA).to_pylist()
            except UserError:  # damaged: its files are hashed again
                continue
            for row in rows:
                self._known[row["path"], row["size"], row["mtime_ns"]] = row["sha256"]

    def get(self, path: str, facts: os.stat_result) -> str | None:
        """The hash of a file, if it is known."""
        return self._known.get((path, facts.st_size, facts.st_mtime_ns))

    def add(self, path: str, facts: os.stat_result, sha256: str) -> None:
        """Remember a hash; now and then, what is new goes to the disk."""
        self._fresh.append((path, facts.st_size, facts.st_mtime_ns, sha256))
        if time.monotonic() - self._saved >= _SAVE_EVERY:
            # The process id keeps two processes apart that hash for the same folder, until one of
            # them is refused.
            name = f"{os.getpid()}-{time.monotonic_ns()}.parquet"
            write_table(self._folder / name, self._fresh, _CACHE_SCHEMA)
            self._fresh, self._saved = [], time.monotonic()


class _Seen(NamedTuple):
    file: InputFile
    facts: os.stat_result | None  # given if the hash is new


def list_files(folder: Path) -> list[Path | InputFile]:
    """Everything below `folder`, by name; what need not be opened is judged. Links to folders are
    followed once.
    """
    return list(_walk(folder))


def read_files(
    listed: Sequence[Path | InputFile], folder: Path, cache: HashCache, advance: Advance
) -> Iterator[InputFile]:
    """Hash what `list_files` has found in `folder`, in the same order; files that the cache knows
    are not read.
    """
    with ThreadPoolExecutor(4, "hash") as pool:
        for start in range(0, len(listed), _AT_ONCE):
            for seen in pool.map(
                lambda item: _look(item, folder, cache), listed[start : start + _AT_ONCE]
            ):
                if seen.facts is not None:
                    cache.add(_text(seen.file.path.absolute()), seen.facts, seen.file.sha256)
                yield seen.file
                advance(1)


def _walk(folder: Path) -> Iterator[Path | InputFile]:
    entered: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        path = waiting.pop()
        if path != folder and path.name.startswith("."):
            yield _unusable(path, folder, "hidden", "its name begins with a dot")
        elif not os.path.isdir(path):  # noqa: PTH112 -- Path.is_dir raises on a link that leads to itself
            yield path
        else:
            try:
                facts = path.stat()
                known = (facts.st_dev, facts.st_ino) in entered
                entered.add((facts.st_dev, facts.st_ino))
                inside = (
                    []
                    if known
                    else sorted(path.iterdir(), key=lambda p: os.fsencode(p.name), reverse=True)
                )
            except OSError as error:
                yield _unusable(path, folder, "unreadable", error.strerror or str(error))
                continue
            waiting += inside
            if known:
                yield _unusable(
                    path, folder, "unreadable", "a link to a folder that is read already"
                )


def _look(path: Path | InputFile, folder: Path, cache: HashCache) -> _Seen:
    if isinstance(path, InputFile):
        return _Seen(path, None)
    try:
        facts = path.stat()
        known = cache.get(_text(path.absolute()), facts)
        sha256 = known or _hash(path, facts)
    except ImageError as error:
        return _Seen(_unusable(path, folder, error.reason, str(error)), None)
    except OSError as error:
        return _Seen(_unusable(path, folder, "unreadable", error.strerror or str(error)), None)
    return _Seen(InputFile(path, _source(path, folder), sha256, "", ""), None if known else facts)


def _hash(path: Path, facts: os.stat_result) -> str:
    if not stat.S_ISREG(facts.st_mode):
        raise ImageError("a pipe, socket or device", "not_a_file")
    if facts.st_size > MAX_BYTES:
        raise ImageError(f"the file has {facts.st_size} bytes, more than {MAX_BYTES}", "too_large")
    with path.open("rb") as stream:
        kind = sniff(stream.read(HEAD_BYTES))
        refuse_unreadable(kind)
        if kind is None and path.suffix.lower() not in SUFFIXES:
            raise ImageError("neither an image's name nor an image's first bytes", "other_file")
        stream.seek(0)
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        if stream.tell() == 0:
            raise ImageError("the file has 0 bytes", "empty")
    return sha256


def _unusable(path: Path, folder: Path, reason: str, detail: str) -> InputFile:
    return InputFile(path, _source(path, folder), "", reason, detail)


def _source(path: Path, folder: Path) -> str:
    return _text(path.relative_to(folder))


def _text(path: Path) -> str:
    # File names are bytes: what is no UTF-8 is escaped, for the reports and indexes hold text.
    return path.as_posix().encode("utf-8", "backslashreplace").decode()
