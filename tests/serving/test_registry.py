"""A model is a directory, or something in MLflow."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving import registry
from vqi2i import BundleError, Translator


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, mlflow_tables: Path) -> Iterator[Path]:
    """An MLflow store that this module alone uses."""
    import mlflow

    root = tmp_path_factory.mktemp("mlflow")
    before = mlflow.get_tracking_uri()
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("MLFLOW_TRACKING_URI", raising=False)
        mlflow.set_tracking_uri(f"sqlite:///{shutil.copy(mlflow_tables, root)}")
        yield root
        mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def published(store: Path, tiny_bundle: Path) -> str:
    """Id of a run whose bundle is versions 1 (alias `champion`) and 2 of model `seasons`."""
    from mlflow import MlflowClient

    client = MlflowClient()
    experiment = client.create_experiment("vqi2i", (store / "artifacts").as_uri())
    run = client.create_run(experiment)
    client.log_artifacts(run.info.run_id, str(tiny_bundle), "bundle")
    client.log_text(run.info.run_id, "no bundle", "notes/notes.txt")
    client.create_registered_model("seasons")
    for _ in range(2):
        client.create_model_version("seasons", f"{run.info.artifact_uri}/bundle", run.info.run_id)
    client.set_registered_model_alias("seasons", "champion", "1")
    return run.info.run_id


def test_a_directory_is_used_as_it_is(tiny_bundle):
    assert registry.resolve(tiny_bundle) == tiny_bundle
    assert registry.resolve(str(tiny_bundle)) == tiny_bundle


def test_a_missing_directory_is_named_with_what_would_be_right(tmp_path):
    with pytest.raises(BundleError, match=r"no model at .*nowhere: give a bundle directory or an MLflow URI"):
        registry.resolve(str(tmp_path / "nowhere"))


def test_a_directory_that_is_no_bundle_is_refused(tmp_path):
    with pytest.raises(BundleError, match="is not a bundle"):
        registry.resolve(tmp_path)


@pytest.mark.parametrize("uri", ["models:/seasons@champion", "models:/seasons/2", "runs:/{run}/bundle"])
def test_mlflow_models_are_downloaded(uri, published, tiny_bundle, tmp_path):
    found = registry.resolve(uri.format(run=published), cache=tmp_path)
    assert found.is_relative_to(tmp_path)
    assert Translator.load(found).domains == ("summer", "winter")
    weights = "autoencoder.safetensors"
    assert (found / weights).read_bytes() == (tiny_bundle / weights).read_bytes()
    assert [path for path in tmp_path.iterdir() if path != found] == []


def test_a_registered_version_is_downloaded_once(published, tmp_path, monkeypatch):
    first = registry.resolve("models:/seasons@champion", cache=tmp_path)
    monkeypatch.setattr("mlflow.artifacts.download_artifacts", lambda **_: pytest.fail("downloaded again"))
    assert registry.resolve("models:/seasons/1", cache=tmp_path) == first


def test_a_run_is_downloaded_again(published, tmp_path):
    found = registry.resolve(f"runs:/{published}/bundle", cache=tmp_path)
    (found / "MODEL_CARD.md").write_text("stale")
    assert registry.resolve(f"runs:/{published}/bundle", cache=tmp_path) == found
    assert (found / "MODEL_CARD.md").read_text() != "stale"


def test_an_alias_is_pinned_to_the_version_it_points_at(published, tiny_bundle, monkeypatch):
    assert registry.pin("models:/seasons@champion") == "models:/seasons/1"
    assert registry.pin("models:/seasons/2") == "models:/seasons/2"
    monkeypatch.chdir(tiny_bundle.parent)
    assert registry.pin(tiny_bundle.name) == str(tiny_bundle)


@pytest.mark.parametrize("uri", ["models:/seasons@loser", "models:/seasons/9", "models:/nothing@x", "runs:/0/bundle"])
def test_what_mlflow_does_not_have_is_named(uri, published, tmp_path):
    with pytest.raises(BundleError, match=r"MLflow at sqlite:.* has no .*check the name and MLFLOW_TRACKING_URI"):
        registry.resolve(uri, cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_artifacts_that_are_no_bundle_are_refused(published, tmp_path):
    with pytest.raises(BundleError, match=r"runs:/.*/notes is not a bundle: publish one"):
        registry.resolve(f"runs:/{published}/notes", cache=tmp_path)


def test_another_process_is_told_the_tracking_uri(published, tiny_bundle):
    assert registry.environment("models:/seasons/1")["MLFLOW_TRACKING_URI"].startswith("sqlite:///")
    assert registry.environment(tiny_bundle) == {}
