"""The routes over a backend in the same process: what clients send, what they get, what they are
told.
"""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import imaging
from errors import UserError
from serving.engine import Engine, TranslateJob
from serving.http.problems import Problem
from serving.http.schema import Limits
from tests.serving.local import PICTURE, PNG, LocalBackend, detail, post, send
from vqi2i import Translator
from vqi2i.editing.chain import read_chain


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
    assert [job.chain.source for job in backend.jobs] == ["summer", "winter"]
    assert [len(job.chain.steps) for job in backend.jobs] == [2, 1]


def test_a_seed_that_was_drawn_is_returned_and_repeats_the_picture(backend):
    first = post(backend, "translate", to="winter")
    again = post(backend, "translate", to="winter", seed=first.headers["x-seed"])
    assert again.content == first.content
    assert post(backend, "translate", to="winter").headers["x-seed"] != first.headers["x-seed"]


def test_a_style_image_decides_the_style(backend):
    style = imaging.encode(np.full((20, 20, 3), 200, np.uint8))
    first, second = (
        post(backend, "translate", to="winter", style=style, seed=seed) for seed in (1, 2)
    )
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
        ("image/jpg", "image/jpeg"),
        ("IMAGE/PJPEG", "image/jpeg"),
        ("*", "image/png"),
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", "image/jpeg"),
        ("image/png;q=0, */*", "image/jpeg"),
        ("image/*;q=0, */*", "application/json"),
        ("image/*, image/webp;q=0.5, application/json;q=0.9", "image/png"),
        ("image/png;q=nan, image/webp", "image/webp"),
    ],
)
def test_the_accept_header_chooses_the_form(backend, accept, media_type):
    response = post(backend, "translate", to="winter", accept=accept)
    assert response.headers["content-type"] == media_type
    if media_type.startswith("image/"):
        assert Image.open(io.BytesIO(response.content)).get_format_mimetype() == media_type


def test_the_format_field_overrides_the_accept_header(backend):
    assert (
        post(backend, "translate", to="winter", format="webp").headers["content-type"]
        == "image/webp"
    )


def test_several_samples_come_as_json(backend):
    response = post(backend, "translate", to="winter", samples=3, seed=5)
    body = response.json()
    assert [image["seed"] for image in body["images"]] == [5, 6, 7]
    assert body["model"] == "seasons"
    single = post(backend, "translate", to="winter", seed=6)
    pixels = imaging.decode(base64.b64decode(body["images"][1]["data"]))
    assert np.array_equal(pixels, imaging.decode(single.content))
    assert (body["images"][1]["width"], body["images"][1]["height"]) == (32, 24)


def composed(
    tiny_bundle: Path,
    *steps: object,
    image: np.ndarray | None = PICTURE,
    seed: int = 1,
    **pictures: np.ndarray,
):
    """What the model in this process makes of a chain, as pixels."""
    chain = read_chain({"from": None if image is None else "summer", "steps": list(steps)})
    named = {name.replace("_", " "): imaging.to_tensor([made]) for name, made in pictures.items()}
    images = imaging.to_tensor([image]) if image is not None else None
    return imaging.to_pixels(
        Translator.load(tiny_bundle).compose(images, chain, pictures=named, seed=seed)
    )[0]


def test_extend_adds_pixels_on_all_sides_and_puts_the_image_back(backend, tiny_bundle):
    sides = {"left": 8, "right": 4, "top": 3, "bottom": 5}
    response = post(
        backend,
        "extend",
        domain="summer",
        **sides,
        seed=1,
        paste=0,
        draw="temperature=0.7, top_k=4",
    )
    assert response.status_code == 200, response.text
    made = imaging.decode(response.content)
    assert np.array_equal(made[3:27, 8:40], PICTURE)
    draw = {"temperature": 0.7, "top_k": 4}
    assert np.array_equal(
        made, composed(tiny_bundle, {"extend": {**sides, "draw": draw}}, {"paste": {"feather": 0}})
    )
    shown = post(backend, "extend", to="winter", left=8, right=4, seed=1)
    assert shown.status_code == 200
    assert imaging.decode(shown.content).shape == (24, 44, 3)


