"""What an evaluation finds, on the version of the registry's model that it is about."""

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from platforms.mlflow_store import asking
from training.tracking.mlflow_client import connect, tracking_uri

_VERSION = re.compile(r"models:/+(?P<name>[^/]+)/(?P<version>\d+)(#.*)?", re.DOTALL)
_AT_ONCE = 500  # metrics in a call; MLflow takes 1,000
FOLDER = "evaluation"  # among the artifacts of the version's run
TAG = "vqi2i.evaluation"  # of the version: what it was measured on last, and its headline


def is_version(model: str) -> bool:
    """Whether a name is that of a model's version: `models:/NAME/3`."""
    return _VERSION.fullmatch(model) is not None


def track_evaluation(
    model: str, figures: Mapping[str, float], files: Sequence[Path], *, headline: str
) -> None:
    """Log figures and files to the run of a model's version, and tag the version.

    Args:
        model: `models:/NAME/VERSION`, as `serving.registry.pin` gives it.
        figures: by name; those of an earlier evaluation are superseded.
        files: the report and what it was made of.
        headline: a sentence for the version's tag.

    Raises:
        UserError: MLflow does not answer, or has no such version any more.
    """
    from mlflow.entities import Metric

    named = _VERSION.fullmatch(model)
    if named is None:
        raise ValueError(f"{model} is no version of a model")
    uri = tracking_uri()
    client = connect(uri)
    with asking(uri):
        run_id = client.get_model_version(named["name"], named["version"]).run_id
        now = round(1000 * time.time())
        metrics = [Metric(f"{FOLDER}/{name}", value, now, 0) for name, value in figures.items()]
        if run_id:  # a version that others registered may have none
            for first in range(0, len(metrics), _AT_ONCE):
                client.log_batch(run_id, metrics=metrics[first : first + _AT_ONCE])
            for file in files:
                client.log_artifact(run_id, str(file), FOLDER)
        client.set_model_version_tag(named["name"], named["version"], TAG, headline)
