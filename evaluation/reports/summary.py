"""The answer first: what the headline says of translations, beside its controls, in words."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from evaluation.measures import MEASURES, Measure
from evaluation.metrics.kid import Floor
from evaluation.reports import words
from evaluation.results import Estimate, Evaluation, Measurement
from evaluation.tasks import controls


class Statement(NamedTuple):
    """One direction."""

    title: str
    value: str
    interval: str
    text: str
    warnings: Sequence[str]


class Summary(NamedTuple):
    """All directions, the sentence about them first."""

    lead: str
    statements: Sequence[Statement]
    warnings: Sequence[str] = ()  # of all statements, each once


def summarise(evaluation: Evaluation) -> Summary:
    """Say how translations do by the headline; without one, say that."""
    about = MEASURES[evaluation.headline]
    found = [
        (measurement, estimate)
        for measurement in evaluation.measurements
        if measurement.task == "translation" and (estimate := measurement.get(evaluation.headline))
    ]
    if not found:
        return Summary(f"{about.title}, the headline, was measured of no translation.", [])
    statements = [_statement(measurement, estimate) for measurement, estimate in found]
    count = Counter(warning for statement in statements for warning in statement.warnings)
    told = [f"{times} of {len(statements)}: {warning}" for warning, times in count.items()]
    return Summary(_lead(about, [estimate for _, estimate in found]), statements, told)


def warnings(estimate: Estimate) -> list[str]:
    """Why a reader should not lean on a figure."""
    found = []
    if estimate.images < words.FEW:
        found.append(f"fewer than {words.FEW} images a side: little can be told apart")
    floor = estimate.controls.get(controls.FLOOR)
    if floor is not None and standing(estimate, floor) == 0:
        found.append("the interval includes the floor: not told apart from real images")
    return found


def standing(estimate: Estimate, control: float) -> int:
    """1 where a figure is better than a control, -1 where it is worse, 0 within its interval."""
    low = estimate.value if estimate.low is None else estimate.low
    high = estimate.value if estimate.high is None else estimate.high
    if low <= control <= high:
        return 0
    match estimate.about.better:
        case "higher":
            better = estimate.value > control
        case "lower":
            better = estimate.value < control
        case "closer":
            better = abs(estimate.value - 1) < abs(control - 1)
    return 1 if better else -1


def _lead(about: Measure, estimates: Sequence[Estimate]) -> str:
    values = [estimate.value for estimate in estimates]
    ends = [words.figure(about, end) for end in (min(values), max(values))]
    reached = ends[0] if ends[0] == ends[1] else f"between {ends[0]} and {ends[1]}"
    sentence = f"{about.title} of translations is {reached} ({words.better(about)})."
    for name, method in (
        (controls.IDENTITY, "returning the input"),
        (controls.REINHARD, "Reinhard transfer"),
    ):
        asked = [estimate for estimate in estimates if name in estimate.controls]
        if asked:
            won = sum(standing(estimate, estimate.controls[name]) == 1 for estimate in asked)
            sentence += f" It is better than {method} in {won} of {len(asked)} cases."
    return sentence


def _statement(measurement: Measurement, estimate: Estimate) -> Statement:
    sentences = [f"On {estimate.images} images a side.", _floor(estimate), _controls(estimate)]
    return Statement(
        words.title(measurement),
        words.figure(estimate.about, estimate.value),
        words.interval(estimate.about, estimate.low, estimate.high),
        " ".join(filter(None, sentences)),
        warnings(estimate),
    )


def _floor(estimate: Estimate) -> str:
    mean, deviation = (
        estimate.controls.get(name) for name in (controls.FLOOR, controls.FLOOR_DEVIATION)
    )
    if mean is None:
        return "The floor was not measured."
    sentence = f"The floor, real images against real ones, is {words.floor(estimate)}"
    if not deviation:
        return f"{sentence}."
    above = Floor(mean, deviation, estimate.images).deviations(estimate.value)
    side = "above" if above >= 0 else "below"
    return f"{sentence}: the result lies {abs(above):,.1f} of its deviations {side} it."


def _controls(estimate: Estimate) -> str:
    told = {1: "better than", 0: "not told apart from", -1: "worse than"}
    clauses = []
    for outcome, relation in told.items():
        names = [
            f"{'the ' if name == controls.IDENTITY else ''}{name} "
            f"({words.figure(estimate.about, estimate.controls[name])})"
            for name in (controls.IDENTITY, controls.REINHARD)
            if name in estimate.controls and standing(estimate, estimate.controls[name]) == outcome
        ]
        if names:
            clauses.append(f"{relation} {' and '.join(names)}")
    return f"It is {', '.join(clauses)}." if clauses else ""
