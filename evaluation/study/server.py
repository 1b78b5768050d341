"""The server of a study: it gives the page and takes answers, and knows no other route."""

import logging
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from errors import UserError
from evaluation.study.answers import Answer, AnswerError, AnswerLog, read_answer
from evaluation.study.page import PAGE
from evaluation.study.trials import Study, read_study

LONGEST = 4096  # bytes of an answer
_log = logging.getLogger(__name__)
_HEADERS = {
    "Cache-Control": "no-cache",
    # pictures are in the page: nothing may be fetched from elsewhere
    "Content-Security-Policy": (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def make_app(study: Study, page: str, log: AnswerLog) -> Starlette:
    """The routes: `GET /` is the page, `POST /answers` takes an answer.

    A new answer gets 201, one that was there already 200, anything else a status of 4xx and a
    sentence.
    """

    async def show(_: Request) -> Response:
        return HTMLResponse(page, headers=_HEADERS)

    async def take(request: Request) -> Response:
        answer = read_answer(await _body(request), study)
        return await run_in_threadpool(_keep, log, answer)

    return Starlette(
        routes=[Route("/", show), Route("/answers", take, methods=["POST"])],
        exception_handlers={HTTPException: _problem, AnswerError: _refused},
    )


def serve(folder: Path, *, host: str, port: int, tell: Callable[[str], None]) -> None:
    """Serve the study in `folder` until the process is interrupted.

    Args:
        folder: of the study; answers are appended there.
        host: address to listen on.
        port: to listen on.
        tell: told the address once the server listens.

    Raises:
        UserError: there is no study, or nobody can listen there.
    """
    study = read_study(folder)
    page = (folder / PAGE).read_text(encoding="utf-8")
    with AnswerLog(folder, study) as log, _listen(host, port) as listening:
        tell(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        config = uvicorn.Config(
            make_app(study, page, log), log_level="warning", lifespan="off", server_header=False
        )
        uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UserError(
            f"nobody can listen at {host}, port {port} ({error.strerror or error}): give another "
            "--host or --port"
        ) from error


async def _body(request: Request) -> bytes:
    # a form of another site cannot send this type without asking first
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "send an answer as application/json")
    body = b""
    try:
        async for part in request.stream():
            body += part
            if len(body) > LONGEST:
                raise HTTPException(413, f"an answer has at most {LONGEST} bytes")
    except ClientDisconnect as error:
        raise HTTPException(400, "the answer was cut short") from error
    return body


def _keep(log: AnswerLog, answer: Answer) -> Response:
    try:
        is_new = log.add(answer)
    except OSError as error:
        _log.error("an answer could not be written", exc_info=error)
        raise HTTPException(507, "the answer could not be written: try again later") from error
    return PlainTextResponse("kept" if is_new else "known", 201 if is_new else 200)


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentences = {
        404: f"there is nothing at {request.url.path}: the study is at /",
        405: f"{request.url.path} does not answer to {request.method}",
    }
    sentence = sentences.get(error.status_code, error.detail)
    headers = {"Connection": "close"} if error.status_code == 413 else {}
    return PlainTextResponse(sentence, error.status_code, headers=headers)


async def _refused(_: Request, error: Exception) -> Response:
    return PlainTextResponse(str(error), 422)
