"""What a result was made with: the code, the libraries, the machine."""

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from training.distributed.collectives import Collectives

_LIBRARIES = (
    "torch",
    "ray",
    "mlflow",
    "numpy",
    "opencv-python-headless",
    "albumentations",
    "webdataset",
)


def code_version(folder: Path = Path(__file__).parents[2]) -> dict[str, str]:
    """The commit of the code if `folder` is a git checkout, and whether files differ from it; else
    nothing.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return {}
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"mlflow.source.git.commit": commit, "git_dirty": str(bool(changed)).lower()}


def environment(worker: Collectives) -> dict[str, str]:
    """Versions, processors and how many workers and threads there are, as the first worker sees
    it.
    """
    facts = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu": f"{os.cpu_count()} x {_processor()}",
        "threads": str(torch.get_num_threads()),
        "workers": str(worker.world_size),
    }
    if worker.device.type == "cuda":
        facts |= {"gpu": torch.cuda.get_device_name(worker.device), "cuda": str(torch.version.cuda)}
    return {f"environment.{name}": value for name, value in (facts | _versions()).items()}


def _versions() -> dict[str, str]:
    found = {}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git(folder: Path, *arguments: str) -> str | None:
    """What git answers; None if it is absent or `folder` is not the top of a checkout."""
    if not (folder / ".git").exists():
        return None
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
