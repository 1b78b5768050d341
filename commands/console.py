"""What all commands share: where they speak, how they fail, how they count."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from pipelines.progress import Pace, Pulse

# Progress and remarks go to standard error; standard output holds results alone.
console = Console(stderr=True, highlight=False)

JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON line.")]


def seed_given(seed: int) -> int:
    """A seed as it was typed, if generators can take it; for `typer.Option(callback=...)`."""
    from vqi2i.checking.typed import seed_number

    return seed_number(seed)


@contextmanager
def replacing(targets: Iterable[Path]) -> Iterator[None]:
    """Inside, files are written; say afterwards which of them took the place of others."""
    before = {target: _identity(target) for target in targets}
    try:
        yield
    finally:
        replaced = [
            target for target, was in before.items() if was is not None and _identity(target) != was
        ]
        if replaced:
            more = f" and {len(replaced) - 1} more" if len(replaced) > 1 else ""
            console.print(
                f"replaced what was there: {replaced[0]}{more}", markup=False, soft_wrap=True
            )


def _identity(path: Path) -> tuple[int, int] | None:
    return (path.stat().st_ino, path.stat().st_mtime_ns) if path.exists() else None


def conclude(result: dict[str, Any], *, as_json: bool, sentence: str) -> None:
    """End a command with a sentence for people, or with a line for machines."""
    if as_json:
        sys.stdout.write(json.dumps(result, default=str) + "\n")
    else:
        sys.stdout.write(sentence + "\n")


Tell = Callable[[int, int], None]  # told (things done, things in all)


@contextmanager
def progress(title: str) -> Iterator[Tell]:
    """A bar with a count, the rate and the time left; yields a function that takes (done,
    total).
    """
    with stages(title) as (tell,):
        yield tell


@contextmanager
def stages(*titles: str) -> Iterator[tuple[Tell, ...]]:
    """A bar for each of several stages, shown once it is told of; a line now and then where there
    is no terminal.
    """
    if not console.is_terminal:
        yield tuple(_Lines(title).tell for title in titles)
        return
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        yield tuple(_Bar(bar, title).tell for title in titles)


class _Bar:
    """One line of a display."""

    def __init__(self, bar: Progress, title: str):
        self._bar = bar
        self._task = bar.add_task(title, total=None, visible=False, rate="")

    def tell(self, done: int, total: int) -> None:
        self._bar.update(self._task, completed=done, total=total, visible=True)
        if speed := self._bar.tasks[self._task].speed:
            self._bar.update(self._task, rate=f"{speed:,.0f}/s")


class _Lines:
    """Progress for log files."""

    def __init__(self, title: str):
        self._title = title
        self._begun: tuple[Pace, Pulse] | None = None

    def tell(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._begun is None:
            from pipelines.progress import Pace, Pulse

            self._begun = Pace(done, now), Pulse(now)
        pace, pulse = self._begun
        left = pace.left(done, total, now)
        if left is None or not pulse.due(now):
            return
        rate = pace.rate(done, now)
        console.print(f"{self._title}: {done:,} of {total:,}, {rate:,.3g}/s, {left:,.0f} s left")
