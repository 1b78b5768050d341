"""vqi2i compare: which model is better, and whether the difference stands."""

import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from commands.console import JsonOption, conclude, progress, replacing

if TYPE_CHECKING:
    from evaluation.comparison import Compared, Comparison

_COLORS = {True: "green", False: "red", None: "dim"}


def compare(
    evaluations: Annotated[
        list[Path],
        typer.Argument(
            help="Folders made by `vqi2i evaluate`; others are compared with the first."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for a page with figures and pictures.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Put evaluations of the same data side by side and say which differences stand.

    Example: vqi2i compare reports/paper reports/plus --out reports/paper-plus
    """
    from evaluation.comparison import compare as compared
    from evaluation.reports import words
    from evaluation.reports.comparison_report import FILE, verdicts, write_comparison

    with progress("comparing") as tell:
        comparison = compared(evaluations, tell)
    sentence = words.tally(comparison.made, comparison.standing, comparison.by_chance)
    sentence = "\n".join([*verdicts(comparison), sentence])
    if out is not None:
        with replacing([out / FILE]):
            page = write_comparison(out, evaluations, comparison)
        sentence += f"\nopen {page}"
    if not as_json:
        _print(comparison)
    counts = {"made": comparison.made, "standing": comparison.standing}
    counts |= {"by_chance": comparison.by_chance}
    result = comparison.model_dump(mode="json") | {"differences": counts}
    conclude(result, as_json=as_json, sentence=sentence)


def _print(comparison: "Comparison") -> None:
    """A table for each task and direction on standard output."""
    from evaluation.reports import words

    results = Console(file=sys.stdout, highlight=False)
    for _, group in groupby(comparison.compared, key=lambda row: row.measurement.name):
        rows = [*group]
        measurement = rows[0].measurement
        title = Text(f"{words.task(measurement.task)[0]}, {words.title(measurement)}", style="bold")
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        table.add_column("figure")
        for label in comparison.labels:
            table.add_column(Text(label), overflow="fold")
        table.add_column("images", justify="right")
        for row in rows:
            table.add_row(*_cells(row))
        results.print(table)
        results.print()


def _cells(row: "Compared") -> list[Text]:
    """Name, figures with what they differ by, number of images."""
    from evaluation.measures import MEASURES
    from evaluation.reports import words

    about = MEASURES[row.measure]
    unit = f" {about.unit}" if about.unit else ""
    cells = [
        Text(f"{about.title} {words.arrow(about)}"),
        Text(f"{words.figure(about, row.estimates[0].value)}{unit}"),
    ]
    for estimate, difference in zip(row.estimates[1:], row.differences, strict=True):
        verdict = f"no interval: {difference.why}" if difference.why else ""
        cell = Text(f"{words.figure(about, estimate.value)}{unit} ")
        cell.append(verdict or words.verdict(difference.better), _COLORS[difference.better])
        cells.append(cell.append(f"\n{words.change(about, difference)}"))
    images = {each.images for each in row.differences} - {None} or {row.estimates[0].images}
    return [*cells, Text(str(min(filter(None, images))))]
