"""Batched execution: requests share model calls, and nobody can tell from the pixels."""

import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

import imaging
from errors import UserError
from imaging.codec import Pixels
from vqi2i import Translator
from vqi2i.editing.chain import Chain
from vqi2i.networks.stopping import stoppable

_log = logging.getLogger(__name__)
Job = TypeVar("Job")


@dataclass(frozen=True, kw_only=True)
class TranslateJob:
    """Show an image in a target domain, in an exemplar's or in `samples` sampled styles.

    Sampled styles have the seeds seed, seed + 1, ...
    """

    image: Pixels
    source: str
    target: str
    style: Pixels | None = None  # of the target domain, any size
    samples: int = 1
    seed: int = 0
    alone: bool = False  # beside the batches of others


@dataclass(frozen=True, kw_only=True)
class ComposeJob:
    """Follow a chain on an image, or `count` times from nothing.

    The seeds are seed, seed + 1, ...
    """

    chain: Chain
    image: Pixels | None = None  # None if the chain begins by generating
    # the examples and masks that its steps name
    pictures: Mapping[str, Pixels] = field(default_factory=dict)
    count: int = 1
    seed: int = 0
    alone: bool = False  # beside the batches of others


@dataclass(frozen=True)
class Failure:
    """Why a job has no pictures; returned, not raised, so that the rest of its batch goes on."""

    reason: str
    internal: bool = False  # our fault rather than the request's


JobResult = list[Pixels] | Failure
GivenUp = Callable[[], bool]  # whether nobody waits for a job any more


_Key = tuple[Hashable, ...]  # rows with equal keys fit into one call of the translator


@dataclass(frozen=True)
class _Row:
    """One picture to make: a row of a model call."""

    job: int
    image: Pixels | None
    seed: int
    style: Tensor | None = None  # (style_dim,)


class _StopError(Exception):
    """A computation was ended from outside."""


class Engine:
    """Runs jobs on one model: pictures that can be made alike are made together.

    Args:
        translator: the model.
        max_seconds: that a job may compute; jobs that are made together have the time of all of
            them.
    """

    def __init__(self, translator: Translator, max_seconds: float = math.inf):
        self.translator = translator
        self.max_seconds = max_seconds

    def translate(
        self, jobs: Sequence[TranslateJob], given_up: Sequence[GivenUp] | None = None
    ) -> list[JobResult]:
        """Pictures of each job, or why there are none; in the jobs' order.

        Args:
            jobs: any.
            given_up: asked for each job while it is computed, between two layers of a network: a
                computation ends when nobody waits for any of the jobs that it is for.
        """

        def rows(index: int, job: TranslateJob) -> tuple[_Key, list[_Row]]:
            self._check(job.source, job.target)
            # Rows of a call share size and domains; each has a style of its own.
            key = job.image.shape, job.source, job.target
            return key, [
                _Row(index, job.image, job.seed + k, style)
                for k, style in enumerate(self._styles(job))
            ]

        def call(job: TranslateJob, images: Tensor | None, rows: Sequence[_Row]) -> Tensor:
            assert images is not None
            # (rows, style_dim)
            style = torch.stack([row.style for row in rows if row.style is not None])
            return self.translator.translate(
                images, source=job.source, target=job.target, style=style
            )

        return self._execute(jobs, given_up, rows, call)

    def compose(
        self, jobs: Sequence[ComposeJob], given_up: Sequence[GivenUp] | None = None
    ) -> list[JobResult]:
        """The pictures of each job's chain, or why there are none, in order; see `translate`."""

        def rows(index: int, job: ComposeJob) -> tuple[_Key, list[_Row]]:
            if job.chain.source is not None:
                self._check(job.chain.source)
            shape = job.image.shape if job.image is not None else None
            # Rows of a call share chain and pictures, byte for byte.
            pictures = tuple(
                (name, made.shape, made.tobytes()) for name, made in sorted(job.pictures.items())
            )
            return (shape, job.chain, pictures), [
                _Row(index, job.image, job.seed + k) for k in range(job.count)
            ]

        def call(job: ComposeJob, images: Tensor | None, rows: Sequence[_Row]) -> Tensor:
            pictures = {name: imaging.to_tensor([made]) for name, made in job.pictures.items()}
            return self.translator.compose(
                images, job.chain, pictures=pictures, seed=[row.seed for row in rows]
            )

        return self._execute(jobs, given_up, rows, call)

    def _execute(
        self,
        jobs: Sequence[Job],
        given_up: Sequence[GivenUp] | None,
        split: Callable[[int, Job], tuple[_Key, list[_Row]]],
        call: Callable[[Job, Tensor | None, Sequence[_Row]], Tensor],
    ) -> list[JobResult]:
        pictures: dict[int, list[Pixels]] = defaultdict(list)
        failures: dict[int, Failure] = {}
        groups: dict[_Key, list[_Row]] = defaultdict(list)
        for index, job in enumerate(jobs):
            try:
                with self._stoppable([index], given_up):
                    key, rows = split(index, job)
                # A row's seed is its own, so that its place in a call does not change its pixels.
                groups[key] += rows
            except Exception as error:
                failures[index] = _failure(error)
        for rows in groups.values():
            try:
                shown = [row.image for row in rows if row.image is not None]
                images = imaging.to_tensor(shown) if shown else None
                with self._stoppable({row.job for row in rows}, given_up):
                    made = imaging.to_pixels(call(jobs[rows[0].job], images, rows))
                for row, picture in zip(rows, made, strict=True):
                    pictures[row.job].append(picture)
            except Exception as error:
                # Nobody knows which row was at fault: all jobs of the call fail.
                failures.update({row.job: _failure(error) for row in rows})
        return [failures.get(index) or pictures[index] for index in range(len(jobs))]

    @contextmanager
    def _stoppable(
        self, jobs: Collection[int], given_up: Sequence[GivenUp] | None
    ) -> Iterator[None]:
        """Ends what is computed for jobs when time is over, or nobody waits for any of them."""
        # The call of several jobs may take the time of all of them.
        seconds = self.max_seconds * len(jobs)
        end = time.monotonic() + seconds

        def check() -> None:
            if given_up is not None and all(given_up[job]() for job in jobs):
                raise _StopError("nobody waits for it any more")
            if time.monotonic() > end:
                raise _StopError(
                    f"it was stopped after {seconds:g} s of computing: send smaller images, or "
                    "ask for less at a time"
                )

        with stoppable(check):
            yield

    def _styles(self, job: TranslateJob) -> list[Tensor]:
        """The job's styles, each (style_dim,)."""
        if job.style is None:
            return list(self.translator.sample_styles(job.target, job.samples, job.seed))
        if job.samples != 1:
            raise UserError(
                "a style image gives one picture: leave out either the style image or samples"
            )
        return [self.translator.encode(imaging.to_tensor([job.style]), job.target).style[0]]

    def _check(self, *domains: str) -> None:
        for domain in domains:
            if domain not in self.translator.domains:
                raise UserError(
                    f"unknown domain {domain!r}: this model knows "
                    f"{', '.join(self.translator.domains)}"
                )


def _failure(error: Exception) -> Failure:
    if isinstance(error, UserError | _StopError):
        return Failure(str(error))
    _log.error("a model call failed", exc_info=error)
    return Failure(
        f"the model failed ({type(error).__name__}), a fault of ours: its log says why",
        internal=True,
    )
