"""Evaluations of several models on the same data, side by side: which differences stand?

Figures are compared image by image, so that what makes an image easy or hard for all models drops
out.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from errors import UserError
from evaluation.measures import Measure
from evaluation.metrics.intervals import (
    DRAWS,
    LEVEL,
    Interval,
    counts,
    paired_bootstrap,
    percentiles,
)
from evaluation.metrics.kid import kid_difference
from evaluation.parts import Part, read_part
from evaluation.results import (
    TRAINING,
    Estimate,
    Evaluation,
    Measurement,
    Settings,
    Style,
    Subject,
    read,
)
from vqi2i.checking.frozen import Frozen

Told = Callable[[int, int], None]  # told (measurements done, measurements in all)
SAME = 1e-3  # as far as features of one image may differ between machines, of their largest


class Difference(Frozen):
    """A figure less the first evaluation's; of a measure that is best near 1, their distances to 1
    are compared.
    """

    value: float
    low: float | None = None
    high: float | None = None
    images: int | None = None  # in common
    stands: bool = False  # the interval excludes zero
    better: bool | None = None  # than the first; None where nothing stands
    why: str = ""  # there is no interval


class Compared(Frozen):
    """One measure of one task under every model."""

    measurement: Measurement  # the first one's, without its figures
    styles: tuple[Style | None, ...]  # (k,) of each model's own: some have none
    measure: str
    estimates: tuple[Estimate, ...]  # (k,) of each evaluation
    differences: tuple[Difference, ...]  # (k - 1,) of each but the first


class Comparison(Frozen):
    """Everything that the evaluations have in common."""

    labels: tuple[str, ...]  # (k,) of the models, each once
    models: tuple[Subject, ...]
    data: Subject
    settings: Settings
    headline: str
    compared: tuple[Compared, ...]
    not_common: tuple[str, ...]  # figures that some evaluations lack

    @property
    def made(self) -> int:
        """Differences that have an interval."""
        return sum(each.low is not None for row in self.compared for each in row.differences)

    @property
    def standing(self) -> int:
        """Differences whose interval excludes zero."""
        return sum(each.stands for row in self.compared for each in row.differences)

    @property
    def by_chance(self) -> float:
        """Differences expected to stand if all models were alike."""
        return (1 - LEVEL) * self.made


def compare(folders: Sequence[Path], told: Told | None = None) -> Comparison:
    """Compare evaluations with the first one.

    Args:
        folders: of two evaluations or more, of the same data and settings.
        told: of how far it is.

    Raises:
        UserError: there are fewer than two, one is no evaluation or lacks a part, or they are of
            different data or settings.
    """
    if len(folders) < 2:
        raise UserError(
            f"a comparison needs two evaluations or more, got {len(folders)}: name another folder "
            "of `vqi2i evaluate`"
        )
    evaluations = [read(folder) for folder in folders]
    for folder, evaluation in zip(folders[1:], evaluations[1:], strict=True):
        _check_same(folders[0], evaluations[0], folder, evaluation)
    reals = _Reals(folders)
    common, not_common = _sorted_out(evaluations)
    compared: list[Compared] = []
    for done, (measurements, measures) in enumerate(common, start=1):
        parts = [read_part(*each) for each in zip(folders, measurements, strict=True)]
        compared += [_compared(measure, parts, reals) for measure in measures]
        if told:
            told(done, len(common))
    return Comparison(
        labels=_labels(folders, evaluations),
        models=tuple(evaluation.model for evaluation in evaluations),
        data=evaluations[0].data,
        settings=evaluations[0].settings,
        headline=evaluations[0].headline,
        compared=tuple(compared),
        not_common=not_common,
    )


def _check_same(first: Path, ours: Evaluation, other: Path, theirs: Evaluation) -> None:
    if ours.data.fingerprint != theirs.data.fingerprint:
        raise UserError(
            f"{other} is of other data ({theirs.data.name}, {theirs.data.fingerprint[:8]}) than "
            f"{first} ({ours.data.name}, {ours.data.fingerprint[:8]}): compare evaluations of the "
            "same data"
        )
    a, b = ours.settings.model_dump(), theirs.settings.model_dump()
    if other_settings := [name for name in a if a[name] != b[name]]:
        there, here = (
            ", ".join(f"{name}={settings[name]}" for name in other_settings) for settings in (b, a)
        )
        raise UserError(
            f"{other} was measured with {there}, {first} with {here}: evaluate both with the same "
            "settings"
        )


class _Common(NamedTuple):
    """A task that all evaluations have, and the measures that all of them have of it."""

    measurements: Sequence[Measurement]
    measures: Sequence[str]


def _sorted_out(evaluations: Sequence[Evaluation]) -> tuple[list[_Common], tuple[str, ...]]:
    """What all evaluations have, and names of figures that some lack."""
    common, compared = [], set[str]()
    for measurement in evaluations[0].measurements:
        found = [_like(measurement, evaluation) for evaluation in evaluations]
        everywhere = [each for each in found if each is not None]
        if len(everywhere) < len(evaluations):
            continue
        known = [estimate.measure for estimate in measurement.estimates]
        if shared := [m for m in known if all(each.get(m) for each in everywhere)]:
            common.append(_Common(everywhere, shared))
            compared |= {f"{each.name}.{measure}" for each in everywhere for measure in shared}
    anywhere = dict.fromkeys(figure for each in evaluations for figure in each.figures())
    return common, tuple(figure for figure in anywhere if figure not in compared)


def _like(measurement: Measurement, evaluation: Evaluation) -> Measurement | None:
    """The same task of another model; of models of which one has no styles, what stands for it."""
    by_style = {
        each.style: each
        for each in evaluation.measurements
        if (each.task, each.source, each.target)
        == (measurement.task, measurement.source, measurement.target)
    }
    stands_for = {"none": "exemplar", "exemplar": "none"}.get(measurement.style or "")
    return by_style.get(measurement.style) or (by_style.get(stands_for) if stands_for else None)


def _labels(folders: Sequence[Path], evaluations: Sequence[Evaluation]) -> tuple[str, ...]:
    """Names of the models; the folders where these are not distinct."""
    names = tuple(evaluation.model.name for evaluation in evaluations)
    return names if len(set(names)) == len(names) else tuple(map(str, folders))


def _compared(measure: str, parts: Sequence[Part], reals: "_Reals") -> Compared:
    first = parts[0].measurement
    estimates = [part.measurement.get(measure) for part in parts]
    known = tuple(estimate for estimate in estimates if estimate)
    differences = []
    for number, theirs in enumerate(parts[1:], start=1):
        pair = _Pair.of(parts[0], theirs)
        found = pair.difference(measure, known[0].about, reals, number)
        if isinstance(found, str):
            value = _off(known[0].about, known[number].value) - _off(known[0].about, known[0].value)
            differences.append(Difference(value=value, why=found))
        else:
            differences.append(_judged(found.interval, found.images, known[0].about))
    bare = first.model_copy(update={"estimates": (), "gaps": ()})
    return Compared(
        measurement=bare,
        styles=tuple(part.measurement.style for part in parts),
        measure=measure,
        estimates=known,
        differences=tuple(differences),
    )


def _judged(interval: Interval, images: int, about: Measure) -> Difference:
    stands = interval.excludes_zero
    better = (interval.value > 0) == (about.better == "higher") if stands else None
    value, low, high = interval
    return Difference(value=value, low=low, high=high, images=images, stands=stands, better=better)


def _off(about: Measure, value: float) -> float:
    """What is compared: the figure, or its distance to 1 where that is best."""
    return abs(value - 1) if about.better == "closer" else value


class _Found(NamedTuple):
    interval: Interval
    images: int


class _Pair(NamedTuple):
    """One task of two models, and the images in common: their rows on either side."""

    ours: Part
    theirs: Part
    rows: tuple[NDArray[np.intp], NDArray[np.intp]]

    @classmethod
    def of(cls, ours: Part, theirs: Part) -> "_Pair":
        places = {key: row for row, key in enumerate(theirs.keys)}
        shared = [(row, places[key]) for row, key in enumerate(ours.keys) if key in places]
        first, second = np.array(shared, np.intp).reshape(-1, 2).T
        return cls(ours, theirs, (first, second))

    def difference(
        self, measure: str, about: Measure, reals: "_Reals", number: int
    ) -> _Found | str:
        """Theirs less ours with an interval, or why there is none."""
        network = measure.removeprefix("kid_")
        of_images = measure in self.ours.each and measure in self.theirs.each
        of_sets = network in self.ours.features and network in self.theirs.features
        if not of_images and not of_sets:
            return "its parts were not kept" if network != measure else "no mean over images"
        if len(self.rows[0]) < 2:
            return "no images in common"
        return (
            self._of_images(measure, about) if of_images else self._of_kid(network, reals, number)
        )

    def _of_images(self, measure: str, about: Measure) -> _Found | str:
        ours, theirs = self._rows(self.ours.each[measure], self.theirs.each[measure])
        finite = np.isfinite(ours) & np.isfinite(theirs)
        if not finite.any():
            return "no finite figures in common"
        ours, theirs = ours[finite], theirs[finite]
        of = _distance_to_one if about.better == "closer" else paired_bootstrap
        return _Found(of(theirs, ours), len(ours))

    def _of_kid(self, network: str, reals: "_Reals", number: int) -> _Found | str:
        features = self.ours.features[network], self.theirs.features[network]
        if any(len(f) != len(p.keys) for f, p in zip(features, self[:2], strict=True)):
            return "several pictures of one image"
        measurement = self.ours.measurement
        domain = measurement.target or measurement.source
        ending = TRAINING if measurement.compared_with == "training" else ""
        real = reals.features(str(domain), network + ending, number)
        return _Found(kid_difference(real, *self._rows(*features)), len(self.rows[0]))

    def _rows(self, ours: NDArray, theirs: NDArray) -> tuple[NDArray, NDArray]:
        return ours[self.rows[0]], theirs[self.rows[1]]


def _distance_to_one(theirs: NDArray, ours: NDArray) -> Interval:
    """How much further from 1 the mean of theirs is, with the interval over the same images."""
    pair = np.stack([theirs, ours]).astype(np.float64)
    means = np.abs(counts(len(ours), DRAWS, seed=0) @ pair.T / len(ours) - 1)
    value = np.abs(pair.mean(1) - 1)
    return percentiles(float(value[0] - value[1]), means[:, 0] - means[:, 1])


class _Reals:
    """Features of real images, which must be the same for all evaluations; each is read once."""

    def __init__(self, folders: Sequence[Path]):
        self._folders = folders
        self._known: dict[tuple[str, int], Mapping[str, NDArray]] = {}

    def features(self, domain: str, network: str, number: int) -> NDArray:
        """(n, d) of a domain's real images, the same for the first evaluation and another one.

        Raises:
            UserError: a part is not there, or they differ.
        """
        ours, theirs = (self._read(domain, place)[network] for place in (0, number))
        reach = SAME * np.abs(ours).max()
        if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=0, atol=reach):
            raise UserError(
                f"{self._folders[number]} and {self._folders[0]} have different features of the "
                f"real images of {domain}: evaluate both with one version"
            )
        return ours

    def _read(self, domain: str, place: int) -> Mapping[str, NDArray]:
        if (domain, place) not in self._known:
            real = Measurement(task="real", source=domain, estimates=())
            self._known[domain, place] = read_part(self._folders[place], real).features
        return self._known[domain, place]
