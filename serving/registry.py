"""Where a served model comes from: a bundle directory, or MLflow."""

import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from vqi2i.bundle import BundleError, read_config

_URI = re.compile(r"(models|runs):/+\S+")
_ALIAS = re.compile(r"models:/+(?P<name>[^/@]+)@(?P<alias>[^/@]+)")


def resolve(model: str | Path, *, cache: Path | None = None) -> Path:
    """Directory of the bundle that `model` names, downloaded if MLflow has it.

    Args:
        model: a bundle directory, `models:/name@alias`, `models:/name/3` or `runs:/ID/bundle`; MLflow is asked at its
            configured tracking URI.
        cache: where downloads are kept; `$VQI2I_CACHE`, or `~/.cache/vqi2i`, if None.

    Raises:
        BundleError: there is no such model, or what is there is no bundle.
    """
    if _is_uri(model):
        return _downloaded(pin(str(model)), cache or _default_cache())
    path = Path(model)
    if not path.is_dir():
        raise BundleError(
            f"there is no model at {path}: give a bundle directory or an MLflow URI like models:/name@alias"
        )
    read_config(path)
    return path


def pin(model: str | Path) -> str:
    """`model` with an alias replaced by the version it points at now, and a path made absolute.

    Replicas that start at different times then serve the same weights, whatever happens to the alias.
    """
    if not _is_uri(model):
        return str(Path(model).absolute())
    alias = _ALIAS.fullmatch(str(model))
    if alias is None:
        return str(model)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        version = MlflowClient().get_model_version_by_alias(alias["name"], alias["alias"])
    except MlflowException as error:
        raise _not_found(str(model), error) from error
    return f"models:/{alias['name']}/{version.version}"


def environment(model: str | Path) -> dict[str, str]:
    """Environment variables that another process needs to `resolve` the same model."""
    return {"MLFLOW_TRACKING_URI": _tracking_uri()} if _is_uri(model) else {}


def _is_uri(model: str | Path) -> bool:
    return isinstance(model, str) and _URI.fullmatch(model) is not None


def _default_cache() -> Path:
    configured = os.environ.get("VQI2I_CACHE")
    return Path(configured) if configured else Path.home() / ".cache" / "vqi2i"


def _tracking_uri() -> str:
    import mlflow

    return mlflow.get_tracking_uri()


def _downloaded(uri: str, cache: Path) -> Path:
    """The bundle at a pinned URI. Registered versions never change, so what is in the cache is right."""
    key = hashlib.sha256(f"{_tracking_uri()} {uri}".encode()).hexdigest()[:16]
    target = cache / f"{re.sub(r'[^A-Za-z0-9]+', '-', uri)}-{key}"
    if target.is_dir() and uri.startswith("models:"):
        return target
    from mlflow import artifacts
    from mlflow.exceptions import MlflowException

    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=cache) as staging:
        try:
            found = Path(artifacts.download_artifacts(artifact_uri=uri, dst_path=staging))
        except (MlflowException, OSError) as error:
            raise _not_found(uri, error) from error
        try:
            read_config(found)
        except BundleError as error:
            raise BundleError(f"{uri} is not a bundle: publish one with `vqi2i publish BUNDLE --name NAME`") from error
        return _moved(found, target)


def _moved(found: Path, target: Path) -> Path:
    if target.is_dir() and target.name.startswith("runs-"):
        shutil.rmtree(target)  # a run may have logged its bundle again
    try:
        found.replace(target)
    except OSError:
        if not target.is_dir():  # otherwise another process was faster, with the same bytes
            raise
    return target


def _not_found(uri: str, error: Any) -> BundleError:
    reason = " ".join(str(error).split())[:200].rstrip(".")
    return BundleError(f"MLflow at {_tracking_uri()} has no {uri} ({reason}): check the name and MLFLOW_TRACKING_URI")
