"""The routes, over any backend: no Ray here."""

import asyncio
import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Protocol

from fastapi import Depends, FastAPI, Form, Request, Response, UploadFile

from serving import problems
from serving.answers import answer, negotiate
from serving.engine import ComposeJob, Failure, Outcome, TranslateJob
from serving.problems import Problem
from serving.requests import chain_of, check_work, needs_prior, one_or_the_other, read_steps, settings, shown_and_pasted
from serving.schema import (
    CompleteOptions,
    ComposeOptions,
    ExtendOptions,
    GenerateOptions,
    ImageList,
    Limits,
    ModelInfo,
    ModelList,
    OutputFormat,
    ProblemDetails,
    TransitionOptions,
    TranslateOptions,
)
from serving.uploads import BodyLimit, decode_upload


class Backend(Protocol):
    """What runs the jobs of the routes."""

    @property
    def models(self) -> Mapping[str, ModelInfo]:
        """The served models by name."""
        ...

    async def translate(self, model: str, job: TranslateJob) -> Outcome:
        """Run one job; raises `Problem` (503) if it cannot be taken now."""
        ...

    async def compose(self, model: str, job: ComposeJob) -> Outcome:
        """Run one job; raises `Problem` (503) if it cannot be taken now."""
        ...

    async def ready(self) -> bool:
        """Whether every model can take jobs."""
        ...


class TranslateForm(TranslateOptions):
    """Form of `POST /v1/translate`."""

    image: UploadFile
    style: UploadFile | None = None


class ExtendForm(ExtendOptions):
    """Form of `POST /v1/extend`."""

    image: UploadFile


class CompleteForm(CompleteOptions):
    """Form of `POST /v1/complete`."""

    image: UploadFile
    mask: UploadFile | None = None


class TransitionForm(TransitionOptions):
    """Form of `POST /v1/transition`."""

    image: UploadFile
    style: list[UploadFile]


class ComposeForm(ComposeOptions):
    """Form of `POST /v1/compose`."""

    image: UploadFile | None = None
    pictures: tuple[UploadFile, ...] = ()


def _no_query(request: Request) -> None:
    if request.query_params:
        name = next(iter(request.query_params))
        raise Problem(422, f"unknown query parameter {name!r}: options are fields of the form")


_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "One picture as a file, several as JSON.",
        "content": {"image/png": {}, "image/jpeg": {}, "image/webp": {}, "application/json": {
            "schema": ImageList.model_json_schema()}},
    },
    "default": {
        "description": "Problem details: `detail` says what to do.",
        "content": {problems.MEDIA_TYPE: {"schema": ProblemDetails.model_json_schema()}},
    },
}  # fmt: skip
_ROUTE: dict[str, Any] = {"response_class": Response, "responses": _PICTURE, "dependencies": [Depends(_no_query)]}
_MULTIPART = Form(media_type="multipart/form-data")


def make_api(backend: Backend, limits: Limits | None = None) -> FastAPI:
    """All routes over `backend`."""
    limits = limits or Limits()
    api = FastAPI(title="VQ-I2I", summary="Translate images between domains, and extend them.", version="1")
    api.add_middleware(BodyLimit, max_bytes=limits.max_upload_bytes)
    problems.install(api)
    _add_status(api, backend)
    _add_imagining(api, backend, limits)
    _add_blending(api, backend, limits)

    @api.post("/v1/translate", summary="Show an image in another domain", **_ROUTE)
    async def translate(request: Request, form: Annotated[TranslateForm, _MULTIPART]) -> Response:
        wanted = form.format or negotiate(request.headers.get("accept", ""))
        model = _model(backend, form.model)
        source = form.source or _other(model, form.to, "source")
        _check_domains(model, source=source, to=form.to)
        if form.style is not None and form.samples > 1:
            raise Problem(422, "a style image gives one picture: leave out either 'style' or 'samples'")
        job = TranslateJob(
            image=await _pixels(form.image, "image", limits),
            source=source,
            target=form.to,
            style=await _pixels(form.style, "style", limits) if form.style is not None else None,
            samples=form.samples,
            seed=_seed(form.seed),
        )
        return await _answered(await backend.translate(model.name, job), model, job.seed, wanted)

    return api


def _add_imagining(api: FastAPI, backend: Backend, limits: Limits) -> None:
    @api.post("/v1/extend", summary="Continue an image past its borders", **_ROUTE)
    async def extend(request: Request, form: Annotated[ExtendForm, _MULTIPART]) -> Response:
        model = _model(backend, form.model)
        domain, target = _domains(model, form.domain, form.to)
        sides = {side: getattr(form, side) for side in ("left", "right", "top", "bottom")}
        steps = [{"extend": {**sides, "draw": settings(form.draw)}}, *shown_and_pasted(domain, target, form.paste)]
        return await _composed(request, backend, model, form, limits, domain, steps, form.image)

    @api.post("/v1/complete", summary="Imagine what a mask takes away", **_ROUTE)
    async def complete(request: Request, form: Annotated[CompleteForm, _MULTIPART]) -> Response:
        model = _model(backend, form.model)
        domain, target = _domains(model, form.domain, form.to)
        one_or_the_other(form.keep, form.mask)
        pictures = {"mask": form.mask} if form.mask is not None else {}
        what = {"keep": form.keep, "mask": "mask" if form.mask is not None else None, "draw": settings(form.draw)}
        steps = [{"complete": what}, *shown_and_pasted(domain, target, form.paste)]
        return await _composed(request, backend, model, form, limits, domain, steps, form.image, pictures)

    @api.post("/v1/generate", summary="Make pictures from nothing", **_ROUTE)
    async def generate(request: Request, form: Annotated[GenerateOptions, _MULTIPART]) -> Response:
        model = _model(backend, form.model)
        _check_domains(model, domain=form.domain)
        what = {"domain": form.domain, "width": form.width, "height": form.height, "draw": settings(form.draw)}
        return await _composed(
            request, backend, model, form, limits, None, [{"generate": what}], None, count=form.count
        )


