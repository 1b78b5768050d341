"""Workers that meet a fault of ours are started again, then it is told as one; deaths and sentences
are not.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import run
from tests.training.conftest import STAGE1

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context"),
]


def failing(what: str, attempts: Path) -> Callable[[dict[str, Any]], Any]:
    """What workers do instead of an attempt, which leaves a file; it travels by value."""

    def work(settings: dict[str, Any]) -> Any:
        import os
        import time
        import uuid

        from errors import UserError
        from training.run import ray_trainer as on_ray

        def attempt(*_: object) -> None:
            (attempts / uuid.uuid4().hex).touch()
            if what == "death":
                # past the start of the workers, which waits for others of this machine
                time.sleep(3)
                os._exit(1)
            raise (
                UserError("the moon is full: wait")
                if what == "sentence"
                else KeyError("no such crater")
            )

        vars(on_ray)["attempt"] = attempt
        return on_ray._train_on_worker(settings)

    return work


class Deadly:
    """What no worker survives that unpacks it."""

    def __reduce__(self) -> tuple[Callable[[int], Any], tuple[int]]:
        return os._exit, (1,)

    def __call__(self, settings: dict[str, Any]) -> None: ...


@pytest.mark.parametrize(
    ("what", "code", "tries"),
    [("start", 2, 0), ("fault", 1, 2), ("death", 2, 2), ("sentence", 2, 1)],
)
def test_what_ends_workers_ends_the_command(
    what: str,
    code: int,
    tries: int,
    shards: Path,
    tmp_path: Path,
    mlflow_store: str,
    ray_session: None,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    attempts = tmp_path / "attempts"
    attempts.mkdir()
    monkeypatch.setattr(
        "training.run.ray_trainer._train_on_worker",
        Deadly() if what == "start" else failing(what, attempts),
    )
    settings = [part for setting in STAGE1 for part in ("--set", setting)]
    monkeypatch.setattr(
        sys,
        "argv",
        ["vqi2i", "train", "stage1", "--data", str(shards), "--max-failures", "1", *settings],
    )
    with pytest.raises(SystemExit) as end:
        run.main()
    said = capfd.readouterr().err.strip().splitlines()
    assert end.value.code == code, said[-3:]
    assert len(list(attempts.iterdir())) == tries
    if what == "fault":
        assert said[-1].startswith("vqi2i: a fault of vqi2i, not yours: please report it")
        assert said[-2] == "KeyError: 'no such crater'"
        assert any(
            "workers failed 2 times without a new checkpoint (nothing was saved yet" in line
            for line in said
        )
    elif what == "start":
        assert said[-1].startswith(
            "vqi2i: a worker has died as soon as it was started; nothing was saved yet"
        )
    elif what == "death":
        assert said[-1].startswith("vqi2i: workers failed 2 times without a new checkpoint")
    else:
        assert said[-1] == "vqi2i: the moon is full: wait"
