"""A bundle into MLflow's registry: whole, or not at all."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from platforms.mlflow_store import asking, store_error
from platforms.model_names import check_alias, check_model_name
from training.tracking.mlflow_client import (
    connect,
    make_model,
    make_version,
    place_of,
    tracking_uri,
)
from vqi2i.bundle import checksum, read_card

if TYPE_CHECKING:
    from mlflow import MlflowClient

_TAGS = {"kind": "publish"}
_FOLDER = "bundle"  # among a run's artifacts


def publish(bundle: Path, *, name: str, alias: str) -> str:
    """Register a bundle as the next version of model `name`, point `alias` at it, return its
    `models:/` URI.

    Raises:
        UserError: MLflow takes no such name or alias, or does not answer; nothing is left of the
            attempt.
    """
    check_model_name(name)
    check_alias(alias)
    facts = {"card": read_card(bundle), "checksum": checksum(bundle)}
    uri = tracking_uri()
    client = connect(uri)
    undo: list[Callable[[], object]] = []
    try:
        with asking(uri):
            run_id = client.create_run(
                place_of(client, uri), run_name=f"publish-{name}", tags=_TAGS
            ).info.run_id
            undo.append(lambda: _discard(client, run_id))
            _upload(client, uri, bundle, run_id)
            client.set_terminated(run_id)
            if make_model(client, name):
                undo.append(lambda: _delete_if_empty(client, name))
            version = make_version(client, name, run_id, _FOLDER, **facts)
            undo.append(lambda: client.delete_model_version(name, version))
            client.set_registered_model_alias(name, alias, version)
    except BaseException:
        with suppress(Exception):  # a store that is away now keeps what it has
            for step in reversed(undo):
                step()
        raise
    return f"models:/{name}@{alias}"


def _upload(client: "MlflowClient", uri: str, bundle: Path, run_id: str) -> None:
    try:
        client.log_artifacts(run_id, str(bundle), _FOLDER)
    except (
        Exception
    ) as error:  # each kind of place for artifacts has a library of its own, with errors of its own
        remedy = (
            "see to the place where it keeps artifacts, or set MLFLOW_HTTP_REQUEST_TIMEOUT if "
            "that is slow"
        )
        raise store_error(uri, error, remedy) from error


def _discard(client: "MlflowClient", run_id: str) -> None:
    client.set_terminated(run_id, "FAILED")
    client.delete_run(run_id)


def _delete_if_empty(client: "MlflowClient", name: str) -> None:
    if not client.get_registered_model(
        name
    ).latest_versions:  # another process may have put one there
        client.delete_registered_model(name)
