"""MLflow, as the outbox of a run and `publish` see it: where runs go, what becomes a model's
version.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platforms.mlflow_store import StoreError, database_of, open_store, store_error

# the store of a run is the one that is set
from platforms.mlflow_store import (
    tracking_uri as tracking_uri,
)
from training.tracking.outbox import Blocked, Call, Forgotten, NotYet, Refused
from vqi2i.bundle import CHECKSUM_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

EXPERIMENT = "vqi2i"  # unless MLFLOW_EXPERIMENT_NAME or MLFLOW_EXPERIMENT_ID names another one
RUN_TAG = "vqi2i.training"  # tag of a run: what it is known by before MLflow has given it an id
RUN = "run"  # the note of that id
_DESCRIPTION = 5000  # characters that the registry takes
_FINAL = {
    "INVALID_PARAMETER_VALUE",
    "RESOURCE_DOES_NOT_EXIST",
    "RESOURCE_ALREADY_EXISTS",
    "INVALID_STATE",
    "BAD_REQUEST",
}


def connect(uri: str) -> "MlflowClient":
    """A client of the store at `uri`, which answers and can be written to; a database is made if
    absent.

    Raises:
        StoreError: it does not, or cannot.
    """
    return open_store(uri, write=True)


def place_of(client: "MlflowClient", uri: str) -> str:
    """The id of the experiment of all runs, made if absent: as MLflow's own variables say, or
    `vqi2i`.

    Raises:
        StoreError: it was deleted, or what answers is not MLflow.
        MlflowException: MLflow refuses it.
    """
    name, identity = (
        os.environ.get("MLFLOW_EXPERIMENT_NAME"),
        os.environ.get("MLFLOW_EXPERIMENT_ID"),
    )
    if identity and not name:
        found = client.get_experiment(identity)
    else:
        name = name or EXPERIMENT
        found = client.get_experiment_by_name(name) or _make_experiment(client, uri, name)
    if not found.experiment_id:
        raise store_error(uri, "it answers, but not as MLflow does")
    if found.lifecycle_stage == "deleted":
        remedy = (
            f"restore it (mlflow experiments restore -x {found.experiment_id}), or set "
            "MLFLOW_EXPERIMENT_NAME"
        )
        raise store_error(uri, f"its experiment {found.name} was deleted", remedy)
    return found.experiment_id


def _make_experiment(client: "MlflowClient", uri: str, name: str) -> Any:
    from mlflow.exceptions import MlflowException

    # Without a location an embedded store puts artifacts into whatever directory a process runs in.
    database = database_of(uri)
    beside = (database.parent / "mlruns").absolute().as_uri() if database is not None else None
    try:
        return client.get_experiment(client.create_experiment(name, beside))
    except MlflowException:
        found = client.get_experiment_by_name(name)  # another process was faster
        if found is None:
            raise
        return found


def make_model(client: "MlflowClient", name: str) -> bool:
    """Have a registered model of this name; whether it is new."""
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    else:
        return False
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was faster
            raise
        return False
    return True


def make_version(
    client: "MlflowClient", name: str, run_id: str, folder: str, *, card: str, checksum: str | None
) -> str:
    """The version of model `name` that is the run's artifact `folder`, made unless there is one.

    Args:
        client: of the store.
        name: of a registered model.
        run_id: of the run.
        folder: the bundle among the run's artifacts.
        card: the bundle's.
        checksum: the bundle's: whoever downloads it sees whether it is that.
    """
    source = f"{client.get_run(run_id).info.artifact_uri}/{folder}"
    for version in client.search_model_versions(f"run_id = '{run_id}'"):
        if (version.name, version.source) == (name, source):
            return str(version.version)
    tags = {CHECKSUM_TAG: checksum} if checksum is not None else {}
    made = client.create_model_version(
        name, source, run_id, tags=tags, description=card[:_DESCRIPTION]
    )
    return str(made.version)


class MlflowCourier:
    """Carries the calls of one training to its one run; what was carried already is done over or
    left.
    """

    def __init__(self, run_dir: Path, uri: str):
        self.address = uri
        self._run_dir = run_dir
        self._connected: MlflowClient | None = None
        self._made: str | None = None  # the run, if this process has made it
        self._kinds: dict[str, Callable[[str, Mapping[str, Any]], None]] = {
            "status": self._status,
            "params": self._params,
            "tags": self._tags,
            "metrics": self._metrics,
            "text": self._text,
            "file": self._file,
            "folder": self._folder,
            "register": self._register,
        }

    def carry(self, call: Call, notes: dict[str, str]) -> None:
        """See `Courier`."""
        from mlflow.exceptions import MlflowException

        try:
            self._do(call, notes)
        except MlflowException as error:
            if error.error_code not in _FINAL:
                raise
            if call.kind == "create":  # everything else hangs on it
                raise Blocked(str(error)) from error
            self._see_after(notes[RUN])
            self._insist(call, notes)

    def _do(self, call: Call, notes: dict[str, str]) -> None:
        if call.kind == "create":
            notes[RUN] = self._create(call.content)
        elif RUN not in notes:
            raise Forgotten
        else:
            self._kinds[call.kind](notes[RUN], call.content)

    def _insist(self, call: Call, notes: dict[str, str]) -> None:
        """Ask again, as the run may have been restored in between."""
        from mlflow.exceptions import MlflowException

        try:
            self._do(call, notes)
        except MlflowException as error:
            if error.error_code in _FINAL:
                raise Refused(str(error)) from error
            raise

    def _see_after(self, run_id: str) -> None:
        """Raise if the run itself is the reason why MLflow refuses something."""
        from mlflow.exceptions import MlflowException

        try:
            stage = self._client.get_run(run_id).info.lifecycle_stage
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST" and run_id != self._made:
                raise Forgotten from error
            raise
        if stage == "deleted":
            raise Blocked(
                f"its run {run_id} was deleted: restore it (mlflow runs restore --run-id {run_id})"
            )

    @property
    def _client(self) -> "MlflowClient":
        if self._connected is None:
            try:
                self._connected = connect(self.address)
            except StoreError as error:
                raise ConnectionError(error.reason) from error
        return self._connected

    def _create(self, content: Mapping[str, Any]) -> str:
        tags = {**content["tags"], RUN_TAG: content["mark"]}
        if content["parent"] is None:
            place = self._place()
        else:
            parent = self._tagged(self._experiments(), content["parent"])
            if parent is None:
                raise NotYet
            place = parent.info.experiment_id
            tags["mlflow.parentRunId"] = parent.info.run_id
        if (there := self._tagged([place], content["mark"])) is not None:
            return there.info.run_id
        self._made = self._client.create_run(
            place, content["time"], tags, content["name"]
        ).info.run_id
        return self._made

    def _place(self) -> str:
        try:
            return place_of(self._client, self.address)
        except StoreError as error:
            raise Blocked(f"{error.reason}: {error.remedy}") from error

    def _experiments(self) -> list[str]:
        return [experiment.experiment_id for experiment in self._client.search_experiments()]

    def _tagged(self, places: Sequence[str], tag: str) -> "Run | None":
        runs = self._client.search_runs(list(places), f"tags.`{RUN_TAG}` = '{tag}'", max_results=1)
        return runs[0] if runs else None

    def _status(self, run_id: str, content: Mapping[str, Any]) -> None:
        if content["status"] == "RUNNING":
            self._client.update_run(run_id, status="RUNNING")
        else:
            self._client.set_terminated(run_id, content["status"], content["time"])

    def _params(self, run_id: str, content: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        self._client.log_batch(
            run_id, params=[Param(name, value[:500]) for name, value in content["params"].items()]
        )

    def _tags(self, run_id: str, content: Mapping[str, Any]) -> None:
        from mlflow.entities import RunTag

        self._client.log_batch(
            run_id, tags=[RunTag(name, value) for name, value in content["tags"].items()]
        )

    def _metrics(self, run_id: str, content: Mapping[str, Any]) -> None:
        from mlflow.entities import Metric

        # The time is that of the report: databases take a metric with the same time, step and value
        # once.
        metrics = [
            Metric(n, v, content["time"], content["position"])
            for n, v in content["metrics"].items()
        ]
        self._client.log_batch(run_id, metrics=metrics)

    def _text(self, run_id: str, content: Mapping[str, Any]) -> None:
        self._client.log_text(run_id, content["text"], content["name"])

    def _file(self, run_id: str, content: Mapping[str, Any]) -> None:
        self._client.log_artifact(run_id, str(self._existing(content["path"])), content["folder"])

    def _folder(self, run_id: str, content: Mapping[str, Any]) -> None:
        self._client.log_artifacts(run_id, str(self._existing(content["path"])), content["path"])

    def _register(self, run_id: str, content: Mapping[str, Any]) -> None:
        make_model(self._client, content["name"])
        card, checksum = content["card"], content.get("checksum")
        make_version(
            self._client, content["name"], run_id, content["path"], card=card, checksum=checksum
        )

    def _existing(self, path: str) -> Path:
        if not (self._run_dir / path).exists():
            raise Refused(f"{self._run_dir / path} is gone")
        return self._run_dir / path
