"""A store that is away, or is none, is told within seconds and in one sentence."""

import os
import pickle
import time
from pathlib import Path

import pytest

from errors import UserError
from platforms.mlflow_store import StoreError, open_store, tracking_uri
from tests.servers import http_answer, nobody, strange_server

STRANGE = {
    "silence": (None, "timed out"),
    "an error": (http_answer("500 Internal Server Error", "text/plain", b"oops"), "500"),
    "unavailable": (
        http_answer("503 Service Unavailable", "text/html", b"<html>busy</html>"),
        "503",
    ),
    "a page": (http_answer("200 OK", "text/html", b"<html>welcome</html>"), "not in a valid JSON"),
    "a page that is not there": (
        http_answer("404 Not Found", "text/html", b"<html>where?</html>"),
        "404",
    ),
    "a list": (http_answer("200 OK", "application/json", b"[]"), "not in a valid JSON"),
    "fields of another service": (
        http_answer("200 OK", "application/json", b'{"experiments": "x"}'),
        "experiments",
    ),
    "a password that is wanted": (
        http_answer("401 Unauthorized", "text/plain", b"who are you?"),
        "401",
    ),
    "no HTTP": (b"-ERR unknown command\r\n", ""),
}


@pytest.fixture(autouse=True)
def one_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a user may set it."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr("platforms.mlflow_store._WAIT", 1)


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("write", [True, False])
def test_what_answers_but_not_as_mlflow_is_told_in_one_sentence(kind: str, write: bool) -> None:
    answer, reason = STRANGE[kind]
    with strange_server(answer) as port:
        begin = time.monotonic()
        with pytest.raises(StoreError) as refused:
            open_store(f"http://127.0.0.1:{port}", write=write)
    assert time.monotonic() - begin < 10
    assert str(refused.value).startswith(f"MLflow at http://127.0.0.1:{port} cannot be used (")
    assert reason in refused.value.reason
    assert str(refused.value).endswith("start it, or name another one in MLFLOW_TRACKING_URI")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        (f"http://{nobody()}", "Connection refused"),
        (f"https://{nobody()}", "Connection refused"),
        ("http://nowhere.invalid:5000", ""),
        ("nowhere:5000", "unsupported URI"),
        ("foo://x", "unsupported URI"),
        (f"mysql+nodriver://user@{nobody()}/db", "nodriver"),
        ("postgresql+psycopg9://user@nowhere/db", "psycopg9"),
    ],
)
def test_a_store_that_is_away_is_told_with_the_reason(uri: str, reason: str) -> None:
    with pytest.raises(StoreError, match="cannot be used") as refused:
        open_store(uri, write=True)
    assert reason in refused.value.reason


def test_a_database_server_that_is_silent_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Driver:
        """No driver is installed; what it would do is wait."""

        def connect(self) -> None:
            time.sleep(30)

    monkeypatch.setattr("sqlalchemy.create_engine", lambda uri: Driver())
    begin = time.monotonic()
    with pytest.raises(StoreError, match="silence for 1 s"):
        open_store("postgresql://user@nowhere/db", write=False)
    assert time.monotonic() - begin < 10


def test_reading_makes_no_database(tmp_path: Path) -> None:
    begin = time.monotonic()
    with pytest.raises(
        StoreError, match=r"mlflow\.db cannot be used \(there is no such file\): go to the folder"
    ):
        open_store(f"sqlite:///{tmp_path}/mlflow.db", write=False)
    assert time.monotonic() - begin < 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("write", [True, False])
def test_what_is_no_database_is_refused_before_mlflow_tries_ten_times(
    tmp_path: Path, write: bool
) -> None:
    (tmp_path / "notes.db").write_text("no database, but text\n" * 100)
    (tmp_path / "folder.db").mkdir()
    for name in ("notes", "folder"):
        begin = time.monotonic()
        with pytest.raises(StoreError, match=f"{name}.db cannot be used"):
            open_store(f"sqlite:///{tmp_path}/{name}.db", write=write)
        assert time.monotonic() - begin < 5


def test_a_place_where_nothing_can_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        StoreError,
        match=r"file/mlflow\.db cannot be used \(.*\): make it writable, or name another",
    ):
        open_store(f"sqlite:///{tmp_path}/file/mlflow.db", write=True)


def test_a_store_that_is_there_answers(new_store: str) -> None:
    assert tracking_uri() == new_store
    for write in (True, False):
        assert [each.name for each in open_store(new_store, write=write).search_experiments()] == [
            "Default"
        ]


def test_the_error_travels_between_processes() -> None:
    with pytest.raises(UserError) as refused:
        open_store("foo://x", write=True)
    again = pickle.loads(pickle.dumps(refused.value))
    assert (str(again), again.reason) == (str(refused.value), refused.value.reason)


def test_how_long_is_waited_is_up_to_mlflows_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    with strange_server(None) as port:
        begin = time.monotonic()
        with pytest.raises(StoreError):
            open_store(f"http://127.0.0.1:{port}", write=True)
    assert time.monotonic() - begin >= 2  # a second, twice


def test_where_they_are_not_set_seconds_are_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"):
        monkeypatch.delenv(name)
    with pytest.raises(StoreError):
        open_store(f"http://{nobody()}", write=True)
    seconds, again = (
        int(os.environ[f"MLFLOW_HTTP_REQUEST_{name}"]) for name in ("TIMEOUT", "MAX_RETRIES")
    )
    assert seconds * (1 + again) <= 20
