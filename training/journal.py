"""What a person sees of a training: a progress bar or plain lines, a file of figures, pictures, MLflow."""

import json
import threading
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

import imaging
from imaging.codec import Pixels
from training.tracking import Tracker

_SHOWN = (
    "pixel", "adversarial", "discriminator", "codes_used", "perplexity", "held_out_psnr",
    "nll", "held_out_nll",
)  # fmt: skip


class RunJournal:
    """Keeps each report once, also when a resumed run repeats positions that it had reported before it was killed."""

    def __init__(self, run_dir: Path, tracker: Tracker | None, console: Console | None = None):
        self.run_dir = run_dir
        self.tracker = tracker
        self._file = run_dir / "metrics.jsonl"
        self._lock = threading.Lock()
        self._last = max((row["position"] for row in read_metrics(run_dir)), default=-1)
        self._console = console or Console(stderr=True)
        self._bar = Progress(
            TextColumn("[bold]{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(), TextColumn("{task.fields[line]}"), console=self._console,
        )  # fmt: skip
        self._task = self._bar.add_task(run_dir.name, total=None, line="starting")

    def __enter__(self) -> "RunJournal":
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def log(self, position: int, total: int, metrics: Mapping[str, float], seconds: float) -> None:
        """Show a report; write it down unless its position has been written before."""
        with self._lock:
            line = progress_line(position, total, metrics, seconds)
            self._bar.update(self._task, completed=position, total=total, line=line)
            if not self._console.is_terminal:
                self._console.print(f"{self.run_dir.name} {position}/{total} {line}", highlight=False, soft_wrap=True)
            if self.tracker is not None:
                self.tracker.log(position, metrics)
            if position <= self._last:
                return
            self._last = position
            with self._file.open("a") as file:
                file.write(json.dumps({"position": position, "seconds": round(seconds, 2), **metrics}) + "\n")

    def show(self, position: int, pictures: Mapping[str, Pixels]) -> None:
        """Write sample pictures into the run's folder and MLflow."""
        files = {self.run_dir / "samples" / f"{name}_{position:010d}.png": pixels for name, pixels in pictures.items()}
        for file, pixels in files.items():
            imaging.write(file, pixels)
        if self.tracker is not None:
            self.tracker.keep(files, "samples")


def progress_line(position: int, total: int, metrics: Mapping[str, float], seconds: float) -> str:
    """The figures worth a glance, the rate and the time left."""
    left = seconds / position * (total - position) if position else 0.0
    figures = " ".join(f"{name} {metrics[name]:.3g}" for name in _SHOWN if name in metrics)
    return f"{metrics.get('images_per_second', 0):.1f} images/s, {left / 60:.1f} min left, {figures}"


def read_metrics(run_dir: Path) -> list[dict[str, float]]:
    """The reports of a run, oldest first; a line cut short by a kill is left out."""
    rows = []
    try:
        lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows
