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
    labels: bool = False  # stored without loss and scaled without mixing colours


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
        ValueError: a folder does not exist or holds no image, or no two images of paired folders have the same name.
    """
    if unknown := set(options.labels) - set(domains):
        raise ValueError(f"labels name no domain: {', '.join(sorted(unknown))}; the domains are {', '.join(domains)}")
    found = {domain: _hash_all(_list_images(domain, folder), folder) for domain, folder in domains.items()}
    streams, rejects = _pair(found) if options.paired else _alone(found)
    tested = _tested(streams, options.test_fraction)
    jobs: list[ShardJob] = []
    planned = 0
    for subjects in streams:
        for split in SPLITS:
            part = [subject for subject in subjects if (subject.sha256 in tested) == (split == "test")]
            keys = [f"{planned + number:010d}" for number in range(len(part))]
            planned += len(part)
            for domain in subjects[0].files if subjects else ():
                files = [subject.files[domain] for subject in part]
                entries = [Entry(key, file.path, file.source) for key, file in zip(keys, files, strict=True)]
                jobs += _jobs(split, domain, entries, options)
    identity = {domain: [(f.source, f.sha256) for f in files] for domain, files in found.items()}
    sha256 = canonical_sha256([options.model_dump(), list(domains), identity])
    return Plan(tuple(jobs), tuple(rejects), sum(map(len, found.values())), sha256)


def _jobs(split: Split, domain: str, entries: list[Entry], options: BuildOptions) -> list[ShardJob]:
    return [
        ShardJob(
            f"{split}/{domain}/{number:06d}.tar", split, domain,
            tuple(entries[start : start + options.shard_samples]), domain in options.labels,
        )
        for number, start in enumerate(range(0, len(entries), options.shard_samples))
    ]  # fmt: skip


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


class _Subject(NamedTuple):
    """What gets one key: an image, or the images of a pair by domain."""

    sha256: str
    files: dict[str, _File]


def _alone(found: Mapping[str, list[_File]]) -> tuple[list[list[_Subject]], list[Reject]]:
    """Each domain's usable files on their own, and the rest."""
    streams: list[list[_Subject]] = []
    rejects: list[Reject] = []
    for domain, files in found.items():
        usable = [_Subject(file.sha256, {domain: file}) for file in files if not file.reason]
        rejects += [Reject(f.source, domain, f.reason, f.detail) for f in files if f.reason]
        streams.append(_unique(usable, rejects))
    return streams, rejects


def _pair(found: Mapping[str, list[_File]]) -> tuple[list[list[_Subject]], list[Reject]]:
    """Files of the same name in all domains as one stream, and the rest."""
    usable = {d: {_stem(f.source): f for f in files if not f.reason} for d, files in found.items()}
    common = set.intersection(*(set(files) for files in usable.values()))
    if not common:
        raise ValueError(f"no image of {' and '.join(found)} has the same name: pairs are found by name")
    rejects: list[Reject] = []
    for domain, files in found.items():
        for file in files:
            if file.reason:
                rejects.append(Reject(file.source, domain, file.reason, file.detail))
            elif usable[domain].get(_stem(file.source)) is not file:
                rejects.append(Reject(file.source, domain, "ambiguous_pair", "another file has the same name"))
            elif _stem(file.source) not in common:
                others = ", ".join(other for other in found if _stem(file.source) not in usable[other])
                rejects.append(Reject(file.source, domain, "unpaired", f"no usable image of this name in {others}"))
    pairs = [{domain: files[stem] for domain, files in usable.items()} for stem in sorted(common)]
    subjects = [_Subject(canonical_sha256([file.sha256 for file in pair.values()]), pair) for pair in pairs]
    return [_unique(subjects, rejects)], rejects


def _stem(source: str) -> str:
    return source.rpartition(".")[0]


def _unique(subjects: Iterable[_Subject], rejects: list[Reject]) -> list[_Subject]:
    """The subjects without exact copies, in order of their hash; copies join the rejects."""
    first: dict[str, _Subject] = {}
    for subject in subjects:
        kept = first.setdefault(subject.sha256, subject)
        if kept is not subject:
            rejects += [
                Reject(file.source, domain, "duplicate", f"same bytes as {kept.files[domain].source}")
                for domain, file in subject.files.items()
            ]
    return [first[digest] for digest in sorted(first)]


def _tested(streams: Iterable[list[_Subject]], test_fraction: float) -> set[str]:
    """Hashes of the subjects that are held out, of all streams together."""
    # The last digits decide, because the first ones already decide the order.
    hashes = [[subject.sha256 for subject in subjects] for subjects in streams]
    chosen = {h for stream in hashes for h in stream if int(h[-8:], 16) < test_fraction * 16**8}
    if test_fraction > 0:
        chosen |= {stream[-1] for stream in hashes if len(stream) > 1 and chosen.isdisjoint(stream)}
    return chosen
