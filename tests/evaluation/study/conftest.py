"""A small study, and participants who answer it."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import uvicorn

import imaging
from evaluation.study.answers import Answer, AnswerLog
from evaluation.study.folders import Folders, look_into
from evaluation.study.page import build
from evaluation.study.server import make_app
from evaluation.study.trials import Study, Trial
from tests.servers import free_port

METHODS = ("ours", "rival", "third")
NAMES = [f"{number}_winter" for number in range(6)]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of noise: of three methods, of real images and of sources."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    files = [f"{method}/{name}.png" for method in METHODS for name in NAMES]
    files += [f"real/{number}.jpg" for number in range(8)]
    files += [f"source/{number}.png" for number in range(6)]
    for file in files:
        imaging.write(root / file, rng.integers(0, 256, (20, 24, 3), np.uint8))
    return root


def looked_into(pictures: Path, *, source: bool = True) -> Folders:
    methods = {method: pictures / method for method in METHODS}
    return look_into(methods, pictures / "real", pictures / "source" if source else None)


@pytest.fixture(scope="session")
def built(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Study]:
    """A study of both questions; not to be answered."""
    out = tmp_path_factory.mktemp("studies") / "study"
    return out, build(looked_into(pictures), out, to="winter", trials=12, checks=2)


@pytest.fixture
def study(built: tuple[Path, Study], tmp_path: Path) -> tuple[Path, Study]:
    """The same, in a folder of the test's own."""
    shutil.copytree(built[0], tmp_path / "study")
    return tmp_path / "study", built[1]


def participant(number: int) -> str:
    return f"{number:032x}"


def answer(study: Study, who: int, trial: int, *, right: bool = False) -> Answer:
    """What somebody sends who chooses one of the sides."""
    shown = study.trials[trial].right if right else study.trials[trial].left
    return Answer(
        study=study.identity,
        participant=participant(who),
        trial=trial,
        choice=shown.picture,
        side="right" if right else "left",
        milliseconds=900,
    )


def answers(study: Study, who: int, chosen: Callable[[Trial], str]) -> list[Answer]:
    """Answers to all trials of somebody who chooses a method's picture."""
    return [
        answer(study, who, number, right=chosen(trial) == trial.right.method)
        for number, trial in enumerate(study.trials)
    ]


@contextmanager
def served(folder: Path, study: Study, port: int | None = None) -> Iterator[str]:
    """The address of a server in a thread of this process."""
    port = port or free_port()
    with AnswerLog(folder, study) as log:
        app = make_app(study, (folder / "page.html").read_text(), log)
        config = uvicorn.Config(app, port=port, log_level="critical", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join()
