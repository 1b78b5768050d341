"""The README's commands, run as a reader would; only the training is made short."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

import imaging
from pipelines.synthetic.dataset import synthesize
from tests.documents import ROOT, SHORT, blocks, environment, shell_lines, vqi2i
from tests.processes import command
from tests.servers import free_port

README = ROOT / "README.md"


def commands() -> list[str]:
    return [
        line.removeprefix("vqi2i ") for line in shell_lines(README) if line.startswith("vqi2i ")
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the README's commands before `serve` have been run."""
    folder = tmp_path_factory.mktemp("reader")
    synthesize(folder / "seasons", pairs=40, tests=1, wide=0)
    for domain in ("summer", "winter"):
        (folder / "photos" / domain).mkdir(parents=True)
        for number, file in enumerate(sorted((folder / "seasons" / "train" / domain).iterdir())):
            imaging.write(folder / "photos" / domain / f"{number}.jpg", imaging.read(file))
    for line in commands()[:-1]:
        stage = next((name for name in SHORT if f"train {name}" in line), None)
        vqi2i(f"{line} {SHORT[stage]}" if stage else line, folder)
    return folder


def test_the_readme_has_its_two_and_five_commands() -> None:
    assert [line for line in shell_lines(README) if line.startswith("make")] == [
        "make demo",
        "make test",
    ]
    verbs = ["data shard", "train stage1", "train stage2", "translate", "serve"]
    assert [
        " ".join(line.split()[: 2 if verb.count(" ") else 1])
        for line, verb in zip(commands(), verbs, strict=True)
    ] == verbs


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("target", ["demo", "test", "serve", "check", "clean"])
def test_make_knows_its_targets(target: str) -> None:
    subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.slow
def test_the_commands_leave_a_translated_picture(trained: Path) -> None:
    assert imaging.read(trained / "results" / "1_winter.png").shape == (64, 64, 3)


@pytest.mark.slow
def test_the_same_command_again_finds_its_work_done(trained: Path) -> None:
    train = next(line for line in commands() if "train stage1" in line)
    start = time.monotonic()
    assert (
        "40 images of each domain"
        in command(shlex.split(f"{train} {SHORT['stage1']}"), trained).stdout
    )
    assert time.monotonic() - start < 30


@pytest.mark.slow
def test_python_sees_what_the_readme_shows(trained: Path) -> None:
    (code,) = blocks(README, "python")
    script = code.replace(
        "from vqi2i import Translator\n",
        "from vqi2i import Translator\nimport torch\nimages = torch.rand(2, 3, 50, 64)\n",
    )
    done = subprocess.run(
        [sys.executable, "-c", script + "\nassert winter.shape == images.shape"],
        cwd=trained,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_served_model_answers_over_http_and_stops(trained: Path) -> None:
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, str(ROOT / "run.py"), *shlex.split(commands()[-1]), "--port", str(port)],
        cwd=trained,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
            wait_until_ready(client, server)
            picture = (trained / "photos" / "summer" / "1.jpg").read_bytes()
            shown = client.post(
                "/v1/translate", files={"image": picture}, data={"to": "winter", "seed": "1"}
            )
            assert shown.status_code == 200, shown.text
            assert imaging.decode(shown.content).shape == (64, 64, 3)
            wide = client.post(
                "/v1/extend", files={"image": picture}, data={"domain": "summer", "right": "16"}
            )
            assert imaging.decode(wide.content).shape == (64, 80, 3)
            assert client.get("/v1/models").json()["models"][0]["name"] == "second"
            refused = client.post("/v1/translate", files={"image": picture}, data={"to": "spring"})
            assert refused.status_code == 422
            assert "summer" in refused.json()["detail"]
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=60) == 0
    finally:
        server.kill()
        server.communicate()


def wait_until_ready(client: httpx.Client, server: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert server.poll() is None, server.communicate()[1][-4000:]
        try:
            if client.get("/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise AssertionError("the server did not become ready in two minutes")
