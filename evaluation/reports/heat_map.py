"""Grids of codebooks as tables whose cells are the warmer the more they hold; the numbers stand in
them.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from evaluation.measures import MEASURES, Measure
from evaluation.reports import words
from evaluation.reports.reproduction import Outcome, Reproduction
from evaluation.results import Estimate

MOST = 45  # % of colour in the warmest cell: text stays legible on it, by day and by night


class HeatCell(NamedTuple):
    """One model of the grid."""

    value: str
    interval: str  # empty for a mean over domains
    warmth: int  # % of colour


class HeatMap(NamedTuple):
    """One figure under one quantizer."""

    quantizer: str
    about: Measure
    task: str
    dims: Sequence[int]
    rows: Sequence[tuple[int, Sequence[HeatCell | None]]]  # codes, and a cell for each dimension
    images: str


class _Figure(NamedTuple):
    """A figure of a model: a mean where domains have one each."""

    value: float
    estimates: Sequence[Estimate]


def heat_maps(found: Reproduction) -> Iterator[HeatMap]:
    """A map for each figure and quantizer; those of one figure share their colours."""
    by_place = {
        (place.quantizer, place.codes, place.dim): variant
        for variant in found.variants
        if (place := variant.place)
    }
    quantizers = dict.fromkeys(quantizer for quantizer, _, _ in by_place)
    codes = sorted({count for _, count, _ in by_place})
    dims = sorted({dim for _, _, dim in by_place})
    for column in found.columns if by_place else ():
        figures = {
            place: figure
            for place, variant in by_place.items()
            if (figure := _figure(variant, column.task, column.measure))
        }
        if not figures:
            continue
        lowest, highest = (end(f.value for f in figures.values()) for end in (min, max))
        for quantizer in quantizers:
            rows = []
            for count in codes:
                known = [figures.get((quantizer, count, dim)) for dim in dims]
                cells = [f and _cell(column.measure, f, lowest, highest) for f in known]
                rows.append((count, cells))
            mine = [f for place, f in figures.items() if place[0] == quantizer]
            images = words.counts(each.images for figure in mine for each in figure.estimates)
            about = MEASURES[column.measure]
            yield HeatMap(quantizer, about, words.task(column.task)[0], dims, rows, images)


def _figure(variant: Outcome, task: str, measure: str) -> _Figure | None:
    mine = [each.get(measure) for each in variant.measurements if each.task == task]
    known = [each for each in mine if each]
    if not known:
        return None
    return _Figure(sum(each.value for each in known) / len(known), known)


def _cell(measure: str, figure: _Figure, lowest: float, highest: float) -> HeatCell:
    about = MEASURES[measure]
    share = (figure.value - lowest) / (highest - lowest) if highest > lowest else 0.0
    only = figure.estimates[0] if len(figure.estimates) == 1 else None
    interval = words.interval(about, only.low, only.high) if only else ""
    return HeatCell(words.figure(about, figure.value), interval, round(MOST * share))
