"""Folders of images to WebDataset shards with an index per shard and a manifest.

Plan, build, finalize: the plan fixes which image goes where, each shard is one independent job, and
the manifest comes last. The same images and options give the same bytes, also after any number of
interruptions.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from operator import add
from pathlib import Path
from typing import NamedTuple, Unpack

from pydantic import ValidationError

from errors import UserError
from pipelines.building.inputs import IGNORED, HashCache
from pipelines.building.output_folder import (
    check_folders,
    claim,
    hashes_folder,
    refuse,
    tidy,
)
from pipelines.building.plan import Plan, Reject, ShardJob, make_plan
from pipelines.building.shard_commit import Tally, build_sha256, versions
from pipelines.building.shard_writer import ShardResult, build_shard, built_already
from pipelines.cluster import join_ray, told_here
from pipelines.progress import Advance, Progress, counter
from pipelines.schema import (
    MANIFEST_NAME,
    REJECTS_NAME,
    REJECTS_SCHEMA,
    BuildOptions,
    BuildSettings,
    Manifest,
    Shard,
    Split,
    first_error,
)
from pipelines.storage.atomic_files import atomic, sha256_of, write_table
from pipelines.storage.folder_lock import alone_in
from vqi2i.checking.typed import domain_name, meant

_BUSY = "is being built by another process: wait for it, or choose another folder"
_NOT_COUNTED = IGNORED | {"duplicate"}  # left out, but nothing is wrong with them


class BuildReport(NamedTuple):
    """What `build_shards` left behind."""

    root: Path
    manifest: Manifest
    built: int  # shards made by this call; the others were there already


def build_shards(
    domains: Mapping[str, Path],
    *,
    out: Path,
    workers: int = 0,
    reading: Progress | None = None,
    progress: Progress | None = None,
    max_reject_fraction: float = 0.1,
    **settings: Unpack[BuildSettings],
) -> BuildReport:
    """Build the data set `out` from one folder of images per domain; every image's short side
    becomes `size` pixels.

    Whatever lies in the folders is looked at: what cannot be used is left out and listed in
    rejects.parquet. The same call again continues an interrupted build; if `out` holds this very
    data set already, nothing is done.

    Args:
        domains: names and folders; with `split_halves` the left and the right domain, both with the
            same folder.
        out: the data set's folder.
        workers: Ray tasks at once, a shard each; 0 builds in this process.
        reading: told (files hashed, files in all), while the plan is made.
        progress: told (images done, images in all).
        max_reject_fraction: of the files that were meant as images; copies of others do not count.
        settings: see BuildOptions.

    Raises:
        UserError: a folder is missing or holds no image, a domain keeps no image, `out` holds
            something else or is being built already, the settings do not fit, or too large a share
            of the files cannot be used.
    """
    options = _options(domains, settings)
    check_folders(domains, out)
    plan = make_plan(domains, options, HashCache(hashes_folder(out)), reading)
    with alone_in(out, _BUSY):
        if (finished := claim(out, plan)) is not None:
            return BuildReport(out, finished, built=0)
        results, built = _build(plan, out, options, workers, progress)
        try:
            manifest = _finalize(out, tuple(domains), options, plan, results, max_reject_fraction)
        except UserError:
            refuse(out)
            raise
        tidy(out, plan, manifest)
    return BuildReport(out, manifest, built)


def _options(domains: Mapping[str, Path], settings: BuildSettings) -> BuildOptions:
    for domain in domains:
        domain_name(domain)
    try:
        options = BuildOptions.model_validate(settings)
    except ValidationError as error:
        raise UserError(f"the data set cannot be built: {first_error(error)}") from error
    if unknown := sorted(set(options.labels) - set(domains)):
        wrong = ", ".join(f"{name}{meant(name, domains)}" for name in unknown)
        raise UserError(f"labels name no domain: {wrong}; the domains are {', '.join(domains)}")
    if not options.split_halves:
        return options
    if len(domains) != 2 or len(set(domains.values())) != 1:
        raise UserError("halves are two domains of one folder: name the left and the right one")
    return options.model_copy(update={"paired": True})


def _build(
    plan: Plan, out: Path, options: BuildOptions, workers: int, progress: Progress | None
) -> tuple[list[ShardResult], int]:
    """The results of all jobs in their order, and how many had to be done."""
    build = build_sha256(plan.sha256)
    advance = counter(progress, total=sum(len(job.entries) for job in plan.jobs))
    results: dict[str, ShardResult] = {}
    missing: list[ShardJob] = []
    for job in plan.jobs:
        if (there := built_already(job, out, build)) is None:
            missing.append(job)
        else:
            results[job.name] = there
            advance(len(job.entries))
    if workers:
        results |= dict(_build_on_ray(missing, out.resolve(), options, build, workers, advance))
    else:
        results |= {job.name: build_shard(job, out, options, build, advance) for job in missing}
    return [results[job.name] for job in plan.jobs], len(missing)


def _build_on_ray(
    jobs: Sequence[ShardJob],
    out: Path,
    options: BuildOptions,
    build: str,
    workers: int,
    advance: Advance,
) -> Iterator[tuple[str, ShardResult]]:
    """The same as Ray tasks, `workers` at once, as they are done; Ray repeats tasks whose process
    dies.
    """
    import ray

    if jobs:
        join_ray()
    task = ray.remote(build_shard)
    running: dict[ray.ObjectRef, ShardJob] = {}
    waiting = iter(jobs)
    while True:
        while len(running) < workers and (job := next(waiting, None)) is not None:
            running[task.remote(_absolute(job), out, options, build)] = (
                job  # a worker's directory is another one
            )
        if not running:
            return
        for reference in ray.wait(list(running))[0]:
            job = running.pop(reference)
            with told_here():
                result = ray.get(reference)
            yield job.name, result
            advance(len(job.entries))


def _absolute(job: ShardJob) -> ShardJob:
    return job._replace(
        entries=tuple(entry._replace(path=entry.path.absolute()) for entry in job.entries)
    )


def _finalize(
    out: Path,
    domains: tuple[str, ...],
    options: BuildOptions,
    plan: Plan,
    results: Sequence[ShardResult],
    max_reject_fraction: float,
) -> Manifest:
    """Write the report of rejects, then the manifest, which makes the data set a finished one."""
    rejects = sorted(
        [*plan.rejects, *(reject for result in results for reject in result.rejects)],
        key=lambda reject: (reject.domain, reject.source),
    )
    write_table(out / REJECTS_NAME, rejects, REJECTS_SCHEMA)
    _check_rejects(out, plan, rejects, max_reject_fraction)
    tallies = {
        domain: reduce(
            add,
            (r.tally for j, r in zip(plan.jobs, results, strict=True) if j.domain == domain),
            Tally(),
        )
        for domain in domains
    }
    manifest = Manifest(
        domains=domains,
        options=options,
        plan=plan.sha256,
        splits=_splits(domains, options, plan, results, rejects),
        rejects=dict(sorted(Counter(reject.reason for reject in rejects).items())),
        rejects_sha256=sha256_of(out / REJECTS_NAME),
        statistics={domain: tally.statistics() for domain, tally in tallies.items()},
        versions=versions(),
    )
    with atomic(out / MANIFEST_NAME) as stream:
        stream.write(manifest.to_json().encode())
    return manifest


def _check_rejects(
    out: Path, plan: Plan, rejects: Sequence[Reject], max_reject_fraction: float
) -> None:
    unusable = Counter(reject.reason for reject in rejects if reject.reason not in _NOT_COUNTED)
    if unusable.total() > max_reject_fraction * plan.files:
        reasons = ", ".join(f"{count} {reason}" for reason, count in unusable.most_common())
        raise UserError(
            f"{unusable.total()} of {plan.files} files are unusable ({reasons}): "
            f"{out / REJECTS_NAME} names them; repair or remove them, or allow more with a larger "
            "reject fraction"
        )


def _splits(
    domains: tuple[str, ...],
    options: BuildOptions,
    plan: Plan,
    results: Sequence[ShardResult],
    rejects: Sequence[Reject],
) -> dict[Split, dict[str, tuple[Shard, ...]]]:
    made = [
        (job, result.shard) for job, result in zip(plan.jobs, results, strict=True) if result.shard
    ]
    splits: dict[Split, dict[str, tuple[Shard, ...]]] = {
        split: {
            d: tuple(shard for job, shard in made if (job.split, job.domain) == (split, d))
            for d in domains
        }
        for split in options.splits
    }
    tested = options.test_fraction > 0
    for domain in domains:
        _check_enough(
            domain, {split: shards[domain] for split, shards in splits.items()}, tested, rejects
        )
    return splits


def _check_enough(
    domain: str, shards: Mapping[Split, Sequence[Shard]], tested: bool, rejects: Sequence[Reject]
) -> None:
    """Raise a UserError if nothing is left of a domain to train on, or nothing to test on where
    that is asked for.
    """
    if shards["train"] and (shards["test"] or not tested):
        return
    count = sum(shard.samples for part in shards.values() for shard in part)
    reasons = Counter(reject.reason for reject in rejects if reject.domain == domain).most_common()
    because = (
        f" ({', '.join(f'{number} {reason}' for reason, number in reasons)})" if reasons else ""
    )
    needed = "one to train on and another to test on" if tested else "one to train on"
    raise UserError(
        f"domain {domain} has {count or 'no'} image{'' if count == 1 else 's'} that can be "
        f"used{because} and needs {needed}: give more images"
    )
