"""The routes, over any backend: no Ray here."""

import asyncio
import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Protocol

from fastapi import Depends, FastAPI, Form, Request, Response, UploadFile

from serving import problems
from serving.answers import answer, negotiate
from serving.engine import ExtendJob, Failure, Outcome, TranslateJob
from serving.problems import Problem
from serving.schema import (
    ExtendOptions,
    ImageList,
    Limits,
    ModelInfo,
    ModelList,
    OutputFormat,
    ProblemDetails,
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

    async def extend(self, model: str, job: ExtendJob) -> Outcome:
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

    @api.post("/v1/extend", summary="Continue an image to the left and right", **_ROUTE)
    async def extend(request: Request, form: Annotated[ExtendForm, _MULTIPART]) -> Response:
        wanted = form.format or negotiate(request.headers.get("accept", ""))
        model = _model(backend, form.model)
        if "extend" not in model.can:
            raise Problem(409, f"model {model.name!r} has no prior and cannot extend: see /v1/models for one that can")
        domain = form.domain or _other(model, form.to, "domain")
        target = form.to or domain
        _check_domains(model, domain=domain, to=target)
        image = await _pixels(form.image, "image", limits)
        _check_extension(form.left + form.right, image.shape[0], limits)
        job = ExtendJob(
            image=image, domain=domain, target=target, left=form.left, right=form.right, seed=_seed(form.seed)
        )
        return await _answered(await backend.extend(model.name, job), model, job.seed, wanted)

    return api


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


def _check_extension(columns: int, height: int, limits: Limits) -> None:
    if columns > limits.max_extension:
        raise Problem(422, f"left + right is {columns} pixels: ask for at most {limits.max_extension}")
    if columns * height > limits.max_new_pixels:
        most = limits.max_new_pixels // height
        raise Problem(
            422, f"at a height of {height} pixels at most {most} can be added: add fewer, or scale the image down"
        )


async def _pixels(upload: UploadFile, field: str, limits: Limits) -> Any:
    return await asyncio.to_thread(decode_upload, await upload.read(), field, limits)


def _seed(seed: int | None) -> int:
    return secrets.randbelow(2**31) if seed is None else seed


async def _answered(outcome: Outcome, model: ModelInfo, seed: int, wanted: OutputFormat) -> Response:
    if isinstance(outcome, Failure):
        raise Problem(500 if outcome.internal else 422, outcome.reason)
    return await asyncio.to_thread(answer, outcome, model=model.name, seed=seed, wanted=wanted)
