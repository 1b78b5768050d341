"""What an evaluation finds stands on the version of the model that it is about."""

from pathlib import Path

import pytest

from errors import UserError
from training.tracking.evaluations import TAG, is_version, track_evaluation
from training.tracking.mlflow_client import connect
from training.tracking.publication import publish


def test_figures_and_files_are_on_the_versions_run(
    tiny_bundle: Path, new_store: str, tmp_path: Path
) -> None:
    publish(tiny_bundle, name="seasons", alias="champion")
    report = tmp_path / "report.html"
    report.write_text("a report")
    figures = {f"translation-a-b-{number}.kid_lite0": number / 1000 for number in range(600)}
    track_evaluation("models:/seasons/1#" + "0" * 64, figures, [report], headline="as good as real")
    client = connect(new_store)
    version = client.get_model_version("seasons", "1")
    assert version.tags[TAG] == "as good as real"
    metrics = client.get_run(version.run_id).data.metrics
    assert metrics["evaluation/translation-a-b-599.kid_lite0"] == 0.599
    assert len(metrics) == 600
    (kept,) = client.list_artifacts(version.run_id, "evaluation")
    assert kept.path == "evaluation/report.html"


def test_a_version_that_is_gone_is_told(new_store: str) -> None:
    with pytest.raises(UserError, match=r"MLflow at .* cannot be used"):
        track_evaluation("models:/seasons/7", {}, [], headline="")


@pytest.mark.parametrize(
    ("model", "is_one"),
    [
        ("models:/seasons/3", True),
        ("models:/seasons/3#abc", True),
        ("models:/seasons@champion", False),
        ("runs:/0123/bundle", False),
        ("runs/demo/bundle", False),
    ],
)
def test_versions_are_told_from_other_names(model: str, is_one: bool) -> None:
    assert is_version(model) is is_one
