"""Folders of images to WebDataset shards with an index per shard and a manifest.

Plan, build, finalize: the plan fixes which image goes where, each shard is one independent job, and the manifest comes
last. The same images and options give the same bytes.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter, ValidationError

import imaging
from imaging.codec import Pixels
from pipelines.plan import Plan, Reject, ShardJob, make_plan
from pipelines.schema import (
    MANIFEST_NAME,
    REJECTS_NAME,
    REJECTS_SCHEMA,
    SPLITS,
    BuildOptions,
    DomainName,
    Manifest,
    Shard,
    Split,
    first_error,
)
from pipelines.shard_writer import ShardResult, atomic, build_shard, write_table
from pipelines.shards_to_batches import ShardReader

_PLAN_NAME = "plan.json"  # marks an unfinished data set as ours

Progress = Callable[[int, int], None]  # images done, images in all


class BuildReport(NamedTuple):
    """What `build_shards` left behind."""

    root: Path
    manifest: Manifest
    built: bool  # False if the same data set was there already


class Row(NamedTuple):
    """One line of the table that describes a data set."""

    split: Split
    domain: str
    images: int
    shards: int
    bytes: int


def build_shards(
    domains: Mapping[str, Path],
    *,
    out: Path,
    size: int,
    test_fraction: float = 0.1,
    shard_samples: int = 2048,
    local: bool = True,
    paired: bool = False,
    labels: Sequence[str] = (),
    progress: Progress | None = None,
    max_reject_fraction: float = 0.1,
) -> BuildReport:
    """Build the data set `out` from one folder of images per domain; every image's short side becomes `size` pixels.

    With `paired`, images of the same name in all folders show the same thing and share a key. `labels` names the
    domains of label maps. Unusable files are left out and listed in rejects.parquet. With `local=False` every shard is
    a Ray task. If `out` holds this very data set already, nothing is done.

    Raises:
        ValueError: a folder is missing or holds no image, a domain keeps no image, `out` holds something else, or more
            than `max_reject_fraction` of the files are unusable.
    """
    try:
        TypeAdapter(tuple[DomainName, ...]).validate_python(tuple(domains))
        options = BuildOptions(
            size=size, test_fraction=test_fraction, shard_samples=shard_samples, paired=paired, labels=tuple(labels)
        )
    except ValidationError as error:
        raise ValueError(f"the data set cannot be built: {first_error(error)}") from error
    plan = make_plan(domains, options)
    if (manifest := _claim(out, plan)) is not None:
        return BuildReport(out, manifest, built=False)
    advance = _counter(progress, total=sum(len(job.entries) for job in plan.jobs))
    if local:
        results = [build_shard(job, out, size, advance) for job in plan.jobs]
    else:
        results = list(_build_on_ray(plan.jobs, out.resolve(), size, advance))
    rejects = [*plan.rejects, *(reject for result in results for reject in result.rejects)]
    rejects.sort(key=lambda reject: (reject.domain, reject.source))
    write_table(out / REJECTS_NAME, rejects, REJECTS_SCHEMA)
    _check_rejects(out, plan, rejects, max_reject_fraction)
    manifest = _manifest(tuple(domains), options, plan, results, rejects)
    with atomic(out / MANIFEST_NAME) as stream:
        stream.write(manifest.to_json().encode())
    (out / _PLAN_NAME).unlink()
    return BuildReport(out, manifest, built=True)


def _build_on_ray(
    jobs: Iterable[ShardJob], out: Path, size: int, advance: Callable[[int], None]
) -> Iterator[ShardResult]:
    """The same as Ray tasks, two per CPU under way; results in the order of the jobs."""
    import ray

    if not ray.is_initialized():
        ray.init()
    task = ray.remote(build_shard)
    at_once = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
    running: deque[tuple[ShardJob, Any]] = deque()
    waiting = iter(jobs)
    while True:
        while len(running) < at_once and (job := next(waiting, None)) is not None:
            running.append((job, task.remote(_absolute(job), out, size)))  # a worker's directory is another one
        if not running:
            return
        job, reference = running.popleft()
        yield ray.get(reference)
        advance(len(job.entries))


def _absolute(job: ShardJob) -> ShardJob:
    return job._replace(entries=tuple(entry._replace(path=entry.path.absolute()) for entry in job.entries))


def _claim(out: Path, plan: Plan) -> Manifest | None:
    """The manifest of `out` if it holds exactly this plan; otherwise make the folder ours or refuse."""
    if (out / MANIFEST_NAME).is_file():
        manifest = Manifest.load(out)
        if manifest.plan != plan.sha256:
            raise ValueError(f"{out} holds a data set of other images or options: choose another folder or delete it")
        if _is_whole(out):
            (out / _PLAN_NAME).unlink(missing_ok=True)
            return manifest
    elif out.exists() and not _is_free(out, plan):
        raise ValueError(f"{out} is not empty and no part of this data set: choose another folder or delete it")
    with atomic(out / _PLAN_NAME) as stream:
        stream.write(plan.sha256.encode())
    (out / MANIFEST_NAME).unlink(missing_ok=True)  # something is gone or cut: the data set is unfinished again
    return None


def _is_free(out: Path, plan: Plan) -> bool:
    """Whether the folder is empty or holds an interrupted build of the same plan."""
    if not out.is_dir():
        return False
    begun = out / _PLAN_NAME
    return begun.read_text() == plan.sha256 if begun.is_file() else not any(out.iterdir())


def _is_whole(out: Path) -> bool:
    try:
        ShardReader(out)
    except ValueError:
        return False
    return True


def _counter(progress: Progress | None, total: int) -> Callable[[int], None]:
    """A function that adds to the number of images done and tells `progress`."""
    done = 0

    def advance(images: int) -> None:
        nonlocal done
        done += images
        if progress:
            progress(done, total)

    return advance


def _check_rejects(out: Path, plan: Plan, rejects: Sequence[Reject], max_reject_fraction: float) -> None:
    unusable = Counter(reject.reason for reject in rejects if reject.reason != "duplicate")
    if unusable.total() > max_reject_fraction * plan.files:
        reasons = ", ".join(f"{count} {reason}" for reason, count in unusable.most_common())
        raise ValueError(
            f"{unusable.total()} of {plan.files} files are unusable ({reasons}): {out / REJECTS_NAME} names them;"
            " repair or remove them, or allow more with a larger reject fraction"
        )


def _manifest(
    domains: tuple[str, ...],
    options: BuildOptions,
    plan: Plan,
    results: Sequence[ShardResult],
    rejects: Sequence[Reject],
) -> Manifest:
    splits: dict[Split, dict[str, list[Shard]]] = {split: {domain: [] for domain in domains} for split in SPLITS}
    for job, result in zip(plan.jobs, results, strict=True):
        if result.shard:
            splits[job.split][job.domain].append(result.shard)
    for domain in domains:
        if not splits["train"][domain]:
            raise ValueError(
                f"no image of domain {domain} is left for training: give more images or a lower test fraction"
            )
    return Manifest(
        domains=domains,
        options=options,
        plan=plan.sha256,
        splits={split: {domain: tuple(shards) for domain, shards in part.items()} for split, part in splits.items()},
        rejects=dict(sorted(Counter(reject.reason for reject in rejects).items())),
        enlarged=sum(result.enlarged for result in results),
        copied=sum(result.copied for result in results),
    )


def describe(manifest: Manifest) -> list[Row]:
    """One row per split and domain: images, shards and bytes."""
    return [
        Row(split, domain, manifest.count(split, domain), len(shards), sum(shard.bytes for shard in shards))
        for split in SPLITS
        for domain, shards in manifest.splits[split].items()
    ]


def contact_sheet(root: Path, manifest: Manifest, split: Split = "train", per_domain: int = 8) -> Pixels:
    """The first images of each domain, one row per domain, cut to squares: uint8 (h, w, 3)."""
    reader = ShardReader(root)
    size = manifest.size
    cells: list[Pixels] = []
    for domain in manifest.domains:
        shown = [reader.read(split, domain, index) for index in range(min(per_domain, reader.count(split, domain)))]
        cells += [imaging.fit(pixels, size) for pixels in shown]
        cells += [np.full((size, size, 3), 255, np.uint8)] * (per_domain - len(shown))
    return imaging.grid(cells, columns=per_domain)
