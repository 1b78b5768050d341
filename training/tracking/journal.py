"""Where reports of a training go: to whoever watches, a file of figures, pictures, MLflow."""

import json
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

from rich.console import Console

import imaging
from errors import UserError
from imaging.codec import Pixels
from pipelines.storage.atomic_files import atomic, whole_lines
from training.tracking.console_view import view
from training.tracking.mlflow_run import Tracker
from training.tracking.reports import Start

_METRICS = "metrics.jsonl"


class RunJournal:
    """Keeps each report once, also when a resumed run repeats positions that it had reported before
    it was killed.
    """

    def __init__(self, run_dir: Path, tracker: Tracker | None, console: Console | None = None):
        self.run_dir = run_dir
        self.tracker = tracker
        self._file = run_dir / _METRICS
        self._lock = threading.Lock()
        self._last = max(
            (row["position"] for row in _rows(self._file, whole_lines(self._file))), default=-1
        )
        self._view = view(run_dir.name, console or Console(stderr=True))

    def __enter__(self) -> Self:
        self._view.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._view.__exit__(*exception)

    def begin(self, start: Start, facts: Mapping[str, str]) -> None:
        """Note where an attempt begins, and with what."""
        self._view.begin(start)
        if self.tracker is not None:
            self.tracker.tag(facts)

    def pace(self, position: int, images_per_second: float, seconds: float) -> None:
        """Show how far training is."""
        with self._lock:
            self._view.pace(position, images_per_second, seconds)

    def log(self, position: int, total: int, metrics: Mapping[str, float], seconds: float) -> None:
        """Show a report; write it down unless its position has been written before."""
        with self._lock:
            self._view.show(position, total, metrics, seconds)
            if self.tracker is not None:
                self.tracker.log(position, metrics)
            if position <= self._last:
                return
            self._last = position
            with self._file.open("a") as file:
                file.write(
                    json.dumps({"position": position, "seconds": round(seconds, 2), **metrics})
                    + "\n"
                )

    def show(self, position: int, pictures: Mapping[str, Pixels]) -> None:
        """Write sample pictures into the run's folder and MLflow."""
        files = {
            self.run_dir / "samples" / f"{name}_{position:010d}.png": pixels
            for name, pixels in pictures.items()
        }
        for file, pixels in files.items():
            imaging.write(file, pixels)
        if self.tracker is not None:
            self.tracker.keep(files, "samples")

    def keep(self, name: str, content: bytes) -> None:
        """Write a file into the run's folder and MLflow."""
        file = self.run_dir / name
        with atomic(file) as stream:
            stream.write(content)
        if self.tracker is not None:
            self.tracker.keep([file], str(Path(name).parent))


def read_metrics(run_dir: Path) -> list[dict[str, float]]:
    """The reports of a run, oldest first; a line cut short by a kill is left out.

    Raises:
        UserError: the file holds something else.
    """
    file = run_dir / _METRICS
    try:
        return _rows(file, file.read_bytes().splitlines())
    except FileNotFoundError:
        return []


def _rows(file: Path, lines: Iterable[bytes]) -> list[dict[str, float]]:
    rows = []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if not isinstance(row, dict) or "position" not in row:
            raise UserError(f"{file} holds other lines than reports of a training: move it away")
        rows.append(row)
    return rows
