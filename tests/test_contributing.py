"""What CONTRIBUTING.md names is there: files, commands, and names of the code in the files that
stand beside them.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.documents import ROOT, broken_links, shell_lines

PAGE = ROOT / "CONTRIBUTING.md"
PATH = re.compile(r"[\w.-]*/[\w./-]*|[\w-]+\.(?:md|py|toml)")
OTHERS = {"curl", "None", "laptop64"}  # no names of the code


def passages() -> list[str]:
    """Paragraphs, rows of tables and items of lists, without blocks of code."""
    text = re.sub(r"^```.*?^```\n", "", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)
    return [part for part in re.split(r"\n\s*\n|\n(?=[-|#]|\d\. )", text) if part.strip()]


def quoted(passage: str) -> list[str]:
    return re.findall("`(.+?)`", passage)


def named() -> Iterator[tuple[str, list[str], list[Path]]]:
    """Every passage with the names of the code in it, and the files that it speaks of."""
    for passage in passages():
        words = [word for word in quoted(passage) if not word.startswith("make ")]
        files = [ROOT / word for word in words if PATH.fullmatch(word)]
        names = [word for word in words if not PATH.fullmatch(word)]
        yield passage, [name for name in names if name not in OTHERS], files


def has(file: Path, name: str) -> bool:
    """Whether a name occurs in a file; a dotted one must be an attribute of what is before the dot,
    or a field of a configuration.
    """
    if not file.is_file():
        return False
    if "." not in name or file.suffix != ".py":
        return re.search(rf"\b{re.escape(name)}\b", file.read_text()) is not None
    found: Any = import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
    for part in name.split("."):
        fields = getattr(found, "model_fields", {})
        if not hasattr(found, part) and part not in fields:
            return False
        found = getattr(found, part, fields.get(part))
    return True


def test_every_link_of_contributing_leads_somewhere() -> None:
    assert broken_links(PAGE) == []


def test_every_file_that_is_named_is_there() -> None:
    files = [file for _, _, found in named() for file in found]
    assert len(files) > 30
    assert [str(file) for file in files if not file.exists()] == []


def test_every_name_of_the_code_is_in_a_file_that_its_passage_names() -> None:
    count = 0
    for passage, names, files in named():
        for name in names:
            assert any(has(file, name) for file in files), f"{name}: {passage}"
            count += 1
    assert count > 20


def commands() -> list[str]:
    return shell_lines(PAGE) + [
        word for passage in passages() for word in quoted(passage) if word.startswith("make ")
    ]


def test_every_target_of_make_is_one() -> None:
    makefile = (ROOT / "Makefile").read_text()
    lines = [shlex.split(line) for line in commands() if line.startswith("make ")]
    assert lines
    for _, target, *variables in lines:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
        for variable in variables:
            assert f"$({variable.partition('=')[0]})" in makefile, variable


def test_every_other_command_is_one() -> None:
    others = [shlex.split(line) for line in shell_lines(PAGE) if not line.startswith("make ")]
    assert others
    for program, *arguments in others:
        assert program.startswith(".venv/bin/")
        assert Path(sys.executable).with_name(Path(program).name).exists(), program
        for word in arguments:
            if PATH.fullmatch(word) and word != ".":
                assert (ROOT / word).exists(), word


@pytest.mark.slow
def test_the_tests_that_are_told_to_be_run_can_be() -> None:
    (line,) = [line for line in shell_lines(PAGE) if " pytest " in line]
    command = [sys.executable, *shlex.split(line)[1:], "--collect-only", "--quiet"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
