"""What MLflow is told: one run per training, also after a resume, and whether or not it answers
meanwhile.
"""

import shutil
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from training.config import RunConfig
from training.settings import flat
from training.tracking.mlflow_client import RUN, MlflowCourier, tracking_uri
from training.tracking.outbox import Call, Outbox, read_calls, read_delivered
from vqi2i.bundle import checksum, read_card

_OUTBOX = "tracking"  # folder in a run's folder
_PATIENCE = 120.0  # seconds given to the last uploads


class Tracker:
    """The MLflow run of the training in `run_dir`; nothing here waits for MLflow but `end`.

    Args:
        run_dir: the training's folder; files that are sent must lie in it and stay there.
        tags: of a run that is new.
        name: of a run that is new; the folder's if None.
        run_tag: of the run, if it is known from elsewhere than the folder.
        parent: `run_tag` of the run that this one belongs to.
    """

    def __init__(
        self,
        run_dir: Path,
        tags: Mapping[str, str],
        *,
        name: str | None = None,
        run_tag: str | None = None,
        parent: str | None = None,
    ):
        self._run_dir = run_dir
        self._outbox = Outbox(
            run_dir / _OUTBOX, MlflowCourier(run_dir, tracking_uri()), what="MLflow"
        )
        self.is_new = not self._outbox.calls
        if self.is_new:
            self._outbox.put(
                "create",
                name=name or run_dir.name,
                tags=dict(tags),
                mark=run_tag or uuid.uuid4().hex,
                parent=parent,
                time=_now(),
            )
        # Names the run, whether MLflow knows it yet or not.
        self.run_tag: str = self._outbox.calls[0].content["mark"]
        logged = [call.content["position"] for call in self._outbox.calls if call.kind == "metrics"]
        self._last = max(logged, default=-1)

    def begin(self) -> None:
        """Say that the training goes on after an end."""
        if any(call.kind == "status" for call in self._outbox.calls):
            self._outbox.put("status", status="RUNNING", time=_now())

    def config(self, config: RunConfig) -> None:
        """Record every setting as a parameter, by its dotted name, and the whole as a file."""
        self.settings(dict(flat(config.model_dump(mode="json"))))
        self._outbox.put("text", name="config.json", text=config.dump())

    def settings(self, settings: Mapping[str, Any]) -> None:
        """Record settings as parameters, by their dotted names."""
        self._outbox.put("params", params={name: str(value) for name, value in settings.items()})

    def tag(self, tags: Mapping[str, str]) -> None:
        """Label the run."""
        if tags:
            self._outbox.put("tags", tags=dict(tags))

    def log(self, position: int, metrics: Mapping[str, float]) -> None:
        """Record metrics at a position (images of each domain seen), each position once."""
        if position <= self._last:
            return
        self._last = position
        self._outbox.put("metrics", position=position, metrics=dict(metrics), time=_now())

    def keep(self, files: Iterable[Path], folder: str) -> None:
        """Record files of the training's folder in a folder of the run."""
        for file in files:
            self._outbox.put("file", path=str(file.relative_to(self._run_dir)), folder=folder)

    def register(self, name: str, bundle: Path) -> None:
        """Record a bundle of the training's folder, and make it the next version of model `name`;
        each only once.
        """
        path = str(bundle.relative_to(self._run_dir))
        self._put_once("folder", path=path)
        self._put_once(
            "register", name=name, path=path, card=read_card(bundle), checksum=checksum(bundle)
        )

    def end(self, status: str, bundle: Path | None = None) -> None:
        """Close the run as FINISHED, FAILED or KILLED, with the bundle if there is one."""
        if bundle is not None:
            self._put_once("folder", path=str(bundle.relative_to(self._run_dir)))
        self._outbox.put("status", status=status, time=_now())

    def close(self, patience: float = _PATIENCE) -> str:
        """Give MLflow some seconds to take the rest; a sentence about what it has not taken, or
        nothing.
        """
        if not (pending := self._outbox.close(patience)):
            return ""
        return (
            f"MLflow at {tracking_uri()} has yet to take {pending} reports of "
            f"{self._run_dir.name}: the same command uploads them once it answers"
        )

    def _put_once(self, kind: str, **content: str) -> None:
        if Call(kind, content) not in self._outbox.calls:
            self._outbox.put(kind, **content)


def tracked_run(run_dir: Path) -> str | None:
    """The id of the MLflow run of a training, once MLflow has given it one."""
    return read_delivered(run_dir / _OUTBOX, tracking_uri()).notes.get(RUN)


def is_tracked(run_dir: Path) -> bool:
    """Whether a training in `run_dir` was tracked."""
    return (run_dir / _OUTBOX).exists()


def forget_others(run_dir: Path, run_tag: str | None = None) -> None:
    """Remove what is to be told of runs that kept their files in a folder before this one."""
    calls = read_calls(run_dir / _OUTBOX)
    if calls and calls[0].content["mark"] != run_tag:
        shutil.rmtree(run_dir / _OUTBOX)


def _now() -> int:
    return int(time.time() * 1000)
