"""What all commands share: where they speak, how they fail, how they count."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

# Progress and remarks go to standard error; standard output holds results alone.
console = Console(stderr=True, highlight=False)

JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON line.")]


def conclude(result: dict[str, Any], *, as_json: bool, sentence: str) -> None:
    """End a command with a sentence for people, or with a line for machines."""
    if as_json:
        sys.stdout.write(json.dumps(result, default=str) + "\n")
    else:
        sys.stdout.write(sentence + "\n")


@contextmanager
def progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with a count and the time left; yields a function that takes (done, total)."""
    columns = (TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
