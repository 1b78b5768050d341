"""The routes, over any backend: no Ray here."""

from typing import Annotated, Any

from fastapi import Depends, FastAPI, Form, Request, Response, UploadFile
from pydantic import BaseModel

from serving.http import document, problems
from serving.http.forms import MULTIPART, form_checked, given, named, needed
from serving.http.middleware import BodyLimit, Head
from serving.http.problems import Problem
from serving.http.requests import one_or_the_other, read_steps, settings, shown_and_pasted
from serving.http.schema import (
    CompleteOptions,
    ComposeOptions,
    ExtendOptions,
    GenerateOptions,
    Limits,
    ModelList,
    TransitionOptions,
    TranslateOptions,
)
from serving.service import Backend, Service, check_domains, domains_of


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


_MULTIPART = Form(media_type=MULTIPART)


def make_api(backend: Backend, limits: Limits | None = None) -> FastAPI:
    """All routes over `backend`."""
    limits = limits or Limits()
    api = FastAPI(
        title="VQ-I2I", summary="Translate images between domains, and extend them.", version="1"
    )
    api.add_middleware(BodyLimit, max_bytes=limits.max_upload_bytes)
    api.add_middleware(Head)
    problems.install(api)
    document.install(api)
    service = Service(backend, limits)
    _add_status(api, backend)
    _add_imagining(api, service)
    _add_blending(api, service)

    @api.post("/v1/translate", summary="Show an image in another domain", **_route(TranslateForm))
    async def translate(request: Request, form: Annotated[TranslateForm, _MULTIPART]) -> Response:
        return await service.translated(
            request, form, needed(form.image, "image"), given(form.style)
        )

    return api


def _route(form: type[BaseModel]) -> dict[str, Any]:
    """What all routes that answer with pictures have in common."""
    return {
        "response_class": Response,
        "responses": document.PICTURE,
        "dependencies": [Depends(form_checked(form))],
    }


def _add_imagining(api: FastAPI, service: Service) -> None:
    @api.post("/v1/extend", summary="Continue an image past its borders", **_route(ExtendForm))
    async def extend(request: Request, form: Annotated[ExtendForm, _MULTIPART]) -> Response:
        domain, target = domains_of(service.model(form.model), form.domain, form.to)
        sides = {side: getattr(form, side) for side in ("left", "right", "top", "bottom")}
        steps = [
            {"extend": {**sides, "draw": settings(form.draw)}},
            *shown_and_pasted(domain, target, form.paste),
        ]
        return await service.composed(
            request, form, domain, steps, image=needed(form.image, "image")
        )

    @api.post("/v1/complete", summary="Imagine what a mask takes away", **_route(CompleteForm))
    async def complete(request: Request, form: Annotated[CompleteForm, _MULTIPART]) -> Response:
        domain, target = domains_of(service.model(form.model), form.domain, form.to)
        mask = given(form.mask)
        one_or_the_other(form.keep, mask)
        pictures = [("mask", mask)] if mask is not None else []
        what = {
            "keep": form.keep,
            "mask": "mask" if mask is not None else None,
            "draw": settings(form.draw),
        }
        steps = [{"complete": what}, *shown_and_pasted(domain, target, form.paste)]
        image = needed(form.image, "image")
        return await service.composed(request, form, domain, steps, image=image, pictures=pictures)

    @api.post("/v1/generate", summary="Make pictures from nothing", **_route(GenerateOptions))
    async def generate(request: Request, form: Annotated[GenerateOptions, _MULTIPART]) -> Response:
        check_domains(service.model(form.model), domain=form.domain)
        what = {
            "domain": form.domain,
            "width": form.width,
            "height": form.height,
            "draw": settings(form.draw),
        }
        return await service.composed(request, form, None, [{"generate": what}], count=form.count)


def _add_blending(api: FastAPI, service: Service) -> None:
    @api.post(
        "/v1/transition",
        summary="Show an image under styles that change across it",
        **_route(TransitionForm),
    )
    async def transition(request: Request, form: Annotated[TransitionForm, _MULTIPART]) -> Response:
        domain, target = domains_of(service.model(form.model), form.domain, form.to)
        pictures = [
            (f"style {number}", needed(file, "style"))
            for number, file in enumerate(form.style, start=1)
        ]
        styles = [name for name, _ in pictures]
        steps = [{"transition": {"to": target, "styles": styles, "direction": form.direction}}]
        image = needed(form.image, "image")
        return await service.composed(request, form, domain, steps, image=image, pictures=pictures)

    @api.post(
        "/v1/compose",
        summary="Any chain of steps with one decode at the end",
        **_route(ComposeForm),
    )
    async def compose(request: Request, form: Annotated[ComposeForm, _MULTIPART]) -> Response:
        if form.domain is not None:
            check_domains(service.model(form.model), domain=form.domain)
        pictures = named([file for file in form.pictures if given(file) is not None])
        steps = read_steps(form.steps, service.limits)
        return await service.composed(
            request, form, form.domain, steps, image=given(form.image), pictures=pictures
        )


def _add_status(api: FastAPI, backend: Backend) -> None:
    @api.get("/v1/models", summary="Served models and what they can do")
    async def models() -> ModelList:
        return ModelList(models=tuple(backend.models.values()))

    @api.get("/healthz", summary="Whether this process answers")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @api.get(
        "/readyz",
        summary="Whether every model can take requests",
        responses={503: document.PICTURE["default"]},
    )
    async def readyz() -> dict[str, str]:
        if not await backend.ready():
            raise Problem(
                503,
                "a model is still loading or restarting: try again in a moment",
                {"Retry-After": "1"},
            )
        return {"status": "ready"}
