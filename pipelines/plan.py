"""The plan of a data set: which image goes into which shard, decided by the content of the files alone."""

import hashlib
import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from imaging.codec import SUFFIXES
from pipelines.schema import SPLITS, BuildOptions, Split, canonical_sha256

_log = logging.getLogger(__name__)


class Reject(NamedTuple):
    """A file that is not in the data set, and why."""

    source: str
    domain: str
    reason: str
    detail: str


class Entry(NamedTuple):
    """An image that goes into a shard under `key`; `source` is its path inside the domain's folder."""

    key: str
    path: Path
    source: str


class ShardJob(NamedTuple):
    """One shard to build, independent of all others; `name` is its path below the data set's root."""

    name: str
    split: Split
    domain: str
    entries: tuple[Entry, ...]


class Plan(NamedTuple):
    """All shards to build, and the files already known to be unusable."""

    jobs: tuple[ShardJob, ...]
    rejects: tuple[Reject, ...]
    files: int
    sha256: str  # of the options and of every file's domain, name and content


class _File(NamedTuple):
    path: Path
    source: str
    sha256: str  # empty if the file is unusable
    reason: str
    detail: str


def make_plan(domains: Mapping[str, Path], options: BuildOptions) -> Plan:
    """List and hash the images of every domain and deal them to splits and shards.

    The split follows from the content's hash, so equal images never lie in both; the order inside is that of the hash.
    Small folders could leave a domain without a test image by chance: its last image by hash is one then.

    Raises:
        ValueError: a folder does not exist or holds no image.
    """
    found = {domain: _hash_all(_list_images(domain, folder), folder) for domain, folder in domains.items()}
    usable = {domain: _unique(domain, files) for domain, files in found.items()}
    tested = _tested({domain: unique for domain, (unique, _) in usable.items()}, options.test_fraction)
    rejects: list[Reject] = []
    jobs: list[ShardJob] = []
    planned = 0
    for domain, (unique, unused) in usable.items():
        rejects += unused
        for split in SPLITS:
            part = [file for file in unique if (file.sha256 in tested) == (split == "test")]
            entries = [Entry(f"{planned + i:010d}", file.path, file.source) for i, file in enumerate(part)]
            planned += len(entries)
            for number, start in enumerate(range(0, len(entries), options.shard_samples)):
                chunk = tuple(entries[start : start + options.shard_samples])
                jobs.append(ShardJob(f"{split}/{domain}/{number:06d}.tar", split, domain, chunk))
    identity = {domain: [(f.source, f.sha256) for f in files] for domain, files in found.items()}
    sha256 = canonical_sha256([options.model_dump(), list(domains), identity])
    return Plan(tuple(jobs), tuple(rejects), sum(map(len, found.values())), sha256)


def _list_images(domain: str, folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ValueError(f"the folder of domain {domain}, {folder}, does not exist: give a folder of images")
    visible = [p for p in folder.rglob("*") if not any(part.startswith(".") for part in p.relative_to(folder).parts)]
    files = [path for path in visible if path.is_file() or (path.is_symlink() and not path.is_dir())]
    images = sorted(path for path in files if path.suffix.lower() in SUFFIXES)
    if not images:
        raise ValueError(f"the folder of domain {domain}, {folder}, holds no image ({', '.join(sorted(SUFFIXES))})")
    if len(files) > len(images):
        _log.info("%s: %d files without an image's suffix are ignored", folder, len(files) - len(images))
    return images


def _hash_all(paths: list[Path], folder: Path) -> list[_File]:
    with ThreadPoolExecutor(4, "hash") as pool:
        return list(pool.map(lambda path: _hash(path, folder), paths))


def _hash(path: Path, folder: Path) -> _File:
    # File names are bytes: what is no UTF-8 is escaped, for the reports and indexes hold text.
    source = path.relative_to(folder).as_posix().encode("utf-8", "backslashreplace").decode()
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            empty = stream.tell() == 0
    except OSError as error:
        return _File(path, source, "", "unreadable", error.strerror or str(error))
    return _File(path, source, "", "empty", "the file has 0 bytes") if empty else _File(path, source, digest, "", "")


def _unique(domain: str, files: Iterable[_File]) -> tuple[list[_File], list[Reject]]:
    """The usable files without exact copies, in order of their hash, and the rest."""
    first: dict[str, _File] = {}
    rejects: list[Reject] = []
    for file in files:
        if file.reason:
            rejects.append(Reject(file.source, domain, file.reason, file.detail))
        elif file.sha256 in first:
            rejects.append(Reject(file.source, domain, "duplicate", f"same bytes as {first[file.sha256].source}"))
        else:
            first[file.sha256] = file
    return [first[digest] for digest in sorted(first)], rejects


def _tested(usable: Mapping[str, list[_File]], test_fraction: float) -> set[str]:
    """Hashes of the images that are held out, of all domains together."""
    # The last digits decide, because the first ones already decide the order.
    hashes = {domain: [file.sha256 for file in files] for domain, files in usable.items()}
    chosen = {h for files in hashes.values() for h in files if int(h[-8:], 16) < test_fraction * 16**8}
    if test_fraction > 0:
        chosen |= {files[-1] for files in hashes.values() if len(files) > 1 and chosen.isdisjoint(files)}
    return chosen
