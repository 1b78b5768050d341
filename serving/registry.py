"""Where a model comes from: a bundle directory, or MLflow.

Downloads are kept by what they hold, so that a name never leads to what it meant once.
"""

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from platforms.mlflow_store import open_store, reason_of, store_error, tracking_uri
from vqi2i.bundle import CHECKSUM_TAG, BundleError, check_bundle, checksum

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

_URI = re.compile(r"(?P<uri>(models|runs):/+.+?)(#(?P<checksum>[0-9a-f]{64}))?", re.DOTALL)
_RUN = re.compile(r"runs:/+(?P<id>[^/]+)/.+", re.DOTALL)
_MODEL = re.compile(r"models:/+(?P<name>[^/]+)(/(?P<version>[^/]+)|@(?P<alias>[^/@]+))", re.DOTALL)
# so MLflow says that it has no such thing
_ABSENT = (
    "RESOURCE_DOES_NOT_EXIST",
    "INVALID_PARAMETER_VALUE",
)


class _Source(NamedTuple):
    """What a name in MLflow stands for now."""

    uri: str  # the same without an alias
    location: str  # of the files
    checksum: str | None  # of the bundle, where it is known before it is downloaded


class _Fetched(NamedTuple):
    """A bundle in the cache."""

    uri: str  # without an alias
    checksum: str
    path: Path


def resolve(model: str | Path, *, cache: Path | None = None) -> Path:
    """Directory of the bundle that `model` names, downloaded if MLflow has it.

    Args:
        model: a bundle directory, `models:/name@alias`, `models:/name/3`, `models:/name/latest` or
            `runs:/ID/bundle`, or one of these with what `pin` has added; MLflow is asked at its
            configured tracking URI.
        cache: where downloads are kept; `$VQI2I_CACHE`, or `~/.cache/vqi2i`, if None.

    Raises:
        BundleError: there is no such model, or what is there is no bundle, or not the one that was
            published.
        StoreError: MLflow does not answer.
    """
    if (named := _named(model)) is not None:
        return _fetch(*named, cache or default_cache()).path
    path = Path(model)
    if not path.is_dir():
        raise BundleError(
            f"there is no model at {path}: give a bundle directory or an MLflow URI like "
            "models:/name@alias"
        )
    check_bundle(path)
    return path


def pin(model: str | Path, *, cache: Path | None = None) -> str:
    """What stands for the same bytes as `model` does now, wherever and whenever it is resolved; a
    path made absolute.

    Replicas that start at different times and places then serve the same weights, whatever happens
    to names.

    Raises:
        BundleError, StoreError: as `resolve`.
    """
    if (named := _named(model)) is None:
        return str(Path(model).absolute())
    fetched = _fetch(*named, cache or default_cache())
    return f"{fetched.uri}#{fetched.checksum}"


def environment(model: str | Path) -> dict[str, str]:
    """Environment variables that another process needs to `resolve` the same model."""
    if _named(model) is None:
        return {}
    registry = os.environ.get("MLFLOW_REGISTRY_URI")
    return {"MLFLOW_TRACKING_URI": tracking_uri()} | (
        {"MLFLOW_REGISTRY_URI": registry} if registry else {}
    )


def _named(model: str | Path) -> tuple[str, str | None] | None:
    """An MLflow URI and the checksum that it was pinned to; None for a path."""
    match = _URI.fullmatch(model) if isinstance(model, str) else None
    return (match["uri"], match["checksum"]) if match is not None else None


def default_cache() -> Path:
    """`$VQI2I_CACHE`, or `~/.cache/vqi2i`."""
    configured = os.environ.get("VQI2I_CACHE")
    return Path(configured) if configured else Path.home() / ".cache" / "vqi2i"


def _fetch(uri: str, wanted: str | None, cache: Path) -> _Fetched:
    """Have a bundle in the cache; MLflow is not asked for what is known and there."""
    if wanted is not None and (kept := _kept(uri, wanted, cache)) is not None:
        return kept
    source = _look_up(uri)
    wanted = wanted or source.checksum
    if wanted is not None and (kept := _kept(source.uri, wanted, cache)) is not None:
        return kept
    return _download(source, wanted, cache)


