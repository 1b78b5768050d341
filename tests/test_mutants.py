"""What is known of mutants that live must go with the code."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_mutants_that_may_live_are_of_lines_that_are_there_and_have_a_reason() -> None:
    for entry in tomllib.loads((ROOT / "tests/mutants.toml").read_text())["mutants"]:
        assert entry.keys() == {"file", "was", "is", "reason"}, entry
        lines = [line.strip() for line in (ROOT / entry["file"]).read_text().splitlines()]
        for line in entry["was"].splitlines():
            assert line in lines, (
                f"{entry['file']} has no line {line!r} any more: take its mutants out"
            )
        assert entry["reason"]
        assert entry["was"] not in entry["is"]


def test_kinds_of_mutants_that_may_live_are_met_in_the_code_and_have_a_reason() -> None:
    folders = ("vqi2i", "training", "tuning")
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]
    code = "".join(file.read_text() for file in files)
    for kind in tomllib.loads((ROOT / "tests/mutants.toml").read_text())["kinds"]:
        assert kind.keys() == {"part", "reason"}, kind
        assert re.search(kind["part"], code), kind
        assert kind["reason"]
