"""The MLflow server or database, as the outbox of a run and `publish` see it."""

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from training.outbox import Call, NotYet, Refused

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "vqi2i"
MARK = "vqi2i.training"  # tag of a run: what it is known by before MLflow has given it an id
RUN = "run"  # the note of that id
_SQLITE = "sqlite:///"
_DESCRIPTION = 5000  # characters that the registry takes
_FINAL = {
    "INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "INVALID_STATE", "BAD_REQUEST",
}  # fmt: skip
# A call that fails comes again later: nothing is gained by insisting.
_SHORT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "30", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or a database in the working directory; absolute, since workers run elsewhere."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}{Path('mlflow.db').absolute()}"


def connect(uri: str) -> "MlflowClient":
    """A client of the store at `uri`, whose tables are there."""
    from mlflow import MlflowClient

    logging.getLogger("alembic").setLevel(logging.WARNING)
    if not uri.startswith(_SQLITE):
        return MlflowClient(uri)
    database = Path(uri.removeprefix(_SQLITE))
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(database.with_name(f".{database.name}.lock")):  # two processes that make tables at once break them
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
        client.search_registered_models(max_results=1)
    return client


def experiment(client: "MlflowClient", uri: str) -> str:
    """The id of the experiment of all runs, made if absent."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return found.experiment_id
    # Without a location an embedded store puts artifacts into whatever directory a process runs in.
    beside = Path(uri.removeprefix(_SQLITE)).parent / "mlruns" if uri.startswith(_SQLITE) else None
    try:
        return client.create_experiment(EXPERIMENT, beside.absolute().as_uri() if beside else None)
    except MlflowException:
        found = client.get_experiment_by_name(EXPERIMENT)  # another process was faster
        if found is None:
            raise
        return found.experiment_id


def register(client: "MlflowClient", name: str, run_id: str, folder: str, card: str) -> str:
    """The version of model `name` that is the run's artifact `folder`, made with its card unless there is one."""
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_registered_model(name)
    source = f"{client.get_run(run_id).info.artifact_uri}/{folder}"
    for version in client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'"):
        if version.source == source:
            return str(version.version)
    return str(client.create_model_version(name, source, run_id, description=card[:_DESCRIPTION]).version)


class MlflowCourier:
    """Carries the calls of one training to its one run; what was carried already is done over or left."""

    def __init__(self, run_dir: Path, uri: str):
        self.address = uri
        self._run_dir = run_dir
        self._connected: MlflowClient | None = None
        self._kinds: dict[str, Callable[[str, Mapping[str, Any]], None]] = {
            "status": self._status, "params": self._params, "tags": self._tags, "metrics": self._metrics,
            "text": self._text, "file": self._file, "folder": self._folder, "register": self._register,
        }  # fmt: skip

    def carry(self, call: Call, notes: dict[str, str]) -> None:
        """See `Courier`."""
        from mlflow.exceptions import MlflowException

        try:
            if call.kind == "create":
                notes[RUN] = self._create(call.content)
            elif RUN not in notes:
                raise Refused("the run could not be created")
            else:
                self._kinds[call.kind](notes[RUN], call.content)
        except MlflowException as error:
            if error.error_code in _FINAL:
                raise Refused(str(error)) from error
            raise

    @property
    def _client(self) -> "MlflowClient":
        if self._connected is None:
            for name, value in _SHORT.items():
                os.environ.setdefault(name, value)
            self._connected = connect(self.address)
        return self._connected

    def _create(self, content: Mapping[str, Any]) -> str:
        place = experiment(self._client, self.address)
        if (run_id := self._marked(place, content["mark"])) is not None:
            return run_id
        tags = {**content["tags"], MARK: content["mark"]}
        if content["parent"] is not None:
            parent = self._marked(place, content["parent"])
            if parent is None:
                raise NotYet
            tags["mlflow.parentRunId"] = parent
        return self._client.create_run(place, content["time"], tags, content["name"]).info.run_id

    def _marked(self, place: str, mark: str) -> str | None:
        runs = self._client.search_runs([place], f"tags.`{MARK}` = '{mark}'", max_results=1)
        return runs[0].info.run_id if runs else None

    def _status(self, run_id: str, content: Mapping[str, Any]) -> None:
        if content["status"] == "RUNNING":
            self._client.update_run(run_id, status="RUNNING")
        else:
            self._client.set_terminated(run_id, content["status"], content["time"])

    def _params(self, run_id: str, content: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        self._client.log_batch(run_id, params=[Param(name, value[:500]) for name, value in content["params"].items()])

    def _tags(self, run_id: str, content: Mapping[str, Any]) -> None:
        from mlflow.entities import RunTag

        self._client.log_batch(run_id, tags=[RunTag(name, value) for name, value in content["tags"].items()])

    def _metrics(self, run_id: str, content: Mapping[str, Any]) -> None:
        from mlflow.entities import Metric

        # The time is that of the report: databases take a metric with the same time, step and value once.
        metrics = [Metric(n, v, content["time"], content["position"]) for n, v in content["metrics"].items()]
        self._client.log_batch(run_id, metrics=metrics)

    def _text(self, run_id: str, content: Mapping[str, Any]) -> None:
        self._client.log_text(run_id, content["text"], content["name"])

    def _file(self, run_id: str, content: Mapping[str, Any]) -> None:
        self._client.log_artifact(run_id, str(self._existing(content["path"])), content["folder"])

    def _folder(self, run_id: str, content: Mapping[str, Any]) -> None:
        self._client.log_artifacts(run_id, str(self._existing(content["path"])), content["path"])

    def _register(self, run_id: str, content: Mapping[str, Any]) -> None:
        register(self._client, content["name"], run_id, content["path"], content["card"])

    def _existing(self, path: str) -> Path:
        if not (self._run_dir / path).exists():
            raise Refused(f"{self._run_dir / path} is gone")
        return self._run_dir / path
