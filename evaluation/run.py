"""Measure everything, part by part: what is done already is not done again."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from evaluation import results
from evaluation.parts import Part, measured, write_part
from evaluation.results import Evaluation, Measurement, Subject
from evaluation.tasks.context import Context, Translates
from evaluation.tasks.plan import KINDS, Task, tasks

METHOD = 1  # raise it whenever the same pictures would get other figures

Tell = Callable[[int, int], None]  # told (tasks done, tasks in all)


class Spread(Protocol):
    """Where parts are measured besides this process."""

    def __call__(self, names: list[str]) -> Iterator[Part]:
        """The parts of these names, as they are done."""
        ...


def evaluate(
    context: Context,
    model: Translates,
    about: Subject,
    out: Path,
    *,
    headline: str,
    only: Collection[str] | None = None,
    spread: Spread | None = None,
    progress: Tell | None = None,
) -> Evaluation:
    """Measure a model; the same call again goes on where it was interrupted, to the same bytes.

    Args:
        context: real pictures, networks, settings.
        model: what is measured.
        about: name, fingerprint and facts of the model.
        out: folder for `metrics.json` and the parts.
        headline: the measure that leads.
        only: kinds of tasks that are measured (`KINDS`); None for all. What real images look like
            is always kept, for comparisons.
        spread: where else parts are measured; None for here, one after the other.
        progress: told how many tasks are done.
    """
    key = identity(context, about)
    there = tasks(context, model)
    every = [task for task in there if only is None or task.kind in {"real", *only}]
    known = {task.name: measured(out, task.name, key) for task in every}
    found: dict[str, Measurement] = {name: part for name, part in known.items() if part}
    left = {task.name: task.measure for task in every if task.name not in found}

    def parts() -> Iterator[Part]:
        if spread is not None:
            yield from spread(list(left))
        else:
            yield from (measure() for measure in left.values())

    _tell(progress, len(found), len(every))
    for part in parts() if left else ():
        write_part(out, part, key)
        found[part.measurement.name] = part.measurement
        _tell(progress, len(found), len(every))
    evaluation = Evaluation(
        model=about,
        data=context.images.about,
        settings=context.settings,
        headline=headline,
        gaps=(*context.images.gaps, *context.networks.gaps, *_left_out(there, every)),
        measurements=tuple(
            measurement
            for task in every
            if (measurement := found[task.name]).estimates or measurement.gaps
        ),
    )
    results.write(evaluation, out)
    return evaluation


def identity(context: Context, about: Subject) -> str:
    """sha256 of all that decides the figures."""
    decisive = {
        "method": METHOD,
        "model": about.fingerprint,
        "data": context.images.about.fingerprint,
        "settings": context.settings.model_dump(mode="json"),
        "networks": context.networks.identity,
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _left_out(there: Sequence[Task], measured: Sequence[Task]) -> Iterator[str]:
    """That some tasks were not asked for; nothing if all were."""
    missing = {task.kind for task in there} - {task.kind for task in measured}
    if missing:
        yield f"not asked for: {', '.join(kind for kind in KINDS if kind in missing)}"


def _tell(progress: Tell | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)