def test_complete_takes_a_named_part_or_a_mask(backend, tiny_bundle):
    mask = np.zeros((24, 32, 3), np.uint8)
    mask[:, :16] = 255
    named = post(backend, "complete", domain="summer", keep="left", seed=1)
    sent = send(
        backend,
        "POST",
        "/v1/complete",
        files={"image": PNG, "mask": imaging.encode(mask)},
        data={"domain": "summer", "seed": 1},
    )
    assert sent.status_code == 200, sent.text
    assert sent.content == named.content
    assert np.array_equal(
        imaging.decode(named.content), composed(tiny_bundle, {"complete": {"keep": "left"}})
    )


def test_generate_makes_pictures_of_consecutive_seeds(backend, tiny_bundle):
    data = {"domain": "winter", "width": 40, "count": 2, "seed": 4}
    body = send(backend, "POST", "/v1/generate", data=data).json()
    pictures = [imaging.decode(base64.b64decode(image["data"])) for image in body["images"]]
    for seed, made in zip((4, 5), pictures, strict=True):
        one = composed(
            tiny_bundle, {"generate": {"domain": "winter", "width": 40}}, image=None, seed=seed
        )
        assert np.array_equal(made, one)


def test_transition_meets_the_styles_sent(backend, tiny_bundle):
    styles = [
        np.random.default_rng(seed).integers(0, 256, (40, 40, 3), np.uint8) for seed in (1, 2)
    ]
    files = [("image", PNG), *(("style", imaging.encode(style)) for style in styles)]
    data = {"domain": "summer", "to": "winter", "direction": "radial"}
    response = send(backend, "POST", "/v1/transition", files=files, data=data)
    assert response.status_code == 200, response.text
    step = {"to": "winter", "styles": ["style 1", "style 2"], "direction": "radial"}
    assert np.array_equal(
        imaging.decode(response.content),
        composed(tiny_bundle, {"transition": step}, style_1=styles[0], style_2=styles[1]),
    )


def test_compose_follows_a_chain_with_the_pictures_it_names(backend, tiny_bundle):
    snow = np.random.default_rng(3).integers(0, 256, (40, 40, 3), np.uint8)
    steps = [{"extend": {"bottom": 8}}, {"translate": {"to": "winter", "style": "snow"}}]
    files = [("image", PNG), ("pictures", ("snow", imaging.encode(snow)))]
    data = {"domain": "summer", "seed": 1, "steps": json.dumps(steps)}
    response = send(backend, "POST", "/v1/compose", files=files, data=data)
    assert response.status_code == 200, response.text
    assert np.array_equal(
        imaging.decode(response.content), composed(tiny_bundle, *steps, snow=snow)
    )
    assert "not sent: snow" in detail(
        post(backend, "compose", domain="summer", steps=json.dumps(steps)), 422
    )


def test_models_are_listed_with_what_they_can(tiny_bundle, tiny_bundle_without_prior):
    backend = LocalBackend(seasons=tiny_bundle, plain=tiny_bundle_without_prior)
    seasons, plain = send(backend, "GET", "/v1/models").json()["models"]
    assert seasons["domains"] == ["summer", "winter"]
    assert seasons["can"] == [
        "translate",
        "transition",
        "compose",
        "extend",
        "complete",
        "generate",
    ]
    assert (seasons["resolution"], seasons["stride"]) == (32, 4)
    assert seasons["provenance"] == {"recipe": "untrained"}
    assert plain["can"] == ["translate", "transition", "compose"]
    assert plain["fingerprint"] != seasons["fingerprint"]


def test_one_of_several_models_must_be_named(tiny_bundle, tiny_bundle_without_prior):
    backend = LocalBackend(seasons=tiny_bundle, plain=tiny_bundle_without_prior)
    assert post(backend, "translate", to="winter", model="plain").headers["x-model"] == "plain"
    assert detail(post(backend, "translate", to="winter"), 422).endswith(
        "choose one of seasons, plain"
    )
    assert "unknown model 'other'" in detail(
        post(backend, "translate", to="winter", model="other"), 404
    )
    assert "no prior" in detail(
        post(backend, "extend", domain="summer", right=8, model="plain"), 409
    )


