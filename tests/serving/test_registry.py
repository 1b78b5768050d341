"""A model is a directory, or something in MLflow, and what it is called never stands for what it
was once.
"""

import shutil
from pathlib import Path

import pytest

from errors import UserError
from serving import registry
from tests.servers import nobody
from training.tracking.publication import publish
from vqi2i import BundleError, Translator
from vqi2i.bundle import checksum


@pytest.fixture
def published(new_store: str, tiny_bundle: Path, tmp_path: Path) -> str:
    """Id of a run whose bundle is version 1 (alias `champion`) of model `seasons`, made by hand; 2
    is published.
    """
    from mlflow import MlflowClient

    client = MlflowClient(new_store)
    experiment = client.create_experiment("vqi2i", (tmp_path / "artifacts").as_uri())
    run = client.create_run(experiment)
    client.log_artifacts(run.info.run_id, str(tiny_bundle), "bundle")
    client.log_text(run.info.run_id, "no bundle", "notes/notes.txt")
    client.create_registered_model("seasons")
    client.create_model_version("seasons", f"{run.info.artifact_uri}/bundle", run.info.run_id)
    client.set_registered_model_alias("seasons", "champion", "1")
    publish(tiny_bundle, name="seasons", alias="published")
    return run.info.run_id


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_a_directory_is_used_as_it_is(tiny_bundle):
    assert registry.resolve(tiny_bundle) == tiny_bundle
    assert registry.resolve(str(tiny_bundle)) == tiny_bundle


def test_a_missing_directory_is_named_with_what_would_be_right(tmp_path):
    with pytest.raises(
        BundleError, match=r"no model at .*nowhere: give a bundle directory or an MLflow URI"
    ):
        registry.resolve(str(tmp_path / "nowhere"))


def test_a_directory_that_is_no_bundle_is_refused(tmp_path):
    with pytest.raises(BundleError, match="is not a bundle"):
        registry.resolve(tmp_path)


@pytest.mark.parametrize(
    "uri",
    [
        "models:/seasons@champion",
        "models:/seasons/2",
        "models:/seasons/latest",
        "runs:/{run}/bundle",
    ],
)
def test_mlflow_models_are_downloaded(uri, published, tiny_bundle, cache):
    found = registry.resolve(uri.format(run=published), cache=cache)
    assert found.is_relative_to(cache)
    assert Translator.load(found).domains == ("summer", "winter")
    weights = "autoencoder.safetensors"
    assert (found / weights).read_bytes() == (tiny_bundle / weights).read_bytes()
    assert [path for path in cache.iterdir() if path != found] == []


def test_what_was_published_is_downloaded_once(published, cache, monkeypatch):
    first = registry.resolve("models:/seasons@published", cache=cache)
    monkeypatch.setattr(
        "mlflow.artifacts.download_artifacts", lambda *_, **__: pytest.fail("downloaded again")
    )
    assert registry.resolve("models:/seasons/2", cache=cache) == first
    assert registry.resolve("models:/seasons/latest", cache=cache) == first


@pytest.mark.parametrize("uri", ["runs:/{run}/bundle", "models:/seasons/1"])
def test_what_does_not_say_what_its_files_are_is_downloaded_again(uri, published, tmp_path, cache):
    found = registry.resolve(uri.format(run=published), cache=cache)
    (published_card,) = (tmp_path / "artifacts" / published).glob("**/MODEL_CARD.md")
    published_card.write_text("another card")
    assert (
        registry.resolve(uri.format(run=published), cache=cache) / "MODEL_CARD.md"
    ).read_text() == "another card"
    assert (
        found / "MODEL_CARD.md"
    ).read_text() != "another card"  # who uses it goes on undisturbed


def test_a_download_that_was_damaged_since_is_replaced(published, cache):
    found = registry.resolve("models:/seasons@published", cache=cache)
    card = (found / "MODEL_CARD.md").read_text()
    for name in ("MODEL_CARD.md", "config.json", "autoencoder.safetensors"):
        (found / name).write_bytes(b"\xff")
        assert registry.resolve("models:/seasons@published", cache=cache) == found
        assert (found / "MODEL_CARD.md").read_text() == card
        assert Translator.load(found).domains == ("summer", "winter")
    (found / "prior.safetensors").unlink()
    assert (
        registry.resolve("models:/seasons@published", cache=cache) / "prior.safetensors"
    ).is_file()


def test_latest_is_the_newest_version(published, tiny_bundle_without_prior, cache):
    before = registry.resolve("models:/seasons/latest", cache=cache)
    publish(tiny_bundle_without_prior, name="seasons", alias="published")
    after = registry.resolve("models:/seasons/LATEST", cache=cache)
    assert after == registry.resolve("models:/seasons@published", cache=cache)
    assert checksum(after) == checksum(tiny_bundle_without_prior) != checksum(before)


def test_a_model_that_was_deleted_and_made_again_is_the_new_one(
    new_store, tiny_bundle, tiny_bundle_without_prior, cache
):
    from mlflow import MlflowClient

    uri = publish(tiny_bundle, name="seasons", alias="champion")
    assert checksum(registry.resolve(uri, cache=cache)) == checksum(tiny_bundle)
    MlflowClient(new_store).delete_registered_model("seasons")
    with pytest.raises(BundleError, match="has no models:/seasons@champion"):
        registry.resolve(uri, cache=cache)
    publish(tiny_bundle_without_prior, name="seasons", alias="champion")
    for name in (uri, "models:/seasons/1"):
        assert checksum(registry.resolve(name, cache=cache)) == checksum(tiny_bundle_without_prior)


