"""Benchmarks start and say what they measure; those that are quick end with their JSON line."""

import json
import runpy
import sys
from pathlib import Path

import pytest

from tests.documents import ROOT
from tests.processes import begin

SCRIPTS = sorted(path.name for path in (ROOT / "benchmarks").glob("*.py"))


def script(path: Path, arguments: list[str]) -> None:
    """What a process does: the same as `python path arguments`."""
    sys.path.insert(0, str(path.parent))
    sys.argv = [str(path), *arguments]
    runpy.run_path(str(path), run_name="__main__")


def run(name: str, folder: Path, *arguments: str) -> str:
    """What a benchmark prints."""
    said = folder / "said"
    process = begin(script, ROOT / "benchmarks" / name, list(arguments), folder=ROOT, said=said)
    process.join()
    assert process.exitcode == 0, said.read_text()[-2000:]
    return (folder / "said.out").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_benchmark_tells_its_use(name: str, tmp_path: Path) -> None:
    assert f"benchmarks/{name}" in run(name, tmp_path, "--help")


@pytest.mark.slow
def test_a_sweep_measures_steps(tmp_path: Path) -> None:
    line = json.loads(
        run("throughput.py", tmp_path, "--sweep", "1,2", "--steps", "1").splitlines()[-1]
    )
    assert [row["batch"] for row in line["rows"]] == [1, 2]
    assert all(row["images_per_second"] > 0 for row in line["rows"])
    assert line["rows"][1]["tflops_per_step"] > 1.5 * line["rows"][0]["tflops_per_step"]
