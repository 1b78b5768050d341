"""One shard: check and scale its images, write the tar, then the index that makes it count."""

import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from webdataset.writer import TarWriter

import imaging
from pipelines.plan import Entry, Reject, ShardJob
from pipelines.schema import INDEX_SCHEMA, Shard

MAX_ASPECT = 8  # a longer image would give crops of almost nothing
_EXIF_ORIENTATION = 0x0112


class ShardResult(NamedTuple):
    """What one shard job made; `shard` is None if all of its images were rejected."""

    shard: Shard | None
    rejects: tuple[Reject, ...]
    enlarged: int
    copied: int


class _Sample(NamedTuple):
    data: bytes  # JPEG, or PNG for label maps
    width: int
    height: int
    enlarged: bool
    copied: bool


class _Unusable(Exception):  # noqa: N818
    """Raised with (reason, detail)."""


def build_shard(job: ShardJob, out: Path, size: int, advance: Callable[[int], None] | None = None) -> ShardResult:
    """Build one shard and its index below `out`; unusable images are left out, never fatal."""
    rejects: list[Reject] = []
    made: dict[str, tuple[Entry, _Sample]] = {}
    path = out / job.name
    with atomic(path) as stream, TarWriter(stream, encoder=False, mtime=0) as tar:
        for entry in job.entries:
            try:
                sample = _prepare(entry.path, size, labels=job.labels)
            except _Unusable as unusable:
                rejects.append(Reject(entry.source, job.domain, *unusable.args))
            else:
                tar.write({"__key__": entry.key, _suffix(job): sample.data})
                made[entry.key] = entry, sample._replace(data=b"")
            if advance:
                advance(1)
    if not made:
        path.unlink()
        return ShardResult(None, tuple(rejects), 0, 0)
    index = (out / job.name).with_suffix(".parquet")
    write_table(index, list(_index_rows(path, _suffix(job), made)), INDEX_SCHEMA)
    shard = Shard(
        name=job.name, sha256=_sha256(path), bytes=path.stat().st_size, samples=len(made),
        index_sha256=_sha256(index), index_bytes=index.stat().st_size,
    )  # fmt: skip
    enlarged, copied = sum(s.enlarged for _, s in made.values()), sum(s.copied for _, s in made.values())
    return ShardResult(shard, tuple(rejects), enlarged, copied)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _suffix(job: ShardJob) -> str:
    return "png" if job.labels else "jpg"


def _index_rows(path: Path, suffix: str, made: Mapping[str, tuple[Entry, _Sample]]) -> Iterator[tuple[Any, ...]]:
    """One row of INDEX_SCHEMA per member of the tar, read back from what was written."""
    with tarfile.open(path, "r:") as tar:
        members = tar.getmembers()
        assert [member.name for member in members] == [f"{key}.{suffix}" for key in made]
        for member, (entry, sample) in zip(members, made.values(), strict=True):
            stored = tar.extractfile(member)
            assert stored is not None
            crc32 = zlib.crc32(stored.read())
            yield entry.key, entry.source, member.offset_data, member.size, crc32, sample.width, sample.height


def _prepare(path: Path, size: int, *, labels: bool) -> _Sample:
    """Read, check and scale one image, or label map."""
    try:
        data = path.read_bytes()
        pixels = imaging.decode(data)
        height, width = pixels.shape[:2]
        if max(height, width) > MAX_ASPECT * min(height, width):
            raise _Unusable("too_elongated", f"{width}x{height} is longer than {MAX_ASPECT}:1")
        if min(height, width) == size and not labels and _is_plain_jpeg(data):
            return _Sample(data, width, height, enlarged=False, copied=True)
        scaled = imaging.resize_short_side(pixels, size, nearest=labels)
        encoded = imaging.encode(scaled, "png" if labels else "jpeg")
        return _Sample(encoded, scaled.shape[1], scaled.shape[0], min(height, width) < size, copied=False)
    except _Unusable:
        raise
    except imaging.ImageError as error:
        raise _Unusable("not_an_image", str(error)) from error
    except OSError as error:
        raise _Unusable("unreadable", error.strerror or str(error)) from error
    except Exception as error:  # one odd file must not end a build of millions
        raise _Unusable(f"error:{type(error).__name__}", str(error)) from error


def _is_plain_jpeg(data: bytes) -> bool:
    """Whether every decoder shows the same pixels: an RGB or gray JPEG without an EXIF orientation."""
    with Image.open(io.BytesIO(data)) as header:
        plain = header.format == "JPEG" and header.mode in {"RGB", "L"}
        return plain and header.getexif().get(_EXIF_ORIENTATION, 1) == 1


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under its name only when it is complete and on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def write_table(path: Path, rows: Iterable[tuple[Any, ...]], schema: pa.Schema) -> None:
    """Write `rows`, whose values are in the order of `schema`, as parquet."""
    table = pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema)
    with atomic(path) as stream:
        pq.write_table(table, stream)
