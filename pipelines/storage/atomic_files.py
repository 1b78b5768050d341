"""Files that are whole in spite of kills: they appear when they are complete, or lose a line that
was cut short.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from errors import UserError

# what file managers leave behind
_LITTER = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})


def is_litter(name: str) -> bool:
    """Whether a file of this name was not put where it is by anybody: hidden ones, and those of
    file managers.
    """
    return name.startswith(".") or name.lower() in _LITTER


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, by name, without what nobody has put there; nothing if there is no
    such folder.
    """
    return (
        sorted(path for path in folder.iterdir() if not is_litter(path.name))
        if folder.is_dir()
        else []
    )


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under its name only when it is complete and on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)  # on a full disk it would keep others from being written
        raise
    temporary.replace(path)


def whole_lines(path: Path) -> list[bytes]:
    """The lines of a file that is appended to, none if it is absent; one that a kill has cut short
    is cut off.
    """
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with path.open("r+b") as stream:
            stream.truncate(len(whole))
    return whole.splitlines()


def write_table(path: Path, rows: Iterable[tuple[Any, ...]], schema: pa.Schema) -> None:
    """Write `rows`, whose values are in the order of `schema`, as parquet; the schema's metadata
    goes along.
    """
    table = pa.Table.from_pylist(
        [dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema
    )
    with atomic(path) as stream:
        pq.write_table(table, stream)


def read_table(data: bytes, schema: pa.Schema, columns: Sequence[str] | None = None) -> pa.Table:
    """The table in the bytes of a parquet file, or some columns of it.

    This thread alone reads: one of Arrow's that lets go of Python's bytes as the interpreter ends
    aborts the process.

    Raises:
        UserError: it is damaged, or has not the columns of `schema`.
    """
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            found = file.schema_arrow
            if not found.equals(schema):
                raise UserError(
                    f"it has the columns {', '.join(found.names)}, not {', '.join(schema.names)}"
                )
            return file.read(columns, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise UserError(str(error)) from error


def sha256_of(path: Path) -> str:
    """sha256 of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
