"""From a checked form to an answer, over any backend: what it takes is known before anything is
decoded.
"""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from fastapi import Request, Response, UploadFile

from serving.engine import ComposeJob, Failure, JobResult, TranslateJob
from serving.http.answers import answer, negotiate
from serving.http.problems import Problem
from serving.http.requests import (
    chain_of,
    check_names,
    needs_prior,
    work_of_chain,
    work_of_translation,
)
from serving.http.schema import Limits, ModelInfo, Options, OutputFormat, TranslateOptions
from serving.http.uploads import decoded, received
from serving.lanes import Lanes


class Backend(Protocol):
    """What runs the jobs of the routes."""

    @property
    def models(self) -> Mapping[str, ModelInfo]:
        """The served models by name."""
        ...

    async def translate(self, model: str, job: TranslateJob) -> JobResult:
        """Run one job; raises `Problem` (503) if it cannot be taken now."""
        ...

    async def compose(self, model: str, job: ComposeJob) -> JobResult:
        """Run one job; raises `Problem` (503) if it cannot be taken now."""
        ...

    async def ready(self) -> bool:
        """Whether every model can take jobs."""
        ...


class Service:
    """What the routes have in common."""

    def __init__(self, backend: Backend, limits: Limits):
        self.backend = backend
        self.limits = limits
        self._lanes = Lanes(limits)

    def model(self, name: str | None) -> ModelInfo:
        """The served model that is asked for.

        Raises:
            Problem: 404 if there is none of that name, 422 if there are several and none is named.
        """
        served = self.backend.models
        if name is None:
            if len(served) > 1:
                raise Problem(
                    422, f"the field 'model' is missing: choose one of {', '.join(served)}"
                )
            return next(iter(served.values()))
        if name not in served:
            raise Problem(404, f"unknown model {name!r}: choose one of {', '.join(served)}")
        return served[name]

    async def translated(
        self, request: Request, form: TranslateOptions, image: UploadFile, style: UploadFile | None
    ) -> Response:
        """The answer to a request for translations."""
        wanted, model, seed = _wanted(request, form), self.model(form.model), _seed(form.seed)
        source = form.source or other_domain(model, form.to, "source")
        check_domains(model, source=source, to=form.to)
        if style is not None and form.samples > 1:
            raise Problem(
                422, "a style image gives one picture: leave out either 'style' or 'samples'"
            )
        files = [("image", image), *([("style", style)] if style is not None else [])]
        uploads = await received(files, self.limits)
        work = work_of_translation([upload.size for upload in uploads], form.samples, self.limits)
        async with self._lanes.entered(model.name, work) as large:
            pixels = await decoded(uploads, self.limits)
            job = TranslateJob(
                image=pixels[0],
                source=source,
                target=form.to,
                style=pixels[1] if style is not None else None,
                samples=form.samples,
                seed=seed,
                alone=large,
            )
            return await _answered(
                await self.backend.translate(model.name, job), model, seed, wanted
            )

    async def composed(
        self,
        request: Request,
        form: Options,
        domain: str | None,
        steps: list[Any],
        *,
        image: UploadFile | None = None,
        pictures: Sequence[tuple[str, UploadFile]] = (),
        count: int = 1,
    ) -> Response:
        """The answer to a request that is a chain.

        Args:
            request: as it came.
            form: the options that all routes share.
            domain: of the image; None if the chain begins by generating.
            steps: of the chain.
            image: what it begins with.
            pictures: examples and masks, by the names that steps call them.
            count: pictures to make.
        """
        wanted, model, seed = _wanted(request, form), self.model(form.model), _seed(form.seed)
        chain = chain_of(domain, steps)
        if needs_prior(chain) and "extend" not in model.can:
            raise Problem(
                409,
                f"model {model.name!r} has no prior and cannot imagine: see /v1/models for one "
                "that can",
            )
        names = [name for name, _ in pictures]
        check_names(chain, names)
        files = [("image", image)] if image is not None else []
        uploads = await received([*files, *pictures], self.limits)
        sizes = [upload.size for upload in uploads]
        first = sizes[0] if image is not None else None
        work = work_of_chain(chain, first, sizes[len(files) :], count, model, self.limits)
        async with self._lanes.entered(model.name, work) as large:
            pixels = await decoded(uploads, self.limits)
            job = ComposeJob(
                chain=chain,
                image=pixels[0] if image is not None else None,
                pictures=dict(zip(names, pixels[len(files) :], strict=True)),
                count=count,
                seed=seed,
                alone=large,
            )
            return await _answered(await self.backend.compose(model.name, job), model, seed, wanted)


def domains_of(model: ModelInfo, domain: str | None, to: str | None) -> tuple[str, str]:
    """An image's domain and the one to show the result in."""
    domain = domain or other_domain(model, to, "domain")
    check_domains(model, domain=domain, to=to or domain)
    return domain, to or domain


def other_domain(model: ModelInfo, domain: str | None, field: str) -> str:
    """The domain that is not `domain`, where there are only two.

    Raises:
        Problem: 422 if there are more, or `domain` is unknown.
    """
    if domain is None or len(model.domains) != 2:
        raise Problem(
            422,
            f"the field {field!r} is missing: say which of {', '.join(model.domains)} the image "
            "shows",
        )
    check_domains(model, to=domain)
    first, second = model.domains
    return second if domain == first else first


def check_domains(model: ModelInfo, **fields: str) -> None:
    """Raise a Problem (422) that names the field if one of its domains is unknown."""
    for field, domain in fields.items():
        if domain not in model.domains:
            known = ", ".join(model.domains)
            raise Problem(
                422,
                f"field {field!r}: model {model.name!r} has no domain {domain!r}; choose one of "
                f"{known}",
            )


def _wanted(request: Request, form: Options) -> OutputFormat:
    return form.format or negotiate(request.headers.get("accept", ""))


def _seed(seed: int | None) -> int:
    return secrets.randbelow(2**31) if seed is None else seed


async def _answered(
    outcome: JobResult, model: ModelInfo, seed: int, wanted: OutputFormat
) -> Response:
    if isinstance(outcome, Failure):
        raise Problem(500 if outcome.internal else 422, outcome.reason)
    return await asyncio.to_thread(answer, outcome, model=model.name, seed=seed, wanted=wanted)
