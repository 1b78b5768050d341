"""The routes over a backend in the same process, and requests to them."""

import asyncio
import json
from pathlib import Path

import httpx
import numpy as np

import imaging
from serving.engine import ComposeJob, Engine, JobResult, TranslateJob
from serving.http.api import make_api
from serving.http.schema import Limits, ModelInfo, describe
from vqi2i import Translator

PICTURE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
PNG = imaging.encode(PICTURE)
PASTE = '{"paste": {}}'


def repeated(count: int) -> str:
    """A transition that meets one style again and again, as JSON."""
    return json.dumps({"transition": {"to": "winter", "styles": ["s"] * count}})


class LocalBackend:
    """Runs every job at once, without batches."""

    def __init__(self, **bundles: Path):
        self.models: dict[str, ModelInfo] = {
            name: describe(name, path) for name, path in bundles.items()
        }
        self._engines = {name: Engine(Translator.load(path)) for name, path in bundles.items()}
        self.trouble: Exception | None = None
        self.jobs: list[TranslateJob | ComposeJob] = []

    async def translate(self, model: str, job: TranslateJob) -> JobResult:
        if self.trouble:
            raise self.trouble
        self.jobs.append(job)
        return self._engines[model].translate([job])[0]

    async def compose(self, model: str, job: ComposeJob) -> JobResult:
        self.jobs.append(job)
        return self._engines[model].compose([job])[0]

    async def ready(self) -> bool:
        return self.trouble is None


def send(
    backend, method: str, url: str, *, limits: Limits | None = None, **request
) -> httpx.Response:
    """One request to the API over `backend`."""

    async def sent() -> httpx.Response:
        transport = httpx.ASGITransport(make_api(backend, limits), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, url, **request)

    return asyncio.run(sent())


def post(
    backend,
    route: str,
    *,
    image: bytes = PNG,
    style: bytes | None = None,
    accept: str = "*/*",
    limits=None,
    **fields,
):
    files = {"image": image} | ({"style": style} if style is not None else {})
    return send(
        backend,
        "POST",
        f"/v1/{route}",
        files=files,
        data=fields,
        headers={"Accept": accept},
        limits=limits,
    )


def detail(response: httpx.Response, status: int) -> str:
    """The sentence of a problem document, after checking that it is one."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert problem["title"]
    return problem["detail"]
