"""A training as a person watches it: a live table in a terminal, lines elsewhere."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from pipelines.progress import Pace, duration
from training.stopwatch import IN_A_STEP
from training.tracking.reports import Start

_IN_A_LINE = (
    "pixel",
    "adversarial",
    "discriminator",
    "codes_used",
    "perplexity",
    "held_out_psnr",
    "nll",
    "held_out_nll",
)
_COLUMNS = 3  # of terms
_SURE_AFTER = 15.0  # seconds of an attempt after which its pace says how far it will come
_FAR_SHORT = 0.5  # of a schedule


class View(ABC):
    """Shows reports; what is left is reckoned from this attempt's pace alone."""

    def __init__(self, title: str, console: Console):
        self.title = title
        self.console = console
        self._start = Start(0, 0, 0.0, None)
        self._warned = False

    def begin(self, start: Start) -> None:
        """An attempt begins, perhaps after another one."""
        self._start = start

    def pace(self, position: int, images_per_second: float, seconds: float) -> None:
        """Show how far training is and how fast; say it once if the clock will end it far short of
        its schedule.
        """
        left = duration(self.left(position, self._start.total, seconds))
        self.tell(position, f"{images_per_second:.1f} images/s, {left} left")
        if (
            not self._warned
            and seconds - self._start.seconds >= _SURE_AFTER
            and (words := self._short(position, seconds))
        ):
            self._warned = True
            self.console.print(f"{self.title}: {words}", highlight=False, soft_wrap=True)

    def _short(self, position: int, seconds: float) -> str:
        """That the clock will end a run far short of its schedule, with the remedy; empty if it
        will not.
        """
        start = self._start
        rate = Pace(start.position, start.seconds).rate(position, seconds)
        if start.seconds_allowed is None or not rate:
            return ""
        reached = position + rate * max(start.seconds_allowed - seconds, 0.0)
        if reached >= _FAR_SHORT * start.total:
            return ""
        minutes = math.ceil((seconds + (start.total - position) / rate) / 60)
        return (
            f"at this pace its clock (schedule.minutes) ends it after about {reached:,.0f} of "
            f"{start.total:,} images; for all of them set schedule.minutes={minutes} (train: "
            "--set, demo: --stage1 or --stage2)"
        )

    @abstractmethod
    def tell(self, position: int, line: str) -> None:
        """Show a line until the next one."""

    @abstractmethod
    def show(self, position: int, total: int, metrics: Mapping[str, float], seconds: float) -> None:
        """Show a report."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def left(self, position: int, total: int, seconds: float) -> float | None:
        """Seconds until the end by images or by the clock; None before the first step."""
        start = self._start
        by_images = Pace(start.position, start.seconds).left(position, total, seconds)
        if start.seconds_allowed is None:
            return by_images
        by_clock = max(start.seconds_allowed - seconds, 0.0)
        return by_clock if by_images is None else min(by_images, by_clock)


def view(title: str, console: Console) -> View:
    """A live one in a terminal, lines for a file."""
    return LiveView(title, console) if console.is_terminal else Lines(title, console)


class Lines(View):
    """A line for every report, and for every new beginning."""

    def begin(self, start: Start) -> None:
        """Say where the attempt goes on."""
        super().begin(start)
        if start.position:
            self.console.print(
                f"{self.title} goes on after {start.position} images of each domain",
                highlight=False,
            )

    def tell(self, position: int, line: str) -> None:
        """Print a line."""
        self.console.print(
            f"{self.title} {position}/{self._start.total} {line}", highlight=False, soft_wrap=True
        )

    def show(self, position: int, total: int, metrics: Mapping[str, float], seconds: float) -> None:
        """Print a line."""
        left = duration(self.left(position, total, seconds))
        figures = " ".join(f"{name} {metrics[name]:.3g}" for name in _IN_A_LINE if name in metrics)
        line = f"{metrics.get('images_per_second', 0):.1f} images/s, {left} left, {figures}"
        self.console.print(
            f"{self.title} {position}/{total} {line}", highlight=False, soft_wrap=True
        )


class LiveView(View):
    """A bar, the terms of the newest report, where its steps' time went, and memory."""

    def __init__(self, title: str, console: Console):
        super().__init__(title, console)
        columns = (
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[line]}"),
        )
        self._bar = Progress(*columns, console=console)
        self._task = self._bar.add_task(title, total=None, line="starting")
        self._live = Live(self._bar, console=console, refresh_per_second=4)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    def begin(self, start: Start) -> None:
        """Put the bar where the attempt begins."""
        super().begin(start)
        self._bar.update(self._task, completed=start.position, total=start.total, line="")

    def tell(self, position: int, line: str) -> None:
        """Show it beside the bar."""
        self._bar.update(self._task, completed=position, line=line)

    def show(self, position: int, total: int, metrics: Mapping[str, float], seconds: float) -> None:
        """Show a report until the next one."""
        left = duration(self.left(position, total, seconds))
        self.tell(position, f"{metrics.get('images_per_second', 0):.1f} images/s, {left} left")
        self._live.update(Group(self._bar, terms_table(metrics), footer(metrics)))


def terms_table(metrics: Mapping[str, float]) -> Table:
    """Terms and figures, three pairs in a row."""
    table = Table.grid(padding=(0, 2))
    cells = [
        Text.assemble((f"{name} ", "dim"), f"{value:.4g}")
        for name, value in metrics.items()
        if "/" not in name and name != "images_per_second"
    ]
    for first in range(0, len(cells), _COLUMNS):
        table.add_row(*cells[first : first + _COLUMNS])
    return table


def footer(metrics: Mapping[str, float]) -> Text:
    """Shares of a step's time and peaks of memory, in a line."""
    parts = []
    if step := metrics.get("time/step"):
        shares = ", ".join(f"{name} {metrics[f'time/{name}'] / step:.0%}" for name in IN_A_STEP)
        parts.append(f"step {step:.0f} ms: {shares}")
    parts += [
        f"{label} {metrics[name] / 1000:.1f} GB"
        for name, label in (("memory/resident", "memory"), ("memory/gpu", "GPU"))
        if name in metrics
    ]
    return Text("; ".join(parts), style="dim")
