"""Batched execution: requests that arrive together share model calls, and nobody can tell from the pixels."""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

import imaging
from imaging.codec import Pixels
from vqi2i import Translator

_log = logging.getLogger(__name__)
Job = TypeVar("Job")


@dataclass(frozen=True, kw_only=True)
class TranslateJob:
    """Show an image in a target domain, in an exemplar's style or in `samples` styles of seeds seed, seed + 1, ..."""

    image: Pixels
    source: str
    target: str
    style: Pixels | None = None  # of the target domain, any size
    samples: int = 1
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class ExtendJob:
    """Continue an image of `domain` by `left` and `right` pixels, shown in `target`."""

    image: Pixels
    domain: str
    target: str
    left: int = 0
    right: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Failure:
    """Why a job has no pictures; returned rather than raised, so that the rest of its batch goes on."""

    reason: str
    internal: bool = False  # our fault rather than the request's


Outcome = list[Pixels] | Failure


@dataclass(frozen=True)
class _Key:
    """Rows with equal keys fit into one call of the translator."""

    height: int
    width: int
    source: str
    target: str
    left: int = 0
    right: int = 0


@dataclass(frozen=True)
class _Row:
    """One picture to make: a row of a model call."""

    job: int
    image: Pixels
    seed: int
    style: Tensor | None = None  # (style_dim,)


class Engine:
    """Runs jobs on one model: pictures that can be made alike are made together."""

    def __init__(self, translator: Translator):
        self.translator = translator

    def translate(self, jobs: Sequence[TranslateJob]) -> list[Outcome]:
        """Pictures of each job, or why there are none; in the jobs' order."""

        def rows(index: int, job: TranslateJob) -> tuple[_Key, list[_Row]]:
            self._check(job.source, job.target)
            styles = self._styles(job)
            height, width = job.image.shape[:2]
            key = _Key(height, width, job.source, job.target)
            return key, [_Row(index, job.image, job.seed + k, style) for k, style in enumerate(styles)]

        def call(key: _Key, images: Tensor, rows: Sequence[_Row]) -> Tensor:
            style = torch.stack([row.style for row in rows if row.style is not None])
            return self.translator.translate(images, source=key.source, target=key.target, style=style)

        return self._execute(jobs, rows, call)

    def extend(self, jobs: Sequence[ExtendJob]) -> list[Outcome]:
        """One wider picture for each job, or why there is none; in the jobs' order."""

        def rows(index: int, job: ExtendJob) -> tuple[_Key, list[_Row]]:
            self._check(job.domain, job.target)
            if self.translator.prior is None:
                raise ValueError("this model has no prior and can only translate: choose another, or train stage 2")
            height, width = job.image.shape[:2]
            key = _Key(height, width, job.domain, job.target, job.left, job.right)
            return key, [_Row(index, job.image, job.seed)]

        def call(key: _Key, images: Tensor, rows: Sequence[_Row]) -> Tensor:
            seeds = [row.seed for row in rows]
            return self.translator.extend(
                images, domain=key.source, target=key.target, left=key.left, right=key.right, seed=seeds
            )

        return self._execute(jobs, rows, call)

    def _execute(
        self, jobs: Sequence[Job], split: Callable[[int, Job], tuple[_Key, list[_Row]]],
        call: Callable[[_Key, Tensor, Sequence[_Row]], Tensor],
    ) -> list[Outcome]:  # fmt: skip
        pictures: dict[int, list[Pixels]] = defaultdict(list)
        failures: dict[int, Failure] = {}
        groups: dict[_Key, list[_Row]] = defaultdict(list)
        for index, job in enumerate(jobs):
            try:
                key, rows = split(index, job)
                groups[key] += rows
            except Exception as error:
                failures[index] = _failure(error)
        for key, rows in groups.items():
            try:
                made = imaging.to_pixels(call(key, imaging.to_tensor([row.image for row in rows]), rows))
                for row, picture in zip(rows, made, strict=True):
                    pictures[row.job].append(picture)
            except Exception as error:
                failures.update({row.job: _failure(error) for row in rows})
        return [failures.get(index) or pictures[index] for index in range(len(jobs))]

    def _styles(self, job: TranslateJob) -> list[Tensor]:
        """The job's styles, each (style_dim,)."""
        if job.style is None:
            return list(self.translator.sample_styles(job.target, job.samples, job.seed))
        if job.samples != 1:
            raise ValueError("a style image gives one picture: leave out either the style image or samples")
        return [self.translator.encode(imaging.to_tensor([job.style]), job.target).style[0]]

    def _check(self, *domains: str) -> None:
        for domain in domains:
            if domain not in self.translator.domains:
                raise ValueError(f"unknown domain {domain!r}: this model knows {', '.join(self.translator.domains)}")


def _failure(error: Exception) -> Failure:
    if isinstance(error, ValueError):
        return Failure(str(error))
    _log.error("a model call failed", exc_info=error)
    return Failure(f"the model failed ({type(error).__name__}): try a smaller image", internal=True)
