"""The folder of a data set: free, ours and unfinished, finished, or somebody else's."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from errors import UserError
from pipelines.building.plan import Plan
from pipelines.building.shard_commit import build_sha256, read_commit
from pipelines.schema import MANIFEST_NAME, REJECTS_NAME, BuildOptions, Manifest, Shard
from pipelines.storage.atomic_files import atomic, entries, is_litter, sha256_of

_PLAN_NAME = "plan.json"  # marks an unfinished data set as ours
_REFUSED_NAME = (
    "refused.json"  # what becomes of that where too little could be used: other images may follow
)
_HASHES_NAME = "hashes.partial"  # so does this folder, if nothing else is there yet


def hashes_folder(out: Path) -> Path:
    """Where the hashes of the inputs are kept until the data set is finished."""
    return out / _HASHES_NAME


def check_folders(domains: Mapping[str, Path], out: Path) -> None:
    """Whether images can be read from these folders, and shards be written to `out`, as far as can
    be told at once.

    Raises:
        UserError: a folder does not exist, or `out` lies in one, or is neither empty nor a data
            set.
    """
    for domain, folder in domains.items():
        if not folder.is_dir():
            wrong = "is a file" if folder.exists() else "does not exist"
            raise UserError(
                f"the folder of domain {domain}, {folder}, {wrong}: give a folder of images"
            )
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: choose a folder for the shards")
    names = {path.name for path in entries(out)}
    if names and not names & {_PLAN_NAME, _REFUSED_NAME, _HASHES_NAME, MANIFEST_NAME}:
        raise UserError(
            f"{out} is not empty and no part of this data set: choose another folder or delete it"
        )
    for domain, folder in domains.items():
        if out.resolve().is_relative_to(folder.resolve()):
            raise UserError(
                f"{out} lies in the folder of domain {domain}: choose a folder beside {folder}"
            )


def held_options(out: Path) -> BuildOptions | None:
    """What the finished data set in `out` was built with; None if there is none that can be
    used.
    """
    try:
        return Manifest.load(out).options
    except UserError:
        return None


def claim(out: Path, plan: Plan) -> Manifest | None:
    """The manifest of `out` if it holds exactly this plan; otherwise make the folder ours.

    Shards of a finished data set that are missing or cut, or whose index has changed, are removed,
    and it is unfinished again.

    Raises:
        UserError: the folder holds something else.
    """
    begun = out / _PLAN_NAME
    if (out / MANIFEST_NAME).is_file():
        manifest = _manifest(out, plan)
        if manifest is None:
            _begin(begun, plan)
            (out / MANIFEST_NAME).unlink()
            return None
        if manifest.plan != plan.sha256:
            raise UserError(
                f"{out} holds a data set of other images or options: choose another folder or "
                "delete it"
            )
        spoiled = [shard for shard in manifest.shards() if not _is_whole(out, shard)]
        if not spoiled and _has(out / REJECTS_NAME, manifest.rejects_sha256):
            tidy(out, plan, manifest)
            return manifest
        _begin(begun, plan)
        (out / MANIFEST_NAME).unlink()
        for shard in spoiled:
            (out / shard.index_name).unlink(missing_ok=True)
    elif begun.is_file() and begun.read_bytes() != plan.sha256.encode():
        raise UserError(
            f"{out} holds an unfinished data set of other images or options: choose another "
            "folder or delete it"
        )
    else:
        _clear_refused(out, plan)
        _begin(begun, plan)
    return None


def refuse(out: Path) -> None:
    """Let go of a data set that cannot be finished: the same images with other options, or others,
    may follow.
    """
    (out / _PLAN_NAME).replace(out / _REFUSED_NAME)


def _clear_refused(out: Path, plan: Plan) -> None:
    """Remove what is left of a refused data set, unless it was this plan's: then its shards are
    kept.
    """
    refused = out / _REFUSED_NAME
    if refused.is_file() and refused.read_bytes() != plan.sha256.encode():
        for index in _indexes(out):
            index.with_suffix(".tar").unlink(missing_ok=True)
            index.unlink()
    refused.unlink(missing_ok=True)


def _indexes(out: Path) -> list[Path]:
    """The indexes of all shards, also of those that were rejected as a whole."""
    return [path for path in out.glob("*/*/*.parquet") if not is_litter(path.name)]


def _manifest(out: Path, plan: Plan) -> Manifest | None:
    """The manifest of `out`; None if it is damaged and the indexes say that the data set is this
    plan's.
    """
    try:
        return Manifest.load(out)
    except UserError:
        commits = [read_commit(index) for index in _indexes(out)]
        if not commits or any(
            commit is None or commit.build != build_sha256(plan.sha256) for commit in commits
        ):
            raise
        return None


def tidy(out: Path, plan: Plan, manifest: Manifest) -> None:
    """Remove what only an unfinished data set needs."""
    kept = {shard.index_name for shard in manifest.shards()}
    for job in plan.jobs:
        if job.index_name not in kept:
            (out / job.index_name).unlink(missing_ok=True)
    shutil.rmtree(hashes_folder(out), ignore_errors=True)
    (out / _PLAN_NAME).unlink(missing_ok=True)


def _begin(begun: Path, plan: Plan) -> None:
    with atomic(begun) as stream:
        stream.write(plan.sha256.encode())


def _is_whole(out: Path, shard: Shard) -> bool:
    path = out / shard.name
    whole = path.is_file() and path.stat().st_size == shard.bytes
    return whole and _has(out / shard.index_name, shard.index_sha256)


def _has(path: Path, sha256: str) -> bool:
    return path.is_file() and sha256_of(path) == sha256
