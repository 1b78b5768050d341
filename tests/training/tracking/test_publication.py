"""A bundle is in the registry whole, under a name that can be asked for, or not at all."""

import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from errors import UserError
from serving.registry import resolve
from tests.servers import http_answer, nobody, strange_server
from training.tracking.publication import publish
from vqi2i.bundle import CHECKSUM_TAG, checksum


def runs(store: str, experiment: str = "vqi2i") -> list[str]:
    """States of the runs of an experiment, deleted ones too."""
    client = MlflowClient(store)
    found = client.get_experiment_by_name(experiment)
    return (
        [run.info.status for run in client.search_runs([found.experiment_id])]
        if found is not None
        else []
    )


def test_versions_say_what_their_files_are(
    new_store: str, tiny_bundle: Path, tiny_bundle_without_prior: Path
) -> None:
    assert publish(tiny_bundle, name="seasons", alias="champion") == "models:/seasons@champion"
    assert (
        publish(tiny_bundle_without_prior, name="seasons", alias="rival") == "models:/seasons@rival"
    )
    client = MlflowClient(new_store)
    first, second = (client.get_model_version("seasons", version) for version in ("1", "2"))
    assert first.tags[CHECKSUM_TAG] == checksum(tiny_bundle) != second.tags[CHECKSUM_TAG]
    assert (first.description, first.aliases) == (
        (tiny_bundle / "MODEL_CARD.md").read_text(),
        ["champion"],
    )
    assert runs(new_store) == ["FINISHED", "FINISHED"]


@pytest.mark.parametrize("name", ["my seasons", "it's", 'say "hi"', "a@b", "a#b?c", "50 %", "été"])
def test_what_publish_returns_leads_to_the_bundle(
    name: str, new_store: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    uri = publish(tiny_bundle, name=name, alias="champion")
    assert checksum(resolve(uri, cache=tmp_path / "cache")) == checksum(tiny_bundle)
    publish(tiny_bundle, name=name, alias="champion")
    assert MlflowClient(new_store).get_model_version_by_alias(name, "champion").version == 2


@pytest.mark.parametrize(
    ("name", "alias"),
    [("team/seasons", "champion"), ("seasons", "latest"), ("seasons", "v1"), ("", "x"), ("x", "")],
)
def test_names_that_cannot_be_are_refused_before_mlflow_is_asked(
    name: str, alias: str, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(UserError, match=r"cannot be the (name|alias)"):
        publish(tiny_bundle, name=name, alias=alias)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "step", ["log_artifacts", "create_model_version", "set_registered_model_alias"]
)
@pytest.mark.parametrize("error", [MlflowException("no"), OSError("no"), KeyboardInterrupt("no")])
def test_nothing_is_left_of_an_attempt_that_fails_half_way(
    step: str,
    error: BaseException,
    new_store: str,
    tiny_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = MlflowClient(new_store)
    client.create_registered_model("theirs")

    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(MlflowClient, step, fail)
        for name in ("ours", "theirs"):
            wanted = UserError if isinstance(error, Exception) else KeyboardInterrupt
            with pytest.raises(wanted, match="no"):
                publish(tiny_bundle, name=name, alias="champion")
    assert runs(new_store) == []
    assert client.search_model_versions() == []
    assert [model.name for model in client.search_registered_models()] == ["theirs"]
    assert publish(tiny_bundle, name="ours", alias="champion") == "models:/ours@champion"


def test_an_earlier_version_keeps_its_alias_when_a_new_one_fails(
    new_store: str, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tiny_bundle, name="seasons", alias="champion")

    def fail(*_: object) -> None:
        raise MlflowException("no")

    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", fail)
    with pytest.raises(UserError):
        publish(tiny_bundle, name="seasons", alias="champion")
    (version,) = MlflowClient(new_store).search_model_versions()
    assert (
        version.version,
        MlflowClient(new_store).get_model_version_by_alias("seasons", "champion").version,
    ) == (
        1,
        1,
    )


def test_an_artifact_store_that_fails_in_its_own_way_is_told_in_one_sentence(
    new_store: str, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoCredentialsError(Exception):
        """As the libraries of buckets raise."""

    def fail(*_: object) -> None:
        raise NoCredentialsError("who are you?")

    monkeypatch.setattr(MlflowClient, "log_artifacts", fail)
    with pytest.raises(
        UserError,
        match=r"cannot be used \(who are you\?\): see to the place where it keeps artifacts",
    ):
        publish(tiny_bundle, name="seasons", alias="champion")
    assert runs(new_store) == []


def test_a_server_that_is_away_is_told_within_seconds(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"http://{nobody()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    begin = time.monotonic()
    with pytest.raises(
        UserError,
        match=rf"MLflow at {uri} cannot be used \(.*refused\): start it, or name another one",
    ):
        publish(tiny_bundle, name="seasons", alias="champion")
    assert time.monotonic() - begin < 10


def test_a_service_that_takes_everything_is_not_mlflow(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with strange_server(http_answer("200 OK", "application/json", b'{"status": "ok"}')) as port:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        with pytest.raises(UserError, match="it answers, but not as MLflow does"):
            publish(tiny_bundle, name="seasons", alias="champion")


def test_runs_go_where_mlflows_own_variables_say(
    new_store: str, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    publish(tiny_bundle, name="seasons", alias="champion")
    assert (runs(new_store, "mine"), runs(new_store)) == (["FINISHED"], [])
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    client = MlflowClient(new_store)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", client.create_experiment("theirs"))
    publish(tiny_bundle, name="seasons", alias="champion")
    assert (runs(new_store, "theirs"), runs(new_store)) == (["FINISHED"], [])
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "4711")
    with pytest.raises(UserError, match="4711"):
        publish(tiny_bundle, name="seasons", alias="champion")


def test_an_experiment_that_was_deleted_is_named_with_the_remedy(
    new_store: str, tiny_bundle: Path
) -> None:
    client = MlflowClient(new_store)
    client.delete_experiment(client.create_experiment("vqi2i"))
    with pytest.raises(
        UserError,
        match=r"experiment vqi2i was deleted\): restore it \(mlflow experiments restore -x 1\)",
    ):
        publish(tiny_bundle, name="seasons", alias="champion")
