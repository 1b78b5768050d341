"""The only writer of MLflow: one run per training, also after a resume."""

import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import imaging
from imaging.codec import Pixels
from training.config import RunConfig

EXPERIMENT = "vqi2i"
_log = logging.getLogger(__name__)


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or a database in the working directory; absolute, since workers run elsewhere."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path('mlflow.db').absolute()}"


def _client() -> Any:
    from mlflow import MlflowClient

    logging.getLogger("alembic").setLevel(logging.WARNING)
    return MlflowClient(tracking_uri())


def _experiment(client: Any) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return found.experiment_id
    # Without a location an embedded store puts artifacts into whatever directory a process runs in.
    store = tracking_uri()
    beside = Path(store.removeprefix("sqlite:///")).parent / "mlruns" if store.startswith("sqlite:///") else None
    return client.create_experiment(EXPERIMENT, beside.absolute().as_uri() if beside else None)


class Tracker:
    """One MLflow run. Trouble with the store is reported once and never stops a training."""

    def __init__(self, run_name: str, tags: Mapping[str, str], run_id: str | None = None):
        self._client = _client()
        self._failed = False
        if run_id is None:
            run = self._client.create_run(_experiment(self._client), run_name=run_name, tags=dict(tags))
            run_id = run.info.run_id
        assert run_id is not None
        self.run_id = run_id
        self._try(lambda: self._client.update_run(self.run_id, status="RUNNING"))

    def config(self, config: RunConfig) -> None:
        """Record every setting as a parameter, by its dotted name, and the whole as a file."""
        self.settings(dict(flat(config.model_dump(mode="json"))))
        self._try(lambda: self._client.log_text(self.run_id, config.dump(), "config.json"))

    def settings(self, settings: Mapping[str, Any]) -> None:
        """Record settings as parameters, by their dotted names."""
        from mlflow.entities import Param

        params = [Param(name, str(value)[:500]) for name, value in settings.items()]
        self._try(lambda: self._client.log_batch(self.run_id, params=params))

    def tag(self, name: str, value: str) -> None:
        """Label the run."""
        self._try(lambda: self._client.set_tag(self.run_id, name, value))

    def log(self, position: int, metrics: Mapping[str, float]) -> None:
        """Record metrics at a position (images of each domain seen)."""
        import time

        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        batch = [Metric(name, value, now, position) for name, value in metrics.items()]
        self._try(lambda: self._client.log_batch(self.run_id, metrics=batch))

    def show(self, position: int, pictures: Mapping[str, Pixels]) -> None:
        """Record sample pictures at a position."""
        with tempfile.TemporaryDirectory() as folder:
            for name, pixels in pictures.items():
                file = Path(folder) / f"{name}_{position:010d}.png"
                imaging.write(file, pixels)
                self._try(lambda file=file: self._client.log_artifact(self.run_id, str(file), "samples"))

    def end(self, status: str, bundle: Path | None = None) -> None:
        """Close the run as FINISHED, FAILED or KILLED, with the bundle if there is one."""
        if bundle is not None:
            self._try(lambda: self._client.log_artifacts(self.run_id, str(bundle), "bundle"))
        self._try(lambda: self._client.set_terminated(self.run_id, status))

    def _try(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except Exception as error:
            if not self._failed:
                _log.warning("MLflow at %s does not answer (%s): training goes on without it", tracking_uri(), error)
            self._failed = True


def publish(bundle: Path, *, name: str, alias: str) -> str:
    """Register a bundle as the next version of model `name`, point `alias` at it, return its `models:/` URI."""
    from mlflow.exceptions import MlflowException

    client = _client()
    run = client.create_run(_experiment(client), run_name=f"publish-{name}", tags={"kind": "publish"})
    client.log_artifacts(run.info.run_id, str(bundle), "bundle")
    try:
        client.get_registered_model(name)
    except MlflowException:
        client.create_registered_model(name)
    source = f"{run.info.artifact_uri}/bundle"
    version = client.create_model_version(name, source, run.info.run_id)
    client.set_registered_model_alias(name, alias, version.version)
    client.set_terminated(run.info.run_id)
    return f"models:/{name}@{alias}"


def flat(data: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested settings as (dotted name, value) pairs."""
    pairs: list[tuple[str, Any]] = []
    for key, value in data.items():
        if isinstance(value, Mapping):
            pairs += flat(value, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", value))
    return pairs
