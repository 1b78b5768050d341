"""An evaluation on one page: the answer first, then every task with its figures and pictures."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.measures import MEASURES
from evaluation.parts import Cases, read_part
from evaluation.reports import words
from evaluation.reports.page import write_page
from evaluation.reports.pictures import Embedded, Figure, Row, embed
from evaluation.reports.summary import summarise
from evaluation.reports.whiskers import Dot, Line, Plot, plot
from evaluation.results import Estimate, Evaluation, Measurement
from evaluation.tasks.controls import FLOOR, FLOOR_DEVIATION, IDENTITY, REINHARD

FILE = "report.html"
LOSSLESS = 10_000_000  # pixels of a page above which its pictures are JPEG, so that it still opens
OPEN = 4  # measurements of a task that are shown unfolded
_NOT_COLUMNS = (FLOOR, FLOOR_DEVIATION)


@dataclass(frozen=True)
class _Line:
    """One figure as a row of a table."""

    title: str
    arrow: str
    better: str
    meaning: str
    value: str
    unit: str
    interval: str
    images: int
    floor: str
    controls: Sequence[str]  # as the columns of the table


@dataclass(frozen=True)
class _Found:
    """What one task found in one direction."""

    anchor: str
    title: str
    columns: Sequence[str]
    lines: Sequence[_Line]
    lead: _Line | None
    has_floor: bool
    gaps: Sequence[str]
    figure: Figure | None
    pictures: Sequence[tuple[str, Sequence[Embedded]]]


@dataclass(frozen=True)
class _Section:
    """One task."""

    anchor: str
    title: str
    asks: str
    found: Sequence[_Found]
    plot: Plot | None


def write_report(out: Path, evaluation: Evaluation) -> Path:
    """Write `report.html` beside the parts that it shows; the same evaluation gives the same bytes.

    Args:
        out: the evaluation's folder, with its parts.
        evaluation: what is told.

    Raises:
        UserError: a part is not there.
    """
    measured = [each for each in evaluation.measurements if each.estimates or each.gaps]
    cases = {each.name: shown for each in measured if (shown := read_part(out, each).cases)}
    lossless = sum(_pixels(shown) for shown in cases.values()) <= LOSSLESS
    sections = []
    for number, name in enumerate(words.in_order(each.task for each in measured), start=1):
        mine = [each for each in measured if each.task == name]
        found = [
            _found(each, f"task-{number}-{index}", evaluation.headline, cases, lossless)
            for index, each in enumerate(mine, start=1)
        ]
        drawn = headline_plot(mine, evaluation.headline)
        sections.append(_Section(f"task-{number}", *words.task(name), found, drawn))
    estimates = [estimate for each in measured for estimate in each.estimates]
    return write_page(
        out / FILE,
        "evaluation_report.html",
        title=f"{evaluation.model.name} on {evaluation.data.name}",
        headline=MEASURES[evaluation.headline],
        summary=summarise(evaluation),
        matrix=_matrix(evaluation),
        sections=sections,
        unfolded=OPEN,
        gaps=[(gap, "all", "") for gap in evaluation.gaps] + _gaps(measured),
        legend=words.legend(estimate.measure for estimate in estimates),
        controls=words.controls_of(estimates),
        lossless=lossless,
        facts=_facts(evaluation),
    )


def headline_plot(measurements: Iterable[Measurement], headline: str) -> Plot | None:
    """The headline of measurements that have it, with intervals, beside their controls."""
    lines = [
        Line(words.title(each), [Dot("the model", e.value, e.low, e.high)], *beside(e))
        for each in measurements
        if (e := each.get(headline))
    ]
    return plot(f"{MEASURES[headline].title} beside its controls", lines) if lines else None


def beside(estimate: Estimate) -> tuple[Sequence[Dot], tuple[float, float] | None]:
    """What is drawn beside a figure: controls, and the floor with its deviation."""
    known = estimate.controls
    controls = [Dot(name, known[name]) for name in (IDENTITY, REINHARD) if name in known]
    mean = known.get(FLOOR)
    return controls, None if mean is None else (mean, known.get(FLOOR_DEVIATION, 0.0))


def _facts(evaluation: Evaluation) -> dict[str, dict[str, str]]:
    """What a reader may want to know about the model, the data and how it was measured."""
    subjects = {
        subject: {"name": about.name, "sha256": about.fingerprint} | told(about.facts)
        for subject, about in (("Model", evaluation.model), ("Data", evaluation.data))
    }
    return subjects | {"Settings": told(evaluation.settings.model_dump())}


def told(facts: Mapping[str, Any]) -> dict[str, str]:
    """Facts as text, whatever they are."""
    return {name.replace("_", " "): _fact(value) for name, value in facts.items()}


def _fact(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_fact(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_fact, value))
    return "none" if value is None else str(value)


def _gaps(measurements: Sequence[Measurement]) -> list[tuple[str, str, str]]:
    """What was not measured, of which task, and in which directions; each reason once."""
    where: dict[tuple[str, str], list[str]] = {}
    for each in measurements:
        for gap in each.gaps:
            where.setdefault((gap, each.task), []).append(words.title(each))
    everywhere = Counter(each.task for each in measurements)
    return [
        (gap, words.task(task)[0], "all" if len(w) == everywhere[task] > 1 else "; ".join(w))
        for (gap, task), w in where.items()
    ]


def _pixels(cases: Cases) -> int:
    return sum(images.size // 3 for images in cases.columns.values())


def _found(
    measurement: Measurement,
    anchor: str,
    headline: str,
    cases: Mapping[str, Cases],
    lossless: bool,
) -> _Found:
    estimates = measurement.estimates
    columns = [
        name
        for name in dict.fromkeys(name for estimate in estimates for name in estimate.controls)
        if name not in _NOT_COLUMNS
    ]
    shown = cases.get(measurement.name)
    figure = _figure(measurement, shown) if shown else None
    lead = measurement.get(headline) or next(iter(estimates), None)
    return _Found(
        anchor=anchor,
        title=words.title(measurement),
        columns=columns,
        lines=[_line(estimate, columns) for estimate in estimates],
        lead=_line(lead, columns) if lead else None,
        has_floor=any(FLOOR in estimate.controls for estimate in estimates),
        gaps=measurement.gaps,
        figure=figure,
        pictures=embed(figure, lossless=lossless) if figure else [],
    )


def _line(estimate: Estimate, columns: Sequence[str]) -> _Line:
    about = estimate.about
    known = estimate.controls
    return _Line(
        title=about.title,
        arrow=words.arrow(about),
        better=words.better(about),
        meaning=about.meaning,
        value=words.figure(about, estimate.value),
        unit=about.unit,
        interval=words.interval(about, estimate.low, estimate.high),
        images=estimate.images,
        floor=words.floor(estimate) or "",
        controls=[words.figure(about, known[c]) if c in known else "" for c in columns],
    )


def _figure(measurement: Measurement, cases: Cases) -> Figure:
    about = MEASURES[cases.measure]
    # Cases come from the lowest figure to the highest one; the best stand first here.
    order = range(len(cases.labels))[:: -1 if about.better == "higher" else 1]
    columns = [
        f"{words.case(about, cases.labels[i])}: {words.figure(about, cases.figures[i])}"
        for i in order
    ]
    rows = [
        Row("nearest training image" if name == "nearest" else name, [images[i] for i in order])
        for name, images in cases.columns.items()
    ]
    caption = f"By {about.title}: {words.better(about)}."
    return Figure(words.title(measurement), caption, rows, columns)


@dataclass(frozen=True)
class _Matrix:
    """The headline from every domain into every other one."""

    style: str
    domains: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str], str]]  # source, figures by target, images


def _matrix(evaluation: Evaluation) -> _Matrix | None:
    """Of three domains or more: two have one direction and its opposite."""
    found = [
        (each, estimate)
        for each in evaluation.measurements
        if each.task == "translation" and (estimate := each.get(evaluation.headline))
    ]
    names = {name for each, _ in found for name in (each.source, each.target) if name}
    if len(names) < 3:
        return None
    first = found[0][0]
    chosen = {(e.source, e.target): estimate for e, estimate in found if e.style == first.style}
    domains = sorted(names)
    rows = []
    for source in domains:
        row = [chosen.get((source, target)) for target in domains]
        figures = [words.figure(each.about, each.value) if each else "" for each in row]
        rows.append((source, figures, words.counts(each.images for each in row if each)))
    return _Matrix(words.style(first), domains, rows)
