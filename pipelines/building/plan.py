"""The plan of a data set: which image goes into which shard, decided by the content of the files
alone.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from errors import UserError
from pipelines.building.inputs import IGNORED, HashCache, InputFile, list_files, read_files
from pipelines.progress import Progress, counter
from pipelines.schema import BuildOptions, Split, canonical_sha256, index_name

Half = Literal["left", "right"]


class Reject(NamedTuple):
    """A file that is not in the data set, and why."""

    source: str
    domain: str
    reason: str
    detail: str


class Entry(NamedTuple):
    """An image that goes into a shard under `key`; `source` is its path inside the domain's
    folder.
    """

    key: str
    path: Path
    source: str
    sha256: str  # of the file


class ShardJob(NamedTuple):
    """One shard to build, independent of all others; `name` is its path below the data set's
    root.
    """

    name: str
    split: Split
    domain: str
    entries: tuple[Entry, ...]
    labels: bool = False  # stored without loss and scaled without mixing colours
    half: Half | None = None  # of the file that is the image; None: all of it

    @property
    def index_name(self) -> str:
        """Path of the shard's index below the data set's root."""
        return index_name(self.name)


class Plan(NamedTuple):
    """All shards to build, and the files already known to be unusable."""

    jobs: tuple[ShardJob, ...]
    rejects: tuple[Reject, ...]
    files: int  # that were meant as images, once for each domain
    sha256: str  # of the options and of every such file's domain, name and content


class _Subject(NamedTuple):
    """What gets one key: an image, or the images of a pair by domain."""

    sha256: str
    files: dict[str, InputFile]


def make_plan(
    domains: Mapping[str, Path],
    options: BuildOptions,
    cache: HashCache,
    reading: Progress | None = None,
) -> Plan:
    """List and hash the files of every domain and deal the images to splits and shards.

    The split follows from the content's hash, so equal images never lie in two; the order inside is
    that of the hash. Small folders could leave a domain without a test image, or with nothing else,
    by chance: its last image by hash is one then, its first is none; likewise for validation, as
    long as images to train on are left.

    Args:
        domains: existing folders by name; with `split_halves` the same one for both.
        options: of the build.
        cache: of the files' hashes.
        reading: told (files hashed, files in all).

    Raises:
        UserError: a folder holds no image, or no two images of paired folders have the same name.
    """
    found = _read(domains, cache, reading)
    deal = _halve if options.split_halves else _pair if options.paired else _alone
    streams, rejects = deal(
        {domain: [f for f in files if not f.reason] for domain, files in found.items()}
    )
    rejects += [
        Reject(f.source, domain, f.reason, f.detail)
        for domain, files in found.items()
        for f in files
        if f.reason
    ]
    tested = _tested(streams, options.test_fraction)
    validated = _validated(streams, tested, options)
    jobs: list[ShardJob] = []
    planned = 0
    for subjects in streams:
        for split in options.splits:
            part = [subject for subject in subjects if _split(subject, tested, validated) == split]
            keys = [f"{planned + number:010d}" for number in range(len(part))]
            planned += len(part)
            for domain in subjects[0].files if subjects else ():
                files = [subject.files[domain] for subject in part]
                entries = [
                    Entry(key, f.path, f.source, f.sha256)
                    for key, f in zip(keys, files, strict=True)
                ]
                jobs += _jobs(split, domain, entries, options, _half(domain, domains, options))
    meant = {
        domain: [file for file in files if file.reason not in IGNORED]
        for domain, files in found.items()
    }
    identity = {
        domain: [(file.source, file.sha256) for file in files] for domain, files in meant.items()
    }
    sha256 = canonical_sha256([options.model_dump(), list(domains), identity])
    return Plan(tuple(jobs), tuple(rejects), sum(map(len, meant.values())), sha256)


def _read(
    domains: Mapping[str, Path], cache: HashCache, reading: Progress | None
) -> dict[str, list[InputFile]]:
    """The files of every domain; each folder is read once."""
    listed = {folder: list_files(folder) for folder in domains.values()}
    advance = counter(reading, total=sum(map(len, listed.values())))
    found = {
        folder: list(read_files(paths, folder, cache, advance)) for folder, paths in listed.items()
    }
    for domain, folder in domains.items():
        if all(file.reason for file in found[folder]):
            raise UserError(f"the folder of domain {domain}, {folder}, {_emptiness(found[folder])}")
    return {domain: found[folder] for domain, folder in domains.items()}


def _emptiness(files: Iterable[InputFile]) -> str:
    """What is said of a folder none of whose files can be used."""
    files = list(files)
    counted = Counter(file.reason for file in files).most_common()
    counts = ", ".join(f"{count} {reason}" for reason, count in counted)
    if meant := [file for file in files if file.reason not in IGNORED]:
        return f"holds no image that can be used ({counts}); {meant[0].source}: {meant[0].detail}"
    return f"holds no image{f', but {counts}' if counts else ''}: give a folder of images"


def _half(domain: str, domains: Mapping[str, Path], options: BuildOptions) -> Half | None:
    if not options.split_halves:
        return None
    return "left" if domain == next(iter(domains)) else "right"


def _jobs(
    split: Split, domain: str, entries: list[Entry], options: BuildOptions, half: Half | None
) -> list[ShardJob]:
    return [
        ShardJob(
            f"{split}/{domain}/{number:06d}.tar",
            split,
            domain,
            tuple(entries[start : start + options.shard_samples]),
            domain in options.labels,
            half,
        )
        for number, start in enumerate(range(0, len(entries), options.shard_samples))
    ]


def _alone(usable: Mapping[str, list[InputFile]]) -> tuple[list[list[_Subject]], list[Reject]]:
    """Each domain's files on their own, and the copies; an image that lies in two domains stays in
    the first.
    """
    rejects: list[Reject] = []
    first: dict[str, _Subject] = {}
    streams = [
        _unique([_Subject(file.sha256, {domain: file}) for file in files], first, rejects)
        for domain, files in usable.items()
    ]
    return streams, rejects


def _halve(usable: Mapping[str, list[InputFile]]) -> tuple[list[list[_Subject]], list[Reject]]:
    """Files that show both domains side by side as one stream, and the copies."""
    rejects: list[Reject] = []
    files = next(iter(usable.values()))
    return [
        _unique([_Subject(file.sha256, dict.fromkeys(usable, file)) for file in files], {}, rejects)
    ], rejects


def _pair(usable: Mapping[str, list[InputFile]]) -> tuple[list[list[_Subject]], list[Reject]]:
    """Files of the same name in all domains as one stream, and the rest."""
    named = {
        domain: {_stem(file.source): file for file in files} for domain, files in usable.items()
    }
    common = set.intersection(*(set(files) for files in named.values()))
    if not common:
        raise UserError(
            f"no image of {' and '.join(usable)} has the same name: pairs are found by name"
        )
    rejects: list[Reject] = []
    for domain, files in usable.items():
        for file in files:
            if named[domain][_stem(file.source)] is not file:
                rejects.append(
                    Reject(file.source, domain, "ambiguous_pair", "another file has the same name")
                )
            elif _stem(file.source) not in common:
                others = ", ".join(
                    other for other in usable if _stem(file.source) not in named[other]
                )
                rejects.append(
                    Reject(
                        file.source, domain, "unpaired", f"no usable image of this name in {others}"
                    )
                )
    pairs = [{domain: files[stem] for domain, files in named.items()} for stem in sorted(common)]
    subjects = [
        _Subject(canonical_sha256([file.sha256 for file in pair.values()]), pair) for pair in pairs
    ]
    return [_unique(subjects, {}, rejects)], rejects


def _stem(source: str) -> str:
    return PurePosixPath(source).with_suffix("").as_posix()


def _unique(
    subjects: Iterable[_Subject], first: dict[str, _Subject], rejects: list[Reject]
) -> list[_Subject]:
    """The subjects that are no exact copies of one in `first`, in order of their hash; copies join
    the rejects.
    """
    new: dict[str, _Subject] = {}
    for subject in subjects:
        if (kept := first.setdefault(subject.sha256, subject)) is subject:
            new[subject.sha256] = subject
            continue
        for domain, file in subject.files.items():
            owner, original = (
                (domain, kept.files[domain])
                if domain in kept.files
                else next(iter(kept.files.items()))
            )
            place = original.source if owner == domain else f"{original.source} of domain {owner}"
            rejects.append(Reject(file.source, domain, "duplicate", f"same bytes as {place}"))
    return [new[digest] for digest in sorted(new)]


def _split(subject: _Subject, tested: set[str], validated: set[str]) -> Split:
    if subject.sha256 in tested:
        return "test"
    return "validation" if subject.sha256 in validated else "train"


def _tested(streams: Iterable[list[_Subject]], test_fraction: float) -> set[str]:
    """Hashes of the subjects that are for testing, of all streams together."""
    hashes = [[subject.sha256 for subject in subjects] for subjects in streams]
    chosen = {h for stream in hashes for h in stream if _share(h) < test_fraction}
    if test_fraction > 0:
        several = [stream for stream in hashes if len(stream) > 1]
        chosen |= {stream[-1] for stream in several if chosen.isdisjoint(stream)}
        chosen -= {stream[0] for stream in several if chosen.issuperset(stream)}
    return chosen


def _validated(
    streams: Iterable[list[_Subject]], tested: set[str], options: BuildOptions
) -> set[str]:
    """Hashes of the subjects that are for validation, of all streams together; each keeps one to
    learn from.
    """
    chosen: set[str] = set()
    if not options.validation_fraction:
        return chosen
    bound = options.test_fraction + options.validation_fraction
    for subjects in streams:
        left = [subject.sha256 for subject in subjects if subject.sha256 not in tested]
        by_hash = [h for h in left if _share(h) < bound]
        chosen.update((by_hash or left[-1:])[: len(left) - 1])
    return chosen


def _share(sha256: str) -> float:
    """Where in [0, 1) a hash lies: the last digits decide, because the first ones already decide
    the order.
    """
    return int(sha256[-8:], 16) / 16**8