def _add_blending(api: FastAPI, backend: Backend, limits: Limits) -> None:
    @api.post("/v1/transition", summary="Show an image under styles that change across it", **_ROUTE)
    async def transition(request: Request, form: Annotated[TransitionForm, _MULTIPART]) -> Response:
        model = _model(backend, form.model)
        domain, target = _domains(model, form.domain, form.to)
        pictures = {f"style {number}": file for number, file in enumerate(form.style, start=1)}
        steps = [{"transition": {"to": target, "styles": list(pictures), "direction": form.direction}}]
        return await _composed(request, backend, model, form, limits, domain, steps, form.image, pictures)

    @api.post("/v1/compose", summary="Any chain of steps with one decode at the end", **_ROUTE)
    async def compose(request: Request, form: Annotated[ComposeForm, _MULTIPART]) -> Response:
        model = _model(backend, form.model)
        if form.domain is not None:
            _check_domains(model, domain=form.domain)
        pictures = {file.filename or "": file for file in form.pictures}
        steps = read_steps(form.steps)
        return await _composed(request, backend, model, form, limits, form.domain, steps, form.image, pictures)


async def _composed(
    request: Request, backend: Backend, model: ModelInfo, form: ComposeOptions | ExtendOptions | CompleteOptions
    | GenerateOptions | TransitionOptions, limits: Limits, domain: str | None, steps: list[Any],
    image: UploadFile | None, pictures: Mapping[str, UploadFile] | None = None, count: int = 1,
) -> Response:  # fmt: skip
    """The answer to a request that is a chain."""
    wanted = form.format or negotiate(request.headers.get("accept", ""))
    chain = chain_of(domain, steps)
    if needs_prior(chain) and "extend" not in model.can:
        raise Problem(409, f"model {model.name!r} has no prior and cannot imagine: see /v1/models for one that can")
    job = ComposeJob(
        chain=chain, image=await _pixels(image, "image", limits) if image is not None else None,
        pictures={name: await _pixels(file, name, limits) for name, file in (pictures or {}).items()},
        count=count, seed=_seed(form.seed),
    )  # fmt: skip
    check_work(job, model, limits)
    return await _answered(await backend.compose(model.name, job), model, job.seed, wanted)


def _domains(model: ModelInfo, domain: str | None, to: str | None) -> tuple[str, str]:
    """An image's domain and the one to show the result in."""
    domain = domain or _other(model, to, "domain")
    _check_domains(model, domain=domain, to=to or domain)
    return domain, to or domain


def _add_status(api: FastAPI, backend: Backend) -> None:
    @api.get("/v1/models", summary="Served models and what they can do")
    async def models() -> ModelList:
        return ModelList(models=tuple(backend.models.values()))

    @api.get("/healthz", summary="Whether this process answers")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @api.get("/readyz", summary="Whether every model can take requests", responses={503: _PICTURE["default"]})
    async def readyz() -> dict[str, str]:
        if not await backend.ready():
            raise Problem(503, "a model is still loading or restarting: try again in a moment", {"Retry-After": "1"})
        return {"status": "ready"}


def _model(backend: Backend, name: str | None) -> ModelInfo:
    served = backend.models
    if name is None:
        if len(served) > 1:
            raise Problem(422, f"the field 'model' is missing: choose one of {', '.join(served)}")
        return next(iter(served.values()))
    if name not in served:
        raise Problem(404, f"unknown model {name!r}: choose one of {', '.join(served)}")
    return served[name]


def _other(model: ModelInfo, domain: str | None, field: str) -> str:
    """The domain that is not `domain`, where there are only two."""
    if domain is None or len(model.domains) != 2:
        raise Problem(422, f"the field {field!r} is missing: say which of {', '.join(model.domains)} the image shows")
    _check_domains(model, to=domain)
    first, second = model.domains
    return second if domain == first else first


def _check_domains(model: ModelInfo, **fields: str) -> None:
    for field, domain in fields.items():
        if domain not in model.domains:
            known = ", ".join(model.domains)
            raise Problem(422, f"field {field!r}: model {model.name!r} has no domain {domain!r}; choose one of {known}")


async def _pixels(upload: UploadFile, field: str, limits: Limits) -> Any:
    return await asyncio.to_thread(decode_upload, await upload.read(), field, limits)


def _seed(seed: int | None) -> int:
    return secrets.randbelow(2**31) if seed is None else seed


async def _answered(outcome: Outcome, model: ModelInfo, seed: int, wanted: OutputFormat) -> Response:
    if isinstance(outcome, Failure):
        raise Problem(500 if outcome.internal else 422, outcome.reason)
    return await asyncio.to_thread(answer, outcome, model=model.name, seed=seed, wanted=wanted)
