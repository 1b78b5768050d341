"""One shard: check and scale its images, write the tar, then the index whose mark makes it
count.
"""

import re
import tarfile
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from webdataset.writer import TarWriter

from pipelines.building.plan import Entry, Reject, ShardJob
from pipelines.building.sample import Sample, Unusable, prepare
from pipelines.building.shard_commit import ShardCommit, Tally, Tar, committed, read_commit
from pipelines.schema import BuildOptions, Shard
from pipelines.storage.atomic_files import atomic, sha256_of, write_table

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # of an object in memory, different in every run


class ShardResult(NamedTuple):
    """What one shard job made; `shard` is None if all of its images were rejected."""

    shard: Shard | None
    rejects: tuple[Reject, ...]
    tally: Tally


class _Stored(NamedTuple):
    entry: Entry
    changes: str
    width: int
    height: int

    @classmethod
    def of(cls, entry: Entry, sample: Sample) -> "_Stored":
        height, width = sample.pixels.shape[:2]
        return cls(entry, " ".join(sample.changes), width, height)


def build_shard(
    job: ShardJob,
    out: Path,
    options: BuildOptions,
    build: str,
    advance: Callable[[int], None] | None = None,
) -> ShardResult:
    """Build one shard and its index below `out`; unusable images are left out, never fatal.

    Args:
        job: the images.
        out: the data set's folder.
        options: of the build.
        build: its name, for the commit.
        advance: told the number of images done since the last call.
    """
    rejects: list[tuple[str, str, str]] = []
    stored: dict[str, _Stored] = {}
    tally = Tally()
    path = out / job.name
    with (
        warnings.catch_warnings(),
        atomic(path) as stream,
        TarWriter(stream, encoder=False, mtime=0) as tar,
    ):
        warnings.simplefilter("ignore")  # Pillow's remarks about odd files; what matters is raised
        for entry in job.entries:
            try:
                sample = prepare(entry, job, options)
            except Unusable as unusable:
                reason, detail = unusable.args
                rejects.append((entry.source, reason, _ADDRESS.sub("", detail)))
            else:
                tar.write({"__key__": entry.key, suffix(job): sample.data})
                stored[entry.key] = _Stored.of(entry, sample)
                tally += Tally.of(sample.pixels, sample.source_side, sample.changes)
            if advance:
                advance(1)
    _commit(
        path,
        suffix(job),
        stored,
        ShardCommit(build=build, tar=None, rejects=tuple(rejects), tally=tally),
    )
    result = built_already(job, out, build)
    assert result is not None
    return result


def built_already(job: ShardJob, out: Path, build: str) -> ShardResult | None:
    """The result of a shard that lies in `out` finished, by its commit and its length; None if it
    must be built.
    """
    path = out / job.name
    index = path.with_suffix(".parquet")
    commit = read_commit(index)
    if commit is None or commit.build != build:
        return None
    rejects = tuple(
        Reject(source, job.domain, reason, detail) for source, reason, detail in commit.rejects
    )
    if commit.tar is None:
        return ShardResult(None, rejects, commit.tally)
    if not path.is_file() or path.stat().st_size != commit.tar.bytes:
        return None
    shard = Shard(
        name=job.name,
        sha256=commit.tar.sha256,
        bytes=commit.tar.bytes,
        samples=commit.tar.samples,
        index_sha256=sha256_of(index),
        index_bytes=index.stat().st_size,
    )
    return ShardResult(shard, rejects, commit.tally)


def suffix(job: ShardJob) -> str:
    """Of the shard's members, without a dot."""
    return "png" if job.labels else "jpg"


def _commit(path: Path, ending: str, stored: Mapping[str, _Stored], commit: ShardCommit) -> None:
    """Write the index, which commits the tar; a tar without images is removed."""
    index = path.with_suffix(".parquet")
    if not stored:
        path.unlink()
        write_table(index, (), committed(commit))
        return
    tar = Tar(sha256=sha256_of(path), bytes=path.stat().st_size, samples=len(stored))
    write_table(
        index,
        list(_index_rows(path, ending, stored)),
        committed(commit.model_copy(update={"tar": tar})),
    )


def _index_rows(
    path: Path, ending: str, stored: Mapping[str, _Stored]
) -> Iterator[tuple[Any, ...]]:
    """One row of INDEX_SCHEMA per member of the tar, read back from what was written."""
    with tarfile.open(path, "r:") as tar:
        members = tar.getmembers()
        assert [member.name for member in members] == [f"{key}.{ending}" for key in stored]
        for member, (entry, changes, width, height) in zip(members, stored.values(), strict=True):
            data = tar.extractfile(member)
            assert data is not None
            crc32 = zlib.crc32(data.read())
            yield (
                entry.key,
                entry.source,
                entry.sha256,
                changes,
                member.offset_data,
                member.size,
                crc32,
                width,
                height,
            )