def _kept(uri: str, wanted: str, cache: Path) -> _Fetched | None:
    path = cache / _name(wanted)
    try:
        return _Fetched(uri, wanted, path) if checksum(path) == wanted else None
    except (OSError, ValueError):  # it is not there, or was damaged since
        return None


def _look_up(uri: str) -> _Source:
    from mlflow.exceptions import MlflowException

    store = tracking_uri()
    client = open_store(store, write=False)
    try:
        if (run := _RUN.fullmatch(uri)) is not None:
            client.get_run(run["id"])
        if (model := _MODEL.fullmatch(uri)) is None:
            return _Source(uri, uri, None)  # a run may log its bundle again
        version = _version(client, model["name"], model["version"], model["alias"])
        location = client.get_model_version_download_uri(version.name, str(version.version))
    except MlflowException as error:
        if error.error_code not in _ABSENT:
            raise store_error(store, error) from error
        raise BundleError(
            f"MLflow at {store} has no {uri} ({reason_of(error)}): check the name and "
            "MLFLOW_TRACKING_URI"
        ) from error
    return _Source(
        f"models:/{version.name}/{version.version}", location, version.tags.get(CHECKSUM_TAG)
    )


def _version(
    client: "MlflowClient", name: str, version: str | None, alias: str | None
) -> "ModelVersion":
    """A version by its number or alias, or the newest one, of all or of those in a stage."""
    if alias is not None:
        return client.get_model_version_by_alias(name, alias)
    assert version is not None
    if version.isdigit():
        return client.get_model_version(name, version)
    newest = client.get_registered_model(name).latest_versions or ()  # of each stage
    there = [
        int(each.version)
        for each in newest
        if version.lower() in ("latest", each.current_stage.lower())
    ]
    # MLflow has no version 0, and says so
    return client.get_model_version(name, str(max(there, default=0)))


def _download(source: _Source, wanted: str | None, cache: Path) -> _Fetched:
    """Bring a bundle into the cache, if it is the one that is wanted."""
    with _staging(cache) as folder:
        found = _downloaded(source, folder)
        try:
            actual = checksum(found)
        except BundleError as error:
            remedy = "publish one with `vqi2i publish BUNDLE --name NAME`"
            raise BundleError(f"{source.uri} is not a bundle: {remedy}") from error
        if wanted is not None and actual != wanted:
            raise BundleError(
                f"the files of {source.uri} are no longer those that were published or first "
                "used: publish them again"
            )
        return _kept(source.uri, actual, cache) or _moved(
            found, _Fetched(source.uri, actual, cache / _name(actual))
        )


def _staging(cache: Path) -> "tempfile.TemporaryDirectory[str]":
    try:
        cache.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=".download-", dir=cache)
    except OSError as error:
        remedy = "name another folder in VQI2I_CACHE"
        raise BundleError(
            f"{cache} cannot keep downloaded models ({error.strerror}): {remedy}"
        ) from error


def _downloaded(source: _Source, folder: str) -> Path:
    from mlflow import artifacts

    store = tracking_uri()
    try:
        return Path(
            artifacts.download_artifacts(source.location, dst_path=folder, tracking_uri=store)
        )
    except (
        Exception
    ) as error:  # each kind of place for artifacts has a library of its own, with errors of its own
        raise BundleError(
            f"{source.uri} cannot be fetched from MLflow at {store} ({reason_of(error)}): check "
            "that its files are still there, and that this machine may read them and has room"
        ) from error


def _moved(found: Path, fetched: _Fetched) -> _Fetched:
    shutil.rmtree(fetched.path, ignore_errors=True)  # what is there is damaged
    try:
        found.replace(fetched.path)
    except OSError:
        if not fetched.path.is_dir():  # otherwise another process was faster, with the same bytes
            raise
    return fetched


def _name(checksum: str) -> str:
    return f"bundle-{checksum}"
