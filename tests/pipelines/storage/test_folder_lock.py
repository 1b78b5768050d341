"""A folder that a process works in is kept from others, as long as the process lives."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from errors import UserError
from pipelines.storage.folder_lock import alone_in

HOLD = """
import sys
from pathlib import Path
from pipelines.storage.folder_lock import alone_in
with alone_in(Path(sys.argv[1]), "is taken"):
    print("in", flush=True)
    sys.stdin.read()
"""


TURNS = """
import os, sys
from pathlib import Path
from errors import UserError
from pipelines.storage.folder_lock import alone_in
folder, number, turns = Path(os.environ["FOLDER"]), sys.argv[1], 0
while turns < 100:
    try:
        with alone_in(folder, "is taken"):
            (folder / "who").write_text(number)
            turns += (folder / "who").read_text() == number or sys.exit("two were in")
    except UserError:
        pass
print(turns)
"""


def test_a_folder_has_one_process_until_that_dies(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there yet"
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    assert other.stdout is not None
    assert other.stdin is not None
    with other.stdout, other.stdin:
        assert other.stdout.readline() == b"in\n"
        with (
            pytest.raises(UserError, match=r"there yet is taken: wait$"),
            alone_in(folder, "is taken: wait"),
        ):
            pass
        other.kill()
        other.wait()
    with alone_in(folder, "is taken"):
        assert [path.name for path in folder.iterdir()] == [".lock"]
    assert not list(folder.iterdir())


def test_two_tasks_of_one_process_do_not_meet_either(tmp_path: Path) -> None:
    with (
        alone_in(tmp_path, "is taken"),
        pytest.raises(UserError, match="is taken"),
        alone_in(tmp_path, "is taken"),
    ):
        pass
    with alone_in(tmp_path, "is taken"):
        pass


def test_processes_that_come_and_go_are_never_two(tmp_path: Path) -> None:
    """Each writes its number on coming in and finds it there before it goes."""
    turns = subprocess.run(
        f"for number in 1 2 3; do {sys.executable} -c '{TURNS}' $number & done; wait",
        shell=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        env=os.environ | {"FOLDER": str(tmp_path / "folder")},
        check=False,
    )
    assert (turns.stdout.split(), turns.stderr) == (["100"] * 3, "")
