"""What a protocol of the paper found: the schema of `results.json`, and its tables in words."""

import math
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from pydantic import Field

from evaluation.comparison import Difference
from evaluation.measures import MEASURES, Measure
from evaluation.reports import words
from evaluation.results import Estimate, Measurement, Settings, Subject
from evaluation.tasks.controls import FLOOR, FLOOR_DEVIATION
from vqi2i.checking.frozen import Frozen

FILE = "results.json"


class Column(Frozen):
    """A figure that the protocol asks for."""

    task: str
    measure: str


class Place(Frozen):
    """A cell of a grid of codebooks."""

    quantizer: str
    codes: int
    dim: int


class Against(Frozen):
    """One figure of a variant less that of the one it is compared with."""

    name: str = Field(description="of the variant's own measurement")
    measure: str
    difference: Difference


class Outcome(Frozen):
    """One variant: what was trained, and what was found."""

    name: str
    stage: str
    recipe: str
    settings: tuple[str, ...] = Field(description="that make it what it is")
    prior: str | None = Field(description="recipe of stage 2, if it has one")
    place: Place | None
    fingerprint: str = Field(description="sha256 of the model")
    images: int = Field(description="of each domain that stage 1 or the baseline saw")
    planned: int = Field(description="of each domain in its schedule")
    measurements: tuple[Measurement, ...] = Field(description="with the protocol's figures alone")
    against: str | None = Field(description="the variant that it is compared with")
    differences: tuple[Against, ...]
    gaps: tuple[str, ...]

    def difference(self, measurement: Measurement, measure: str) -> Difference | None:
        """What one of its figures differs by; None where nothing is compared."""
        found = (each for each in self.differences if each.name == measurement.name)
        return next((each.difference for each in found if each.measure == measure), None)


class FloorAt(Frozen):
    """Real images against real ones, so many on each side."""

    domain: str
    measure: str
    images: int
    mean: float
    deviation: float


class Reproduction(Frozen):
    """Everything that a protocol found."""

    format_version: Literal[1] = 1
    protocol: str
    title: str
    shows: str
    scale: int = Field(description="pixels along a side")
    minutes: float | None = Field(description="of each training; None: as its recipe has it")
    given: tuple[str, ...] = Field(description="settings that the user gave, for all variants")
    data: Subject
    settings: Settings
    headline: str
    columns: tuple[Column, ...]
    variants: tuple[Outcome, ...]
    floors: tuple[FloorAt, ...]
    published: tuple[str, ...]


class Cell(NamedTuple):
    """One figure in words."""

    value: str
    interval: str = ""
    change: str = ""  # against another variant
    better: bool | None = None  # None: no difference stands
    compared: bool = False


class Row(NamedTuple):
    """A variant in one style, or a control."""

    label: str
    kind: Literal["variant", "control"]
    cells: Sequence[Cell | None]
    images: str  # on which the figures stand


class Table(NamedTuple):
    """One task in one direction under every variant."""

    title: str
    measures: Sequence[Measure]
    rows: Sequence[Row]


class _Line(NamedTuple):
    """One measurement of a variant."""

    variant: Outcome
    measurement: Measurement
    label: str


def tables(found: Reproduction) -> Iterator[Table]:
    """Tables in the order of the protocol's columns, one for each task and direction."""
    for task in dict.fromkeys(column.task for column in found.columns):
        wanted = [column.measure for column in found.columns if column.task == task]
        mine = [(v, m) for v in found.variants for m in v.measurements if m.task == task]
        for source, target in dict.fromkeys((m.source, m.target) for _, m in mine):
            these = [(v, m) for v, m in mine if (m.source, m.target) == (source, target)]
            known = [name for name in wanted if any(m.get(name) for _, m in these)]
            if known:
                yield _table(these, known)


def _table(found: Sequence[tuple[Outcome, Measurement]], measures: Sequence[str]) -> Table:
    several = len({measurement.style for _, measurement in found}) > 1
    lines = []
    for variant, measurement in found:
        style = words.style(measurement) if several else ""
        lines.append(_Line(variant, measurement, ", ".join(filter(None, (variant.name, style)))))
    first = found[0][1]
    rows = [_row(line, measures) for line in lines]
    return Table(
        f"{words.task(first.task)[0]}, {words.direction(first)}",
        [MEASURES[name] for name in measures],
        [*rows, *_controls(lines, measures)],
    )


def _row(line: _Line, measures: Sequence[str]) -> Row:
    estimates = [line.measurement.get(name) for name in measures]
    cells = [each and _cell(line, each) for each in estimates]
    return Row(line.label, "variant", cells, words.counts(e.images for e in estimates if e))


def _cell(line: _Line, estimate: Estimate) -> Cell:
    about = estimate.about
    shown = Cell(
        words.figure(about, estimate.value), words.interval(about, estimate.low, estimate.high)
    )
    difference = line.variant.difference(line.measurement, estimate.measure)
    if difference is None:
        return shown
    return shown._replace(
        change=words.change(about, difference),
        better=difference.better,
        compared=difference.low is not None,
    )


class _Beside(NamedTuple):
    """A control's figures, and the rows that they stand beside."""

    values: dict[str, float]
    labels: list[str]
    estimates: list[Estimate]


def _controls(lines: Sequence[_Line], measures: Sequence[str]) -> Iterator[Row]:
    """A row for every control; several where it is not the same for all."""
    estimates = [[e for m in measures if (e := line.measurement.get(m))] for line in lines]
    names = dict.fromkeys(name for row in estimates for each in row for name in each.controls)
    for name in names:
        if name == FLOOR_DEVIATION:
            continue
        groups: list[_Beside] = []
        for line, row in zip(lines, estimates, strict=True):
            having = [each for each in row if name in each.controls]
            values = {each.measure: each.controls[name] for each in having}
            group = next((group for group in groups if _agree(group.values, values)), None)
            if group is None:
                groups.append(group := _Beside({}, [], []))
            group.values.update(values)
            group.labels.append(line.label)
            group.estimates.extend(having)
        for group in groups:
            which = "" if len(groups) == 1 else f", of {'; '.join(group.labels)}"
            cells = [_control(name, measure, group) for measure in measures]
            counts = words.counts(each.images for each in group.estimates)
            yield Row(f"{name}{which}", "control", cells, counts)


def _agree(a: dict[str, float], b: dict[str, float]) -> bool:
    """Whether two can be one: equal wherever both have a figure."""
    return all(math.isclose(a[name], b[name], rel_tol=1e-6) for name in a.keys() & b.keys())


def _control(name: str, measure: str, group: _Beside) -> Cell | None:
    if measure not in group.values:
        return None
    if name == FLOOR:
        estimate = next(each for each in group.estimates if each.measure == measure)
        return Cell(words.floor(estimate) or "")
    return Cell(words.figure(MEASURES[measure], group.values[measure]))


def verdicts(found: Reproduction) -> Iterator[str]:
    """A sentence on each variant that is compared: where it is better and where it is worse."""
    for variant in found.variants:
        if variant.against is None:
            continue
        told = [each.difference for each in variant.differences]
        made = [each for each in told if each.low is not None]
        better, worse = (sum(each.better is sign for each in made) for sign in (True, False))
        yield (
            f"Against {variant.against}, {variant.name} is better in {better} and worse in {worse} "
            f"of {len(made)} figures that have an interval."
        )


def estimates_of(found: Reproduction) -> Iterator[Estimate]:
    """Every figure of every variant."""
    for variant in found.variants:
        for measurement in variant.measurements:
            yield from measurement.estimates
