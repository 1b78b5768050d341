"""The commands and the code in this project's documents, and how a reader would run them."""

import os
import re
import secrets
import shlex
import subprocess
import sys
from pathlib import Path

from tests.conftest import RAY_SETTINGS

ROOT = Path(__file__).parents[1]
SHORT = {
    "stage1": (
        "--set network.base_channels=16 --set network.codebook_size=32 --set schedule.images=40 "
        "--set schedule.log_every=20 --set codebook.start_at=8 "
        "--set game.discriminator_from=8 --set game.generator_from=16"
    ),
    "baseline": (
        "--set network.base_channels=8 --set network.num_res_blocks=2 --set schedule.images=16 "
        "--set schedule.log_every=16"
    ),
    "stage2": (
        "--set prior.width=32 --set prior.num_layers=1 --set schedule.images=40 --set "
        "schedule.log_every=20"
    ),
}


def blocks(page: Path, language: str) -> list[str]:
    """The blocks of code of a page in a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def shell_lines(page: Path) -> list[str]:
    """The commands of a page in order, each on one line and without its comment."""
    text = "".join(blocks(page, "sh")).replace("\\\n", " ")
    return [line.split("  #")[0].strip() for line in text.splitlines() if line.strip()]


def broken_links(page: Path) -> list[str]:
    """Links of a page to files or headings that are not there."""
    return [
        target
        for target in re.findall(r"\]\((?!http)(.*?)\)", page.read_text())
        if not _is_there(page, *target.partition("#")[::2])
    ]


def _is_there(page: Path, file: str, heading: str) -> bool:
    found = page.parent / file if file else page
    if not heading or not found.is_file():
        return found.is_file()
    return heading in [
        re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in found.read_text().splitlines()
        if line.startswith("#")
    ]


def environment() -> dict[str, str]:
    """Of a command that may start a Ray of its own."""
    # A token of its own, so that Ray writes none into the home directory.
    return os.environ | RAY_SETTINGS | {"RAY_AUTH_TOKEN": secrets.token_hex(32)}


def vqi2i(arguments: str, folder: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command line in a process of its own; it must end with this exit code."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *shlex.split(arguments)],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == code, f"vqi2i {arguments}\n{done.stdout}\n{done.stderr[-4000:]}"
    return done
