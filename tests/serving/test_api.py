"""The routes over a backend in the same process: what clients send, what they get, what they are told."""

import asyncio
import base64
import io
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

import imaging
from serving.api import make_api
from serving.engine import Engine, ExtendJob, Outcome, TranslateJob
from serving.problems import Problem
from serving.schema import Limits, ModelInfo, describe
from vqi2i import Translator

PICTURE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
PNG = imaging.encode(PICTURE)


class LocalBackend:
    """Runs every job at once, without batches."""

    def __init__(self, **bundles: Path):
        self.models: dict[str, ModelInfo] = {name: describe(name, path) for name, path in bundles.items()}
        self._engines = {name: Engine(Translator.load(path)) for name, path in bundles.items()}
        self.trouble: Exception | None = None
        self.jobs: list[TranslateJob | ExtendJob] = []

    async def translate(self, model: str, job: TranslateJob) -> Outcome:
        if self.trouble:
            raise self.trouble
        self.jobs.append(job)
        return self._engines[model].translate([job])[0]

    async def extend(self, model: str, job: ExtendJob) -> Outcome:
        self.jobs.append(job)
        return self._engines[model].extend([job])[0]

    async def ready(self) -> bool:
        return self.trouble is None


@pytest.fixture
def backend(tiny_bundle: Path) -> LocalBackend:
    return LocalBackend(seasons=tiny_bundle)


def send(backend, method: str, url: str, *, limits: Limits | None = None, **request) -> httpx.Response:
    """One request to the API over `backend`."""

    async def sent() -> httpx.Response:
        transport = httpx.ASGITransport(make_api(backend, limits), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, url, **request)

    return asyncio.run(sent())


def post(
    backend, route: str, *, image: bytes = PNG, style: bytes | None = None, accept: str = "*/*", limits=None, **fields
):
    files = {"image": image} | ({"style": style} if style is not None else {})
    return send(backend, "POST", f"/v1/{route}", files=files, data=fields, headers={"Accept": accept}, limits=limits)


