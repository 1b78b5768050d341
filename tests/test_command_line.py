"""How commands end: a sentence and 2 if a user can mend it, a traceback and 1 for a fault of ours,
130 for Ctrl-C.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import run
from commands.verbs import Verb
from errors import UserError
from tests.pipelines.building.test_interrupted_builds import write
from vqi2i import __version__

ROOT = Path(__file__).parents[1]
PYTHON = [sys.executable, "-m", "vqi2i"]


@pytest.fixture
def places(
    tmp_path: Path, tiny_bundle: Path, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder of odd places, which is the current one."""
    write(tmp_path / "photos", range(2))
    (tmp_path / "file").write_text("text")
    (tmp_path / "bundle").symlink_to(tiny_bundle)
    (tmp_path / "shards").symlink_to(shards)
    (tmp_path / "steps.yaml").write_text("from: summer\nsteps:\n  - translate: {to: winter}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> tuple[int, str]:
    """Exit code and standard error of a command in this process."""
    monkeypatch.setattr(sys, "argv", ["vqi2i", *command.split()])
    with pytest.raises(SystemExit) as end:
        run.main()
    return int(end.value.code or 0), capsys.readouterr().err


LONG = "x" * 300


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("translate bundle photos --to winter --out r", "photos is a folder: give a file"),
        (
            "translate bundle nowhere.png --to winter --out r",
            "nowhere.png does not exist: check the path",
        ),
        ("translate bundle file/0.png --to winter --out r", "file/0.png leads through a file"),
        (
            "translate bundle photos/0000.png --to winter --style photos --out r",
            "photos is a folder: give a file",
        ),
        (
            "translate bundle photos/0000.png --to winter --out file",
            "file is a file: give a folder",
        ),
        (
            "translate bundle photos/0000.png --to winter --out /proc/none/r",
            "/proc/none does not exist: check the path",
        ),
        (
            f"translate bundle photos/0000.png --to winter --out {LONG}",
            "xxx... is too long a name: give a shorter one",
        ),
        ("generate bundle --domain winter --count 1 --out file/r", "file/r leads through a file"),
        (
            "compose bundle photos/0000.png --steps photos --out r",
            "photos is a folder: give a file",
        ),
        (
            "compose bundle photos/0000.png --steps file --out r",
            "file: a chain is a mapping with `steps`",
        ),
        (
            "compose bundle photos/0000.png --steps steps.yaml --out file",
            "file is a file: give a folder",
        ),
        (
            "data shard --domain a=photos --domain b=photos --out file/x",
            "file/x leads through a file",
        ),
        (
            "data shard --domain a=photos --domain b=photos --out /proc/none/x",
            "/proc/none does not exist",
        ),
        ("data synthesize file/x --pairs 1 --size 16", "file/x leads through a file"),
        (
            "data inspect shards --sheet /proc/none/sheet.png",
            "/proc/none does not exist: check the path",
        ),
        ("data inspect shards --sheet photos.png/sheet.png", ""),
        ("data copy shards file", "cannot be"),
        (
            "import-authors photos --domains a,b --out r",
            "photos is a folder: give the authors' checkpoint file",
        ),
        (
            "import-authors file --domains a,b --out r",
            "file cannot be read as a checkpoint of weights",
        ),
        (
            "train stage1 --data shards --local --runs file",
            "file/stage1-laptop64 leads through a file",
        ),
        (
            f"train stage1 --data shards --local --run {LONG}",
            "is too long a name: give a shorter one",
        ),
        (
            "train stage1 --data shards --local --cache-gb inf",
            "--cache-gb: gigabytes: Input should be",
        ),
        (
            "train stage1 --data shards --local --set crop=5",
            "crop 5 is not a multiple of the network's stride",
        ),
        (
            "tune stage1 --data shards --runs file",
            "file/tune-stage1-laptop64-method leads through a file",
        ),
        ("study serve photos", "photos holds no study: build one with `vqi2i study build`"),
        ("study analyse nowhere", "nowhere holds no study"),
        (
            "study build --to winter --method photos --real photos --out r",
            "--method 'photos' is not of the form NAME=FOLDER",
        ),
        (
            "study build --to winter --method a=photos --method a=file --real photos --out r",
            "--method a is given twice",
        ),
        (
            "study build --to winter --method a=nowhere --real photos --out r",
            "nowhere does not exist: check the path",
        ),
        (
            "study build --to winter --method a=photos --real photos --out file",
            "file is a file: give a folder",
        ),
        ("evaluate bundle --data photos --out file", "file is a file: give a folder"),
        ("evaluate bundle --data photos --out r", "photos is not a finished data set"),
    ],
)
def test_what_a_user_can_mend_ends_with_one_sentence(
    command: str,
    sentence: str,
    places: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if not sentence:  # a file in the way of a folder that would be made
        (places / "photos.png").touch()
        sentence = "photos.png is a file: give a folder"
    code, said = ended(monkeypatch, capsys, command)
    assert code == 2, said
    assert said.startswith("vqi2i: ")
    assert sentence in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"null", b"\xff\xfe", b'{"identity": 3}', b"\x89PNG\r\n\x1a\n"]
)
def test_foreign_json_is_named_by_its_file(
    content: bytes,
    places: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for file, command in (
        ("runs/stage1-laptop64/run.json", "train stage1 --data shards --local"),
        ("runs/tune-stage1-laptop64-method/search.json", "tune stage1 --data shards"),
        ("model/config.json", "generate model --domain winter --count 1 --out r"),
        ("model/config.json", "publish model --name seasons"),
        ("data/manifest.json", "data inspect data"),
        ("data/manifest.json", "train stage1 --data data --local"),
    ):
        (places / file).parent.mkdir(parents=True, exist_ok=True)
        (places / file).write_bytes(content)
        code, said = ended(monkeypatch, capsys, command)
        assert code == 2, said
        assert file in said
        assert re.search("[:;] (choose|export|build) ", said)
        assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    "error", [KeyError("x"), ValueError("a library's"), AssertionError(), OSError("no path")]
)
def test_everything_else_is_a_fault_of_ours(
    error: Exception,
    places: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("pipelines.synthetic.dataset.synthesize", broken)
    code, said = ended(monkeypatch, capsys, "data synthesize seasons")
    assert code == 1
    assert said.startswith("Traceback")
    assert said.splitlines()[-1].startswith("vqi2i: a fault of vqi2i, not yours: please report it")


def test_an_interrupted_command_ends_with_130_and_says_nothing(
    places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.synthetic.dataset.synthesize", interrupted)
    assert ended(monkeypatch, capsys, "data synthesize seasons") == (130, "")


def test_a_signal_ends_a_command_at_once(tmp_path: Path) -> None:
    command = [*PYTHON, "data", "synthesize", "seasons", "--pairs", "100000"]
    home = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=home)
    deadline = time.monotonic() + 60
    while (
        not (tmp_path / "seasons/train/summer/00000.png").exists() and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_what_nobody_reads_any_more_ends_a_command_quietly(unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*PYTHON, "--version"],
        stdout=writing,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        text=True,
        check=False,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_connection_that_breaks_is_not_taken_for_a_closed_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("pipelines.synthetic.dataset.synthesize", broken)
    code, said = ended(monkeypatch, capsys, "data synthesize seasons")
    assert code == 1
    assert "ConnectionError: Broken pipe" in said


def test_every_command_is_a_verb() -> None:
    from typer.main import get_command

    waiting, verbs = [get_command(run.app)], []
    while waiting:
        command = waiting.pop()
        inside = getattr(command, "commands", None)
        waiting += inside.values() if inside else []
        verbs += [] if inside else [command]
    assert len(verbs) == 26
    assert all(isinstance(verb, Verb) for verb in verbs)


def test_the_version_is_that_of_the_package() -> None:
    done = subprocess.run(
        [*PYTHON, "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"vqi2i {__version__}\n"


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """A bash with the command on its path and a home of its own."""
    script = tmp_path / "bin/vqi2i"
    script.parent.mkdir()
    script.write_text(f"#!{sys.executable}\nfrom vqi2i.__main__ import main\nmain()\n")
    script.chmod(0o755)
    path = f"{script.parent}:{os.environ['PATH']}"
    return os.environ | {
        "PATH": path,
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "SHELL": "/bin/bash",
    }


def test_bash_completes_commands_and_options(shell: dict[str, str], tmp_path: Path) -> None:
    def bash(line: str) -> str:
        return subprocess.run(
            ["bash", "--norc", "-c", line],
            env=shell,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert "complete -o default -F _vqi2i_completion vqi2i" in bash("vqi2i --show-completion; true")
    assert "completion installed" in bash("vqi2i --install-completion; true")
    asked = (
        "source ~/.bashrc; COMP_WORDS=({}); COMP_CWORD={}; _vqi2i_completion vqi2i; echo "
        "${{COMPREPLY[@]}}"
    )
    assert sorted(bash(asked.format("vqi2i tra", 1)).split()) == [
        "train",
        "transition",
        "translate",
    ]
    assert bash(asked.format("vqi2i data sh", 2)).split() == ["shard"]
    assert bash(asked.format("vqi2i translate --sam", 2)).split() == ["--samples"]


def test_a_sentence_of_ours_can_be_traced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("VQI2I_TRACEBACK", "1")
    monkeypatch.setattr(sys, "argv", ["vqi2i", "data", "inspect", str(tmp_path)])
    with pytest.raises(UserError, match="is not a finished data set"):
        run.main()
