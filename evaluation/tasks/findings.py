"""Figures of one task, as they are found, and the pictures that show them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from evaluation.metrics.intervals import bootstrap_mean
from evaluation.networks.sight import Seen
from evaluation.parts import Cases, Part
from evaluation.results import Estimate, Measurement, Style
from imaging.codec import Images

Found = tuple[Estimate, np.ndarray | None]  # a figure, and (n,) those of single images
Made = TypeVar("Made")  # pictures, or what a network says of them


class Findings:
    """Figures of one task."""

    def __init__(self) -> None:
        self.estimates: list[Estimate] = []
        self.each: dict[str, np.ndarray] = {}  # (n,) of single images, by measure

    def add(self, found: Iterable[Found]) -> None:
        """Take figures in."""
        for estimate, values in found:
            self.estimates.append(estimate)
            if values is not None:
                self.each[estimate.measure] = values

    def part(
        self,
        task: str,
        keys: Sequence[str],
        seen: Seen,
        shown: Cases,
        *,
        source: str | None = None,
        target: str | None = None,
        style: Style | None = None,
        gaps: Iterable[str] = (),
    ) -> Part:
        """The task's part.

        Args:
            task: what it is.
            keys: (n,) of the images that went in.
            seen: what networks say of the pictures that are compared as a set.
            shown: pictures to look at.
            source: domain that goes in.
            target: domain that comes out.
            style: where styles come from.
            gaps: what was not measured, and why.
        """
        measurement = Measurement(
            task=task,
            source=source,
            target=target,
            style=style,
            estimates=tuple(self.estimates),
            gaps=tuple(gaps),
        )
        return Part(measurement, keys, self.each, seen.features, shown)


def beside(
    measure: str,
    of: Callable[[Made], np.ndarray],
    made: Made,
    others: Mapping[str, Made],
    known: Mapping[str, float] | None = None,
) -> Found:
    """The mean figure of pictures, beside those of the controls' pictures.

    Args:
        measure: its name.
        of: (n,) figures of single pictures.
        made: the pictures.
        others: the controls', by name.
        known: controls that no pictures have.
    """
    values = of(made)
    controls = {name: float(of(some).mean()) for name, some in others.items()}
    return mean_of(measure, values, {**controls, **(known or {})}), values


def mean_of(
    measure: str,
    values: np.ndarray,
    controls: Mapping[str, float] | None = None,
    images: int | None = None,
) -> Estimate:
    """A mean of per-image figures with its bootstrap interval."""
    value, low, high = bootstrap_mean(values)
    return Estimate(
        measure=measure,
        value=value,
        low=low,
        high=high,
        images=images or len(values),
        controls=dict(controls or {}),
    )


def cases(measure: str, figures: ArrayLike, columns: Mapping[str, Images], count: int) -> Cases:
    """The lowest, middle and highest of some pictures, and the first ones as they come.

    Args:
        measure: what ranks them.
        figures: (n,) of it, finite.
        columns: (n, h, w, 3) each.
        count: of each kind.
    """
    table = np.asarray(figures, np.float64)
    order = np.argsort(table, kind="stable")
    some = min(count, len(order) // 3)
    middle = (len(order) - some) // 2
    # The first ones are the same whatever is measured: models can be compared by them.
    rows = {
        "lowest": order[:some],
        "middle": order[middle : middle + some],
        "highest": order[len(order) - some :],
        "as it comes": np.arange(min(count, len(order))),
    }
    chosen = np.concatenate(list(rows.values()))
    return Cases(
        [label for label, part in rows.items() for _ in part],
        table[chosen].tolist(),
        measure,
        {name: images[chosen] for name, images in columns.items()},
    )