@pytest.mark.parametrize(
    ("route", "fields", "sentence"),
    [
        ("translate", {}, "the field 'to' is missing: add it to the form"),
        (
            "translate",
            {"to": "autumn"},
            "model 'seasons' has no domain 'autumn'; choose one of summer, winter",
        ),
        (
            "translate",
            {"to": "winter", "source": "autumn"},
            "field 'source': model 'seasons' has no domain 'autumn'",
        ),
        ("translate", {"to": "winter", "smaples": 2}, "unknown field 'smaples': remove it"),
        (
            "translate",
            {"to": "winter", "samples": 17},
            "field 'samples': input should be less than or equal to 16",
        ),
        (
            "translate",
            {"to": "winter", "seed": -1},
            "field 'seed': input should be greater than or equal to 0",
        ),
        (
            "translate",
            {"to": "winter", "samples": 2, "style": PNG},
            "leave out either 'style' or 'samples'",
        ),
        (
            "extend",
            {"domain": "summer"},
            "say how many pixels to add: left, right, top or bottom must be above 0",
        ),
        ("extend", {"domain": "summer", "right": 8, "draw": "heat=1"}, "step 1 (extend): draw: "),
        (
            "extend",
            {"domain": "summer", "right": 8, "draw": "hot"},
            "'hot' is not of the form name=value",
        ),
        (
            "extend",
            {"domain": "summer", "to": "winter", "right": 8, "paste": 2},
            "leave out either 'to' or 'paste'",
        ),
        (
            "extend",
            {"domain": "summer", "bottom": 2030},
            "the canvas would become 32x2054: at most 2048",
        ),
        ("complete", {"domain": "summer"}, "say what stays: either 'keep' or 'mask'"),
        (
            "complete",
            {"domain": "summer", "keep": "middle"},
            "field 'keep': input should be 'left', 'right'",
        ),
        ("transition", {"domain": "summer", "style": PNG}, "at least 2 items"),
        ("compose", {"domain": "summer", "steps": "extend"}, "field 'steps' is not JSON"),
        (
            "compose",
            {"domain": "summer", "steps": '[{"extend": {"rigth": 8}}]'},
            "step 1 (extend): rigth",
        ),
        ("compose", {"steps": '[{"extend": {"right": 8}}]'}, "a chain begins"),
        (
            "extend",
            {"right": 8},
            "the field 'domain' is missing: say which of summer, winter the image shows",
        ),
        (
            "extend",
            {"domain": "summer", "right": 2000},
            "2000 pixels are to be added along one side: ask for at most 1024",
        ),
        ("extend", {"to": "autumn", "right": 8}, "has no domain 'autumn'"),
    ],
)
def test_wrong_fields_are_named_with_what_to_do(backend, route, fields, sentence):
    assert sentence in detail(post(backend, route, **fields), 422)


def test_an_answer_that_cannot_be_made_is_refused(backend):
    assert "image/webp" in detail(post(backend, "translate", to="winter", accept="image/avif"), 406)


def test_a_busy_model_says_when_to_try_again(backend):
    backend.trouble = Problem(
        503, "too many requests are waiting: try again in 2 s", {"Retry-After": "2"}
    )
    response = post(backend, "translate", to="winter")
    assert "try again" in detail(response, 503)
    assert response.headers["retry-after"] == "2"


def test_a_failure_of_the_server_is_a_problem_without_its_innards(backend, caplog):
    backend.trouble = RuntimeError("secret path")
    assert "secret" not in detail(post(backend, "translate", to="winter"), 500)
    assert "secret path" in caplog.text


@pytest.mark.parametrize(
    "raised",
    [
        lambda: int("no number"),
        lambda: Limits.model_validate({"max_side": 0}),
        lambda: {}["no key"],
        lambda: [][1],
    ],
)
def test_errors_of_libraries_are_not_told_as_mistakes_of_the_client(backend, raised):
    with pytest.raises((ValueError, LookupError)) as error:
        raised()
    backend.trouble = error.value
    assert "the server failed" in detail(post(backend, "translate", to="winter"), 500)


def test_a_mistake_of_the_client_is_told_wherever_it_is_found(backend):
    backend.trouble = UserError("it is too warm: wait")
    assert detail(post(backend, "translate", to="winter"), 422) == "it is too warm: wait"


def test_health_and_readiness(backend):
    assert send(backend, "GET", "/healthz").json() == {"status": "ok"}
    assert send(backend, "GET", "/readyz").json() == {"status": "ready"}
    backend.trouble = RuntimeError()
    assert send(backend, "GET", "/healthz").status_code == 200
    assert "loading" in detail(send(backend, "GET", "/readyz"), 503)