def test_a_store_that_was_begun_again_gives_its_own(
    new_store, mlflow_tables, tiny_bundle, tiny_bundle_without_prior, tmp_path, cache
):
    uri = publish(tiny_bundle, name="seasons", alias="champion")
    registry.resolve(uri, cache=cache)
    shutil.copy(mlflow_tables, tmp_path / "mlflow.db")
    shutil.rmtree(tmp_path / "mlruns")
    publish(tiny_bundle_without_prior, name="seasons", alias="champion")
    for name in (uri, "models:/seasons/1", "models:/seasons/latest"):
        assert checksum(registry.resolve(name, cache=cache)) == checksum(tiny_bundle_without_prior)


def test_files_that_are_no_longer_what_was_published_are_refused(
    new_store, tiny_bundle, tmp_path, cache
):
    uri = publish(tiny_bundle, name="seasons", alias="champion")
    (weights,) = (tmp_path / "mlruns").glob("**/autoencoder.safetensors")
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(
        BundleError, match=r"files of models:/seasons/1 are no longer those that were published"
    ):
        registry.resolve(uri, cache=cache)
    assert list(cache.iterdir()) == []


def test_a_pinned_name_stands_for_the_same_bytes_wherever_it_is_resolved(
    published, tiny_bundle, tiny_bundle_without_prior, tmp_path, cache, monkeypatch
):
    names = (
        "models:/seasons@champion",
        "models:/seasons/latest",
        "models:/seasons/2",
        f"runs:/{published}/bundle",
    )
    pinned = [registry.pin(name, cache=cache) for name in names]
    publish(tiny_bundle_without_prior, name="seasons", alias="champion")
    for pin in pinned:
        assert registry.pin(pin, cache=cache) == pin
        for place in ("other", "nodes"):
            assert checksum(registry.resolve(pin, cache=tmp_path / place)) == checksum(tiny_bundle)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{nobody()}")
    for pin in pinned:  # what is there is used, whether MLflow is there or not
        assert checksum(registry.resolve(pin, cache=cache)) == checksum(tiny_bundle)


def test_a_pinned_name_is_refused_where_only_another_bundle_is(
    new_store, tiny_bundle, tiny_bundle_without_prior, tmp_path, cache
):
    from mlflow import MlflowClient

    pinned = registry.pin(publish(tiny_bundle, name="seasons", alias="champion"), cache=cache)
    MlflowClient(new_store).delete_registered_model("seasons")
    publish(tiny_bundle_without_prior, name="seasons", alias="champion")
    with pytest.raises(
        BundleError, match=r"files of models:/seasons/1 are no longer those .* first used"
    ):
        registry.resolve(pinned, cache=tmp_path / "another")


def test_names_are_pinned_to_versions(published, tiny_bundle, cache, monkeypatch):
    digest = checksum(tiny_bundle)
    assert registry.pin("models:/seasons@champion", cache=cache) == f"models:/seasons/1#{digest}"
    assert registry.pin("models:/seasons/latest", cache=cache) == f"models:/seasons/2#{digest}"
    monkeypatch.chdir(tiny_bundle.parent)
    assert registry.pin(tiny_bundle.name) == str(tiny_bundle)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_newest_version_of_a_stage(published, tiny_bundle, cache):
    from mlflow import MlflowClient

    MlflowClient().transition_model_version_stage("seasons", "1", "Staging")
    assert registry.pin("models:/seasons/staging", cache=cache).startswith("models:/seasons/1#")


@pytest.mark.parametrize(
    "uri",
    [
        "models:/seasons@loser",
        "models:/seasons/9",
        "models:/seasons/Production",
        "models:/nothing@x",
        "models:/nothing/latest",
        "models:/my seasons@x",
        "runs:/0/bundle",
        "runs:/../bundle",
    ],
)
def test_what_mlflow_does_not_have_is_named(uri, published, cache):
    with pytest.raises(
        BundleError, match=r"MLflow at sqlite:.* has no .*check the name and MLFLOW_TRACKING_URI"
    ):
        registry.resolve(uri, cache=cache)
    assert not cache.exists()


@pytest.mark.parametrize(
    "uri", ["runs:/{run}/nothing", "models:/seasons/1/more", "models:/", "models:/seasons"]
)
def test_what_cannot_be_fetched_is_named(uri, published, cache):
    with pytest.raises(
        BundleError, match=r"cannot be fetched from MLflow at sqlite:|has no |no model at"
    ):
        registry.resolve(uri.format(run=published), cache=cache)


def test_artifacts_that_are_no_bundle_are_refused(published, cache):
    with pytest.raises(BundleError, match=r"runs:/.*/notes is not a bundle: publish one"):
        registry.resolve(f"runs:/{published}/notes", cache=cache)


def test_a_cache_that_cannot_be_written_is_named(published, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        BundleError,
        match=r"file/cache cannot keep downloaded models \(.*\): name another folder in VQI2I",
    ):
        registry.resolve("models:/seasons@champion", cache=tmp_path / "file" / "cache")


def test_a_folder_without_a_store_is_told_at_once_and_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    for uri in ("models:/seasons@champion", "models:/seasons/1", "runs:/0/bundle"):
        with pytest.raises(UserError, match=r"mlflow\.db cannot be used \(there is no such file\)"):
            registry.resolve(uri, cache=tmp_path / "cache")
    assert list(tmp_path.iterdir()) == []


def test_another_process_is_told_where_mlflow_is(published, tiny_bundle, monkeypatch):
    assert registry.environment("models:/seasons/1")["MLFLOW_TRACKING_URI"].startswith("sqlite:///")
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "http://registry")
    assert (
        registry.environment("models:/seasons/1#" + "0" * 64)["MLFLOW_REGISTRY_URI"]
        == "http://registry"
    )
    assert registry.environment(tiny_bundle) == {}
