"""Every byte of a data set against what its manifest and indexes say."""

import hashlib
import os
import tarfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import imaging
from errors import UserError
from pipelines.progress import Progress, counter
from pipelines.schema import INDEX_SCHEMA, REJECTS_NAME, Manifest, Shard
from pipelines.storage.atomic_files import read_table, sha256_of

_BLOCK = tarfile.BLOCKSIZE


class Damage(NamedTuple):
    """One place where a data set is not what was written."""

    file: str  # below the root of the data set
    key: str  # of the sample; empty if no sample is concerned
    what: str

    def __str__(self) -> str:
        sample = f" sample {self.key}:" if self.key else ""
        return f"{self.file}:{sample} {self.what}"


def verify(root: Path, progress: Progress | None = None) -> list[Damage]:
    """Read every file of the data set in `root` again; an empty list says that nothing has changed.

    Tars and indexes are compared with their hashes; a tar that differs is taken apart, so that the
    sample is named.

    Args:
        root: of the data set.
        progress: told (images done, images in all).

    Raises:
        UserError: there is no manifest, or it cannot be used.
    """
    manifest = Manifest.load(root)
    shards = list(manifest.shards())
    advance = counter(progress, total=sum(shard.samples for shard in shards))
    damages: list[Damage] = []
    with ThreadPoolExecutor(os.cpu_count(), "verify") as pool:
        for shard, found in zip(
            shards, pool.map(lambda shard: _check(root, shard), shards), strict=True
        ):
            damages += found
            advance(shard.samples)
    rejects = root / REJECTS_NAME
    if not rejects.is_file() or sha256_of(rejects) != manifest.rejects_sha256:
        damages.append(Damage(REJECTS_NAME, "", "it is missing or its bytes have changed"))
    return damages


def _check(root: Path, shard: Shard) -> list[Damage]:
    rows, damages = _read_index(root, shard)
    try:
        with (root / shard.name).open("rb") as stream:
            return damages + _check_tar(stream, shard, rows)
    except OSError as error:
        return [*damages, Damage(shard.name, "", f"it cannot be read ({error.strerror})")]


def _read_index(root: Path, shard: Shard) -> tuple[list[dict[str, Any]], list[Damage]]:
    """The rows of a shard's index, none if it is damaged, and the damage."""
    try:
        data = (root / shard.index_name).read_bytes()
    except OSError as error:
        return [], [Damage(shard.index_name, "", f"it cannot be read ({error.strerror})")]
    if len(data) != shard.index_bytes:
        return [], [
            Damage(shard.index_name, "", f"it has {len(data)} bytes instead of {shard.index_bytes}")
        ]
    if hashlib.sha256(data).hexdigest() != shard.index_sha256:
        return [], [Damage(shard.index_name, "", "its bytes have changed")]
    try:
        return read_table(data, INDEX_SCHEMA).to_pylist(), []
    except UserError as error:
        return [], [Damage(shard.index_name, "", f"it was written damaged ({error})")]


def _check_tar(stream: BinaryIO, shard: Shard, rows: list[dict[str, Any]]) -> list[Damage]:
    whole = _Hashed(stream)
    damages = [Damage(shard.name, key, what) for key, what in _walk(whole, shard, rows)]
    if whole.hexdigest() != shard.sha256 and not damages:
        damages.append(Damage(shard.name, "", "its bytes have changed"))
    return damages


class _Hashed:
    """A file that is read once, from its beginning to its end, and hashed on the way."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self._digest = hashlib.sha256()
        self.position = 0

    def read(self, count: int) -> bytes:
        data = self._stream.read(count)
        self._digest.update(data)
        self.position += len(data)
        return data

    def hexdigest(self) -> str:
        """Of the whole file, whose rest is read now."""
        while self.read(1 << 20):
            pass
        return self._digest.hexdigest()


def _walk(tar: _Hashed, shard: Shard, rows: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """(key, what is wrong) of every sample of the index, in the order of the file."""
    for row in rows:
        key = row["key"]
        header = tar.read(row["offset"] - tar.position)
        data = tar.read(row["size"])
        padding = tar.read(-row["size"] % _BLOCK)
        if len(data) < row["size"]:
            yield key, f"the shard is cut at byte {tar.position}, before the end of this sample"
            return
        if not _is_header(header, key, row["size"]):
            yield key, "its tar header has changed"
        if zlib.crc32(data) != row["crc32"]:
            yield key, "its bytes have changed"
        elif wrong := _decoded_otherwise(data, row):
            yield key, wrong
        if any(padding):
            yield key, "the padding behind it has changed"
    if not rows:
        return
    end = tar.position
    rest = tar.read(max(0, shard.bytes - end) + 1)
    if len(rest) != shard.bytes - end:
        last = rows[-1]["key"]
        yield (
            "",
            f"it has {end + len(rest)} bytes instead of {shard.bytes}, counted from the end of "
            f"sample {last}",
        )
    elif any(rest):
        yield "", "the padding at its end has changed"


def _is_header(data: bytes, key: str, size: int) -> bool:
    """Whether these are the header's bytes as they are written for such a member; nothing in it is
    free to change.
    """
    try:
        info = tarfile.TarInfo.frombuf(data, "ascii", "strict")
        same = info.name.partition(".")[0] == key and info.size == size
        return same and info.tobuf(tarfile.USTAR_FORMAT) == data
    except (tarfile.HeaderError, ValueError):
        return False


def _decoded_otherwise(data: bytes, row: dict[str, Any]) -> str:
    try:
        height, width = imaging.decode(data).shape[:2]
    except imaging.ImageError as error:
        return f"it was stored damaged ({error})"
    same = (height, width) == (row["height"], row["width"])
    return (
        ""
        if same
        else f"it is {width}x{height}, not {row['width']}x{row['height']} as its index says"
    )
