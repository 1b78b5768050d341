"""Dots with whiskers: figures with their intervals on lines of one scale, as wide as the page is.

Places along the scale are percentages, so that text keeps its size at every width.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from matplotlib.ticker import MaxNLocator

MARGIN = 3.0  # % of the width on either side of the scale
STEP = 20  # pixels from one model's dot to the next
LABEL = 24  # pixels for a line's words


class Dot(NamedTuple):
    """A figure and its interval."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None


class Line(NamedTuple):
    """What is compared with each other."""

    label: str
    dots: Sequence[Dot]  # one of each model, in one order on all lines
    controls: Sequence[Dot] = ()  # figures without a model
    floor: tuple[float, float] | None = None  # mean and standard deviation


class Place(NamedTuple):
    """A dot on the page, in % of the width."""

    label: str
    words: str
    x: float
    low: float
    high: float


class Track(NamedTuple):
    """A line on the page."""

    label: str
    top: int  # pixels
    dots: Sequence[Place]
    controls: Sequence[Place]
    floor: Place | None


class Plot(NamedTuple):
    """All lines on the page, and the numbers below them."""

    title: str
    tracks: Sequence[Track]
    controls: Sequence[str]  # that stand on some line
    ticks: Sequence[tuple[float, str]]
    height: int


def plot(title: str, lines: Sequence[Line]) -> Plot:
    """Lay lines out on one scale, which holds zero.

    Args:
        title: what is drawn, for those who cannot see it.
        lines: at least one, with at least one dot.
    """
    reach = [0.0, *(value for line in lines for value in _values(line))]
    lowest, highest = min(reach), max(reach)
    highest = highest if highest > lowest else lowest + 1  # all is zero
    ticks = [
        tick for tick in MaxNLocator(5).tick_values(lowest, highest) if lowest <= tick <= highest
    ]

    def x(value: float) -> float:
        return round(MARGIN + (100 - 2 * MARGIN) * (value - lowest) / (highest - lowest), 2)

    def placed(dot: Dot) -> Place:
        low, high = (dot.value if end is None else end for end in (dot.low, dot.high))
        return Place(dot.label, f"{dot.label} {dot.value:.4g}", x(dot.value), x(low), x(high))

    tracks, top = [], 0
    for line in lines:
        floor = None
        if line.floor:
            mean, deviation = line.floor
            floor = placed(Dot("floor", mean, mean - 2 * deviation, mean + 2 * deviation))
        controls = [placed(dot) for dot in line.controls]
        tracks.append(Track(line.label, top, [placed(dot) for dot in line.dots], controls, floor))
        top += LABEL + STEP * len(line.dots) + 10
    known = dict.fromkeys(dot.label for line in lines for dot in line.controls)
    return Plot(title, tracks, [*known], [(x(tick), f"{tick:g}") for tick in ticks], top + 22)


def _values(line: Line) -> Iterator[float]:
    for dot in (*line.dots, *line.controls):
        yield from (end for end in (dot.low, dot.value, dot.high) if end is not None)
    if line.floor:
        mean, deviation = line.floor
        yield from (mean - 2 * deviation, mean + 2 * deviation)
