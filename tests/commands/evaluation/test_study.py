"""vqi2i study: from folders of pictures to a chart, by three commands."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner, Result

import imaging
from evaluation.study.answers import AnswerLog
from evaluation.study.trials import read_study
from run import app
from tests.documents import ROOT
from tests.evaluation.study.conftest import answer, answers
from tests.servers import free_port


def vqi2i(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["study", *arguments])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study, built by the command, in the folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("ours", "rival", "winter"):
        for number in range(4):
            pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
            imaging.write(tmp_path / name / f"{number}.png", pixels)
    command = "--to winter --method ours=ours --method rival=rival --real winter --out study"
    done = vqi2i("build", *command.split(), "--trials", "9", "--checks", "2", "--json")
    assert done.exit_code == 0, done.output
    assert {"trials": 11, "checks": 2, "size": 32}.items() <= json.loads(done.stdout).items()
    return tmp_path / "study"


def test_building_is_told_in_a_sentence(folder: Path) -> None:
    command = "--to winter --method ours=ours --real winter --checks 1 --seed -1 --out study"
    done = vqi2i("build", *command.split())
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("study: 5 trials, 1 of them attention checks, of 32 px, a page")
    assert "replaced what was there: study/page.html" in " ".join(done.stderr.split())


def test_analysing_prints_shares_and_draws_the_chart(folder: Path) -> None:
    study = read_study(folder)
    with AnswerLog(folder, study) as log:
        for given in answers(study, 1, lambda trial: "real" if trial.is_check else "ours"):
            log.add(given)
    done = vqi2i("analyse", "study")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "realism: ours over rival 100.0% (43.9% to 100.0%) of 3 answers"
    assert lines[-2] == (
        "answers: 9; participants: 1; left out: 0 who missed an attention check, 0 who saw none"
    )
    assert "ours" in (folder / "preferences.html").read_text()
    result = json.loads(vqi2i("analyse", "study", "--json").stdout)
    assert (result["participants"], result["answers"]) == (1, 9)
    assert result["preferences"][0]["share"] == 1
    with (folder / "answers.jsonl").open("ab") as file:
        file.write(b'{"study":"')
    assert "cut short when the server was killed: 1" in vqi2i("analyse", "study").stdout


@contextmanager
def server(folder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "run.py"), "study", "serve", "study", "--port", str(port)],
        cwd=folder.parent,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(url: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(url)
            return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the server did not start")


def test_serving_keeps_answers_across_kills_and_ends_with_ctrl_c(folder: Path) -> None:
    study, port = read_study(folder), free_port()
    url = f"http://127.0.0.1:{port}/"
    for trial in range(2):
        with server(folder, port) as process:
            wait_for(url, process)
            body = answer(study, 1, trial).model_dump_json()
            headers = {"Content-Type": "application/json"}
            assert httpx.post(f"{url}answers", content=body, headers=headers).status_code == 201
    with server(folder, port) as process:
        wait_for(url, process)
        again = vqi2i("serve", "study", "--port", str(free_port()))
        assert again.exit_code == 1
        assert re.search("study is served already: end that server", str(again.exception))
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
        assert process.stderr is not None
        assert process.stderr.read().split() == [url[:-1], "(Ctrl-C", "stops)"]
    assert len((folder / "answers.jsonl").read_text().splitlines()) == 2
    assert {path.name for path in folder.iterdir()} == {
        "page.html",
        "trials.json",
        "answers.jsonl",
    }
