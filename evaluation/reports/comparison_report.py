"""Models side by side on one page: which differences stand, and the same inputs under each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from evaluation.comparison import Compared, Comparison, Difference
from evaluation.measures import MEASURES, Measure
from evaluation.parts import Cases, read_part
from evaluation.reports import words
from evaluation.reports.evaluation_report import beside, told
from evaluation.reports.page import write_page
from evaluation.reports.pictures import Embedded, Figure, Row, embed
from evaluation.reports.whiskers import Dot, Line, Plot, plot
from imaging.codec import Images

FILE = "comparison.html"
SHOWN = 6  # inputs of a task
OPEN = 4  # measurements of a task that are shown unfolded
_GIVEN = ("input", "exemplar", "truth")  # columns that no model has made


@dataclass(frozen=True)
class _Cell:
    """One figure of a later model beside the first one's."""

    value: str
    difference: str
    verdict: str
    sign: str  # class of the badge
    note: str


@dataclass(frozen=True)
class _Line:
    """One measure under every model."""

    title: str
    arrow: str
    better: str
    meaning: str
    unit: str
    first: str
    cells: Sequence[_Cell]
    images: str


@dataclass(frozen=True)
class _Found:
    """One task in one direction."""

    title: str
    stands: int
    lines: Sequence[_Line]
    pictures: Sequence[tuple[str, Sequence[Embedded]]]


@dataclass(frozen=True)
class _Section:
    """One task in all directions."""

    anchor: str
    title: str
    asks: str
    found: Sequence[_Found]
    plot: Plot | None


def write_comparison(out: Path, folders: Sequence[Path], comparison: Comparison) -> Path:
    """Write `comparison.html`; the same evaluations give the same bytes.

    Args:
        out: the page's folder; it is made.
        folders: of the evaluations, as they were compared.
        comparison: what is told.

    Raises:
        UserError: a part is not there.
    """
    by_task: dict[str, list[Compared]] = {}
    for each in comparison.compared:
        by_task.setdefault(each.measurement.task, []).append(each)
    sections = [
        _section(f"task-{number}", name, by_task[name], folders, comparison)
        for number, name in enumerate(words.in_order(by_task), start=1)
    ]
    settings = told(comparison.settings.model_dump())
    models = {
        label: {"name": model.name, "sha256": model.fingerprint} | told(model.facts)
        for label, model in zip(comparison.labels, comparison.models, strict=True)
    }
    return write_page(
        out / FILE,
        "comparison_report.html",
        title=f"{', '.join(comparison.labels[1:])} against {comparison.labels[0]}",
        comparison=comparison,
        tally=words.tally(comparison.made, comparison.standing, comparison.by_chance),
        verdicts=[*verdicts(comparison)],
        leading=_leading(comparison),
        sections=sections,
        unfolded=OPEN,
        legend=words.legend(each.measure for each in comparison.compared),
        controls={},
        facts=models
        | {"Data": {"name": comparison.data.name} | told(comparison.data.facts)}
        | {"Settings": settings},
    )


def verdicts(comparison: Comparison) -> Iterable[str]:
    """A sentence on each later model: where it is better and where it is worse than the first."""
    first, *others = comparison.labels
    about = MEASURES[comparison.headline]
    for number, label in enumerate(others):
        found = [row.differences[number] for row in comparison.compared]
        leading = [
            row.differences[number]
            for row in comparison.compared
            if row.measure == comparison.headline and row.measurement.task == "translation"
        ]
        sentence = f"Against {first}, {label} is {_counted(found)}"
        if leading:
            sentence += f"; by {about.title} of translations it is {_counted(leading)}"
        yield f"{sentence}."


def _leading(comparison: Comparison) -> _Found | None:
    """The headline of translations, a line for each direction."""
    rows = [
        row
        for row in comparison.compared
        if row.measure == comparison.headline and row.measurement.task == "translation"
    ]
    if not rows:
        return None
    lines = [replace(_line(row), title=words.title(row.measurement)) for row in rows]
    stands = sum(each.stands for row in rows for each in row.differences)
    return _Found(f"{MEASURES[comparison.headline].title} of translations", stands, lines, [])


def _counted(differences: Sequence[Difference]) -> str:
    better = sum(each.better is True for each in differences)
    worse = sum(each.better is False for each in differences)
    return f"better in {better} and worse in {worse} of {len(differences)} figures"


def _section(
    anchor: str,
    task: str,
    rows: Sequence[Compared],
    folders: Sequence[Path],
    comparison: Comparison,
) -> _Section:
    found = []
    for _, group in groupby(rows, key=lambda each: each.measurement.name):
        lines = [*group]
        found.append(
            _Found(
                title=words.title(lines[0].measurement),
                stands=sum(each.stands for row in lines for each in row.differences),
                lines=[_line(row) for row in lines],
                pictures=_pictures(lines[0], folders, comparison.labels),
            )
        )
    drawn = [row for row in rows if row.measure == comparison.headline]
    return _Section(anchor, *words.task(task), found, _plot(drawn, comparison))


def _plot(rows: Sequence[Compared], comparison: Comparison) -> Plot | None:
    lines = []
    for row in rows:
        dots = [
            Dot(label, each.value, each.low, each.high)
            for label, each in zip(comparison.labels, row.estimates, strict=True)
        ]
        lines.append(Line(words.title(row.measurement), dots, *beside(row.estimates[0])))
    return plot(f"{MEASURES[comparison.headline].title} of each model", lines) if lines else None


def _line(row: Compared) -> _Line:
    about = MEASURES[row.measure]
    others = [*zip(row.estimates[1:], row.differences, strict=True)]
    return _Line(
        title=about.title,
        arrow=words.arrow(about),
        better=words.better(about),
        meaning=about.meaning,
        unit=about.unit,
        first=words.figure(about, row.estimates[0].value),
        cells=[_cell(about, estimate.value, difference) for estimate, difference in others],
        images=words.counts(each.images or estimate.images for estimate, each in others),
    )


def _cell(about: Measure, value: float, difference: Difference) -> _Cell:
    sign = {True: "met", False: "not-met", None: "even"}[difference.better]
    return _Cell(
        value=words.figure(about, value),
        difference=words.change(about, difference),
        verdict="" if difference.why else words.verdict(difference.better),
        sign=sign,
        note=difference.why,
    )


def _pictures(
    row: Compared, folders: Sequence[Path], labels: Sequence[str]
) -> list[tuple[str, list[Embedded]]]:
    """What every model has made of the inputs that all of them show; nothing if there are none."""
    measurement = row.measurement
    own = [measurement.model_copy(update={"style": style}) for style in row.styles]
    cases = [read_part(*each).cases for each in zip(folders, own, strict=True)]
    shown = [each for each in cases if each and {"input", "result"} <= each.columns.keys()]
    if len(shown) < len(folders):
        return []
    places = [_places(each) for each in shown]
    common = [key for key in places[0] if all(key in others for others in places[1:])][:SHOWN]
    if not common:
        return []

    def picked(number: int, column: str) -> list[Images]:
        return [shown[number].columns[column][places[number][key]] for key in common]

    rows = [Row(name, picked(0, name)) for name in _GIVEN if name in shown[0].columns]
    rows += [Row(label, picked(number, "result")) for number, label in enumerate(labels)]
    return embed(Figure(words.title(measurement), "", rows))


def _places(cases: Cases) -> dict[bytes, int]:
    """Rows of the cases by what went in: the pixels of input and exemplar."""
    given = [cases.columns[name] for name in ("input", "exemplar") if name in cases.columns]
    return {
        b"".join(images[row].tobytes() for images in given): row for row in range(len(given[0]))
    }
