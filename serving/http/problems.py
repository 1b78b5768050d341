"""Errors as `application/problem+json` (RFC 9457), each with one sentence that says what to do."""

import logging
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from errors import UserError
from serving.http.schema import ProblemDetails

MEDIA_TYPE = "application/problem+json"
_LONGEST = 1000  # characters of a detail
_log = logging.getLogger(__name__)


class Problem(HTTPException):
    """A request that cannot be served: status and one sentence for whoever sent it."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None):
        super().__init__(status, detail, headers)


def install(api: FastAPI) -> None:
    """Let every error of `api` be answered with problem details."""

    @api.exception_handler(HTTPException)
    async def known(request: Request, error: HTTPException) -> Response:
        detail = error.detail
        if not isinstance(error, Problem) and error.status_code in _OF_THE_FRAMEWORK:
            detail = _OF_THE_FRAMEWORK[error.status_code].format(
                reason=detail.rstrip("."), method=request.method, path=request.url.path
            )
        return _response(error.status_code, detail, error.headers)

    @api.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return _response(422, _sentence(error))

    @api.exception_handler(UserError)
    async def refused(_: Request, error: UserError) -> Response:
        return _response(422, str(error))

    @api.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> Response:
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return _response(500, "the server failed; its log says why: try again or report it")


def _response(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    title = _TITLES.get(status) or HTTPStatus(status).phrase
    # A client's own text may be in it: half of a pair of surrogates cannot be sent, and nobody
    # reads a megabyte.
    detail = detail.encode(errors="replace").decode()
    detail = detail if len(detail) <= _LONGEST else f"{detail[:_LONGEST]}..."
    body = ProblemDetails(title=title, status=status, detail=detail)
    return Response(
        body.model_dump_json(), status, headers=dict(headers or {}), media_type=MEDIA_TYPE
    )


def _sentence(error: RequestValidationError) -> str:
    """The first of the faults found, as a sentence."""
    fault = error.errors()[0]
    field = ".".join(str(part) for part in fault["loc"][1:])
    if fault["type"] == "extra_forbidden":
        return f"unknown field {field!r}: remove it; /docs lists what this route takes"
    if fault["type"] == "missing":
        return f"the field {field!r} is missing: add it to the form"
    if "Expected UploadFile" in fault["msg"]:
        return (
            f"field {str(fault['loc'][1])!r} must be a file: send an image as a file of the form, "
            "not as text"
        )
    message = fault["msg"].removeprefix("Value error, ")
    return f"field {field!r}: {message[0].lower()}{message[1:]}" if field else message


# What the framework refuses by itself, it tells in a word.
_OF_THE_FRAMEWORK = {
    400: "the form cannot be read ({reason}): send it as multipart/form-data",
    404: "there is nothing at {path}: /docs lists the routes",
    405: "{path} does not answer to {method}: /docs lists the routes",
}

# Python renamed these two between 3.11 and 3.13; the answer should not depend on it.
_TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}
