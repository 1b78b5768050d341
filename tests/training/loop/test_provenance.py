import subprocess
from pathlib import Path

import pytest
import torch

from training.distributed.worker import LocalWorker
from training.loop.provenance import code_version, environment


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "code.py").write_text("one")
    for arguments in (
        ["init", "-q"],
        ["add", "code.py"],
        ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-q", "-m", "first"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True)
    return tmp_path


def test_the_commit_is_known_and_whether_files_differ_from_it(checkout: Path) -> None:
    clean = code_version(checkout)
    assert len(clean["mlflow.source.git.commit"]) == 40
    assert clean["git_dirty"] == "false"
    (checkout / "notes.txt").write_text("is no code")
    assert code_version(checkout) == clean
    (checkout / "code.py").write_text("two")
    assert code_version(checkout) == clean | {"git_dirty": "true"}


def test_an_installation_has_no_commit(tmp_path: Path) -> None:
    assert code_version(tmp_path) == {}


def test_the_environment_names_versions_and_processors(worker: LocalWorker) -> None:
    facts = environment(worker)
    assert facts["environment.torch"] == torch.__version__
    assert facts["environment.ray"].startswith("2.")
    assert (facts["environment.workers"], facts["environment.threads"]) == ("1", "1")
    assert " x " in facts["environment.cpu"]
