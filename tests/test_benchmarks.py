"""Benchmarks start and say what they measure; those that are quick end with their JSON line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_readme import ROOT

SCRIPTS = sorted(path.name for path in (ROOT / "benchmarks").glob("*.py"))


def run(script: str, *arguments: str) -> str:
    command = [sys.executable, str(Path("benchmarks") / script), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_benchmark_tells_its_use(script: str) -> None:
    assert f"benchmarks/{script}" in run(script, "--help")


@pytest.mark.slow
def test_a_sweep_measures_steps() -> None:
    line = json.loads(run("throughput.py", "--sweep", "1,2", "--steps", "1").splitlines()[-1])
    assert [row["batch"] for row in line["rows"]] == [1, 2]
    assert all(row["images_per_second"] > 0 for row in line["rows"])
    assert line["rows"][1]["tflops_per_step"] > 1.5 * line["rows"][0]["tflops_per_step"]