def detail(response: httpx.Response, status: int) -> str:
    """The sentence of a problem document, after checking that it is one."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert problem["title"]
    return problem["detail"]


def test_translate_gives_the_pixels_of_the_model(backend, tiny_bundle):
    response = post(backend, "translate", to="winter", source="summer", seed=7)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/png"
    assert response.headers["x-seed"] == "7"
    assert response.headers["x-model"] == "seasons"
    job = TranslateJob(image=PICTURE, source="summer", target="winter", seed=7)
    expected = Engine(Translator.load(tiny_bundle)).translate([job])[0][0]
    assert np.array_equal(imaging.decode(response.content), expected)


def test_the_source_may_be_omitted_between_two_domains(backend):
    for fields in ({"to": "winter"}, {"to": "summer"}, {"to": "winter", "source": "winter"}):
        post(backend, "translate", **fields)
    pairs = [(job.source, job.target) for job in backend.jobs]
    assert pairs == [("summer", "winter"), ("winter", "summer"), ("winter", "winter")]


def test_the_domain_of_an_extension_may_be_omitted_if_it_is_translated(backend):
    post(backend, "extend", to="winter", right=8)
    post(backend, "extend", domain="winter", right=8)
    assert [(job.domain, job.target) for job in backend.jobs] == [("summer", "winter"), ("winter", "winter")]


def test_a_seed_that_was_drawn_is_returned_and_repeats_the_picture(backend):
    first = post(backend, "translate", to="winter")
    again = post(backend, "translate", to="winter", seed=first.headers["x-seed"])
    assert again.content == first.content
    assert post(backend, "translate", to="winter").headers["x-seed"] != first.headers["x-seed"]


def test_a_style_image_decides_the_style(backend):
    style = imaging.encode(np.full((20, 20, 3), 200, np.uint8))
    first, second = (post(backend, "translate", to="winter", style=style, seed=seed) for seed in (1, 2))
    assert first.status_code == 200
    assert first.content == second.content
    assert first.content != post(backend, "translate", to="winter", seed=1).content


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "image/png"),
        ("", "image/png"),
        ("image/jpeg", "image/jpeg"),
        ("image/png;q=0.5, image/webp", "image/webp"),
        ("text/html, image/webp;q=0.8, */*;q=0.1", "image/webp"),
        ("application/json", "application/json"),
    ],
)
def test_the_accept_header_chooses_the_form(backend, accept, media_type):
    response = post(backend, "translate", to="winter", accept=accept)
    assert response.headers["content-type"] == media_type
    if media_type.startswith("image/"):
        assert Image.open(io.BytesIO(response.content)).get_format_mimetype() == media_type


def test_the_format_field_overrides_the_accept_header(backend):
    assert post(backend, "translate", to="winter", format="webp").headers["content-type"] == "image/webp"


def test_several_samples_come_as_json(backend):
    response = post(backend, "translate", to="winter", samples=3, seed=5)
    body = response.json()
    assert [image["seed"] for image in body["images"]] == [5, 6, 7]
    assert body["model"] == "seasons"
    single = post(backend, "translate", to="winter", seed=6)
    pixels = imaging.decode(base64.b64decode(body["images"][1]["data"]))
    assert np.array_equal(pixels, imaging.decode(single.content))
    assert (body["images"][1]["width"], body["images"][1]["height"]) == (32, 24)


def test_extend_adds_pixels_on_both_sides(backend):
    response = post(backend, "extend", domain="summer", left=8, right=4, seed=1)
    assert response.status_code == 200, response.text
    assert imaging.decode(response.content).shape == (24, 8 + 32 + 4, 3)
    shown = post(backend, "extend", to="winter", left=8, right=4, seed=1)
    assert shown.status_code == 200
    assert shown.content != response.content


def test_models_are_listed_with_what_they_can(tiny_bundle, tiny_bundle_without_prior):
    backend = LocalBackend(seasons=tiny_bundle, plain=tiny_bundle_without_prior)
    seasons, plain = send(backend, "GET", "/v1/models").json()["models"]
    assert seasons["domains"] == ["summer", "winter"]
    assert seasons["can"] == ["translate", "extend"]
    assert (seasons["resolution"], seasons["stride"]) == (32, 4)
    assert seasons["provenance"] == {"recipe": "untrained"}
    assert plain["can"] == ["translate"]
    assert plain["fingerprint"] != seasons["fingerprint"]


def test_one_of_several_models_must_be_named(tiny_bundle, tiny_bundle_without_prior):
    backend = LocalBackend(seasons=tiny_bundle, plain=tiny_bundle_without_prior)
    assert post(backend, "translate", to="winter", model="plain").headers["x-model"] == "plain"
    assert detail(post(backend, "translate", to="winter"), 422).endswith("choose one of seasons, plain")
    assert "unknown model 'other'" in detail(post(backend, "translate", to="winter", model="other"), 404)
    assert "no prior" in detail(post(backend, "extend", domain="summer", right=8, model="plain"), 409)


@pytest.mark.parametrize(
    ("route", "fields", "sentence"),
    [
        ("translate", {}, "the field 'to' is missing: add it to the form"),
        ("translate", {"to": "autumn"}, "model 'seasons' has no domain 'autumn'; choose one of summer, winter"),
        ("translate", {"to": "winter", "source": "autumn"}, "field 'source': model 'seasons' has no domain 'autumn'"),
        ("translate", {"to": "winter", "smaples": 2}, "unknown field 'smaples': remove it"),
        ("translate", {"to": "winter", "samples": 17}, "field 'samples': input should be less than or equal to 16"),
        ("translate", {"to": "winter", "seed": -1}, "field 'seed': input should be greater than or equal to 0"),
        ("translate", {"to": "winter", "samples": 2, "style": PNG}, "leave out either 'style' or 'samples'"),
        ("extend", {"domain": "summer"}, "say how many pixels to add: left or right must be above 0"),
        ("extend", {"right": 8}, "the field 'domain' is missing: say which of summer, winter the image shows"),
        ("extend", {"domain": "summer", "right": 2000}, "left + right is 2000 pixels: ask for at most 1024"),
        ("extend", {"to": "autumn", "right": 8}, "has no domain 'autumn'"),
    ],
)
def test_wrong_fields_are_named_with_what_to_do(backend, route, fields, sentence):
    assert sentence in detail(post(backend, route, **fields), 422)


def test_options_in_the_query_are_refused_rather_than_ignored(backend):
    response = send(backend, "POST", "/v1/translate?seed=3", files={"image": PNG}, data={"to": "winter"})
    assert "unknown query parameter 'seed'" in detail(response, 422)


def test_what_is_no_image_is_refused(backend):
    assert "send a PNG, JPEG or WebP file" in detail(post(backend, "translate", image=b"text", to="winter"), 415)
    assert "field 'style'" in detail(post(backend, "translate", style=PNG[:60], to="winter"), 415)
    response = send(backend, "POST", "/v1/translate", data={"to": "winter", "image": "a.png"}, files={"style": PNG})
    assert "field 'image'" in detail(response, 422)


def test_an_image_with_too_many_pixels_is_refused_by_its_header(backend, monkeypatch):
    monkeypatch.setattr(imaging, "decode", lambda _: pytest.fail("decoded"))
    wide = imaging.encode(np.zeros((8, 4000, 3), np.uint8))
    assert "4000x8; scale it to at most 2048" in detail(post(backend, "translate", image=wide, to="winter"), 413)
    square = imaging.encode(np.zeros((2040, 2040, 3), np.uint8))
    assert "4 megapixels" in detail(post(backend, "translate", image=square, to="winter"), 413)


def test_a_body_above_the_limit_is_not_read(backend):
    limits = Limits(max_upload_bytes=1000)
    assert "larger than" in detail(post(backend, "translate", to="winter", limits=limits), 413)

    async def unannounced():
        for part in (b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n', *[b"x" * 400] * 9):
            yield part
        pytest.fail("the whole body was read")

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    response = send(backend, "POST", "/v1/translate", content=unannounced(), headers=headers, limits=limits)
    assert "larger than" in detail(response, 413)


def test_an_area_that_would_take_too_long_to_imagine_is_refused(backend):
    tall = imaging.encode(np.zeros((2000, 40, 3), np.uint8))
    assert "at most 131 can be added" in detail(post(backend, "extend", image=tall, domain="summer", right=140), 422)


def test_an_answer_that_cannot_be_made_is_refused(backend):
    assert "image/webp" in detail(post(backend, "translate", to="winter", accept="image/avif"), 406)


def test_a_busy_model_says_when_to_try_again(backend):
    backend.trouble = Problem(503, "too many requests are waiting: try again in 2 s", {"Retry-After": "2"})
    response = post(backend, "translate", to="winter")
    assert "try again" in detail(response, 503)
    assert response.headers["retry-after"] == "2"


def test_a_failure_of_the_server_is_a_problem_without_its_innards(backend, caplog):
    backend.trouble = RuntimeError("secret path")
    assert "secret" not in detail(post(backend, "translate", to="winter"), 500)
    assert "secret path" in caplog.text


def test_health_and_readiness(backend):
    assert send(backend, "GET", "/healthz").json() == {"status": "ok"}
    assert send(backend, "GET", "/readyz").json() == {"status": "ready"}
    backend.trouble = RuntimeError()
    assert send(backend, "GET", "/healthz").status_code == 200
    assert "loading" in detail(send(backend, "GET", "/readyz"), 503)


def test_the_documentation_describes_the_forms(backend):
    assert "swagger" in send(backend, "GET", "/docs").text
    schema = send(backend, "GET", "/openapi.json").json()
    assert {"/v1/translate", "/v1/extend", "/v1/models", "/healthz", "/readyz"} <= set(schema["paths"])
    assert set(schema["paths"]["/v1/translate"]["post"]["requestBody"]["content"]) == {"multipart/form-data"}


def test_unknown_routes_are_problems_too(backend):
    detail(send(backend, "GET", "/v2/translate"), 404)
    detail(send(backend, "GET", "/v1/translate"), 405)
