"""Tables come back as they were written, read by the thread that asks."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.storage.atomic_files import read_table, write_table

SCHEMA = pa.schema([("name", pa.string()), ("size", pa.int64())])
COUNT_THREADS = """
import os, sys
from pathlib import Path
import pyarrow as pa
from pipelines.storage.atomic_files import read_table
data = Path(sys.argv[1]).read_bytes()
schema = pa.schema([("name", pa.string()), ("size", pa.int64())])
before = len(os.listdir("/proc/self/task"))
assert read_table(data, schema).num_rows == 2
print(len(os.listdir("/proc/self/task")) - before)
"""


@pytest.fixture
def written(tmp_path: Path) -> Path:
    write_table(tmp_path / "table.parquet", [("a", 1), ("b", 2)], SCHEMA)
    return tmp_path / "table.parquet"


def test_a_table_is_read_whole_or_in_part(written: Path) -> None:
    assert read_table(written.read_bytes(), SCHEMA).to_pylist() == [
        {"name": "a", "size": 1},
        {"name": "b", "size": 2},
    ]
    assert read_table(written.read_bytes(), SCHEMA, ["size"]).to_pydict() == {"size": [1, 2]}


def test_other_columns_and_damage_are_errors(written: Path) -> None:
    with pytest.raises(ValueError, match="it has the columns name, size, not other"):
        read_table(written.read_bytes(), pa.schema([("other", pa.string())]))
    with pytest.raises(ValueError, match="arquet"):
        read_table(written.read_bytes()[:-3], SCHEMA)


@pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="only Linux lists a process's threads"
)
def test_reading_starts_no_thread_that_could_end_after_the_interpreter(written: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COUNT_THREADS, str(written)], capture_output=True, text=True
    )
    assert done.stdout.strip() == "0", done.stderr
