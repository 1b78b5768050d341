"""The MLflow server or database: where it is, whether it answers, and what it answers in one
sentence.
"""

import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SQLITE = "sqlite:///"
_DATABASES = ("postgresql", "mysql", "mssql")
_WAIT = 15  # seconds for an answer
# Nothing is gained by insisting: who asks either tries again later or says that nobody answers.
_SHORT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": str(_WAIT), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
_REMEDY = "start it, or name another one in MLFLOW_TRACKING_URI"


class StoreError(UserError):
    """MLflow cannot be reached, or does not do what it was asked for.

    Attributes:
        reason, remedy: parts of the message.
    """

    reason = remedy = (
        ""  # no arguments: it travels between processes, where the message alone makes it anew
    )


def store_error(uri: str, why: object, remedy: str = _REMEDY) -> StoreError:
    """A StoreError about the store at `uri`.

    Args:
        uri: of the store.
        why: an exception, or words.
        remedy: what can be done about it.
    """
    reason = reason_of(why)
    error = StoreError(f"MLflow at {uri} cannot be used ({reason}): {remedy}")
    error.reason, error.remedy = reason, remedy
    return error


def reason_of(why: object) -> str:
    """An exception of MLflow's client, or words, in one line: where a connection failed, why it did
    and no more.
    """
    inner = why
    while (
        isinstance(inner, BaseException)
        and (deeper := inner.__cause__ or inner.__context__) is not None
    ):
        inner = deeper
    connection = isinstance(inner, OSError) or type(inner).__module__.startswith("urllib3.")
    return " ".join(str(inner if connection else why).split())[:200].rstrip(".")


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or a database in the working directory; absolute, since workers run
    elsewhere.
    """
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}{Path('mlflow.db').absolute()}"


def database_of(uri: str) -> Path | None:
    """The file of an SQLite store; None for other stores."""
    if not uri.startswith(_SQLITE):
        return None
    return Path(uri.removeprefix(_SQLITE).partition("?")[0])


def open_store(uri: str, *, write: bool) -> "MlflowClient":
    """A client of a store that answers; MLflow itself would try for minutes to reach one that does
    not.

    How long is waited is up to MLFLOW_HTTP_REQUEST_TIMEOUT and MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    where they are set.

    Args:
        uri: of the store.
        write: whether anything is to be written; only then is a database made that is not there.

    Raises:
        StoreError: it does not answer, or not as MLflow does.
    """
    for name, value in _SHORT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    if (database := database_of(uri)) is not None:
        return _open_database(uri, database, write=write)
    if uri.startswith(_DATABASES):
        _check_database_server(uri)
    return _client(uri)


@contextmanager
def asking(uri: str) -> Iterator[None]:
    """Raise a StoreError for what MLflow's client raises within the block."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        raise store_error(uri, error, "check its log, and what you may do there") from error


def _client(uri: str) -> "MlflowClient":
    from mlflow import MlflowClient

    try:
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
        if database_of(uri) is not None:  # makes the registry's tables, too
            client.search_registered_models(max_results=1)
    except Exception as error:  # what another service answers breaks MLflow's client in many ways
        raise store_error(uri, error) from error
    return client


def _open_database(uri: str, file: Path, *, write: bool) -> "MlflowClient":
    elsewhere = "name another one in MLFLOW_TRACKING_URI"
    if not write:
        if not file.exists():
            raise store_error(
                uri, "there is no such file", f"go to the folder where it was made, or {elsewhere}"
            )
        _check_file(uri, file)
        return _client(uri)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # two processes that make tables at once break them
        with FileLock(file.with_name(f".{file.name}.lock")):
            if file.exists():
                _check_file(uri, file)
                file.open("ab").close()
            return _client(uri)
    except OSError as error:
        raise store_error(uri, error, f"make it writable, or {elsewhere}") from error


def _check_file(uri: str, file: Path) -> None:
    try:
        with closing(
            sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)
        ) as connection:
            connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error as error:
        raise store_error(
            uri, error, "repair it, or name another one in MLFLOW_TRACKING_URI"
        ) from error


def _check_database_server(uri: str) -> None:
    import sqlalchemy

    def connect() -> None:
        sqlalchemy.create_engine(uri).connect().close()

    try:
        _within(_WAIT, connect)
    except Exception as error:  # each driver has errors of its own; it may also be missing
        raise store_error(uri, error) from error


def _within(seconds: float, work: Callable[[], None]) -> None:
    """Do something that may hang; it goes on in a thread that nobody waits for.

    Raises:
        TimeoutError: it takes longer.
        Exception: what the work has raised.
    """
    failures: list[Exception] = []

    def do() -> None:
        try:
            work()
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"silence for {seconds:g} s")
    if failures:
        raise failures[0]
