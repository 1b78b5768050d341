"""What a request may ask for: files, pixels, numbers and nesting, all known before anything is
decoded.
"""

import io

import numpy as np
import pytest
from PIL import Image

import imaging
from serving.http.schema import Limits
from tests.serving.local import PASTE, PNG, detail, post, repeated, send


@pytest.mark.parametrize(
    ("route", "fields", "sentence"),
    [
        (
            "extend",
            {"domain": "summer", "right": 10**9},
            "field 'right': input should be less than or equal to",
        ),
        ("extend", {"domain": "summer", "right": "9" * 5000}, "field 'right': unable to parse"),
        (
            "extend",
            {"domain": "summer", "right": 8, "draw": "temperature=nan"},
            "draw: temperature must be above 0",
        ),
        (
            "extend",
            {"domain": "summer", "right": 8, "draw": "temperature=1e999"},
            "at most 10,000, got inf",
        ),
        (
            "extend",
            {"domain": "summer", "right": 8, "draw": "guidance=NaN"},
            "draw: guidance must not be below 0",
        ),
        ("extend", {"domain": "summer", "right": 8, "draw": "top_k=" + "[" * 900}, "draw.top_k: "),
        (
            "extend",
            {"domain": "summer", "right": 8, "draw": "x" * 300_000},
            "field 'draw': string should have at most",
        ),
        (
            "extend",
            {"domain": "summer", "right": 8, "paste": 257},
            "field 'paste': input should be less than or equal",
        ),
        (
            "compose",
            {"domain": "summer", "steps": "[" * 90_000},
            "field 'steps' is nested too deeply",
        ),
        (
            "compose",
            {"domain": "summer", "steps": '{"a":' * 20_000},
            "field 'steps' is nested too deeply",
        ),
        (
            "compose",
            {"domain": "summer", "steps": "[" * 300_000},
            "field 'steps': string should have at most",
        ),
        ("compose", {"domain": "summer", "steps": f"[{'9' * 5000}]"}, "field 'steps' is not JSON"),
        (
            "compose",
            {"domain": "summer", "steps": '[{"paste": {"feather": 99999999}}]'},
            "less than or equal to 256",
        ),
        ("compose", {"domain": "summer", "steps": f"[{', '.join([PASTE] * 17)}]"}, "has 17 steps"),
        ("compose", {"domain": "summer", "steps": f"[{repeated(200)}]"}, "at most 16 items"),
        (
            "compose",
            {"domain": "summer", "steps": '[{"translate": {"to": "winter", "style": "\\ud800"}}]'},
            "sent: ?",
        ),
    ],
)
def test_numbers_and_texts_that_nobody_means_are_refused(backend, route, fields, sentence):
    assert sentence in detail(post(backend, route, **fields), 422)


def test_what_is_no_image_is_refused(backend):
    assert "send a PNG, JPEG or WebP file" in detail(
        post(backend, "translate", image=b"text", to="winter"), 415
    )
    assert "field 'style'" in detail(post(backend, "translate", style=PNG[:60], to="winter"), 415)
    response = send(
        backend,
        "POST",
        "/v1/translate",
        data={"to": "winter", "image": "a.png"},
        files={"style": PNG},
    )
    assert "field 'image' must be a file" in detail(response, 422)


@pytest.mark.parametrize("kind", ["AVIF", "JPEG2000", "ICNS", "PPM"])
def test_a_format_that_is_not_taken_is_refused_whatever_its_header_does(backend, kind):
    stream = io.BytesIO()
    Image.new("RGB", (32, 32)).save(stream, kind)
    for data in (stream.getvalue(), stream.getvalue()[:40], stream.getvalue()[:20] + b"\xff" * 30):
        response = post(backend, "translate", image=data, to="winter")
        assert response.status_code == 200 or "send a PNG, JPEG or WebP" in detail(response, 415)


def test_a_header_that_makes_the_decoder_fail_is_the_files_fault(backend, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise AssertionError("odd header")

    monkeypatch.setattr(Image, "open", broken)
    assert "odd header" in detail(post(backend, "translate", to="winter"), 415)


def test_an_image_with_too_many_pixels_is_refused_by_its_header(backend, monkeypatch):
    monkeypatch.setattr(imaging, "decode", lambda _: pytest.fail("decoded"))
    wide = imaging.encode(np.zeros((8, 4000, 3), np.uint8))
    assert "4000x8; scale it to at most 2048" in detail(
        post(backend, "translate", image=wide, to="winter"), 413
    )
    square = imaging.encode(np.zeros((2040, 2040, 3), np.uint8))
    assert "4 megapixels" in detail(post(backend, "translate", image=square, to="winter"), 413)


def test_images_are_counted_and_measured_together_before_any_is_decoded(backend, monkeypatch):
    monkeypatch.setattr(imaging, "decode", lambda _: pytest.fail("decoded"))
    blank = imaging.encode(np.zeros((1500, 1500, 3), np.uint8))  # 2.25 megapixels in few bytes
    for route, field in (("transition", "style"), ("compose", "pictures")):
        fields = {"domain": "summer"} | ({"steps": f"[{PASTE}]"} if route == "compose" else {})

        def ask(
            data: bytes, count: int, route: str = route, field: str = field, fields: dict = fields
        ) -> str:
            files = [("image", PNG), *((field, (f"{number}", data)) for number in range(count))]
            return detail(send(backend, "POST", f"/v1/{route}", files=files, data=fields), 413)

        assert ask(PNG, 16) == "17 files were sent: at most 16 can be in one request"
        assert "9.0 megapixels together and at most 8 can be in one request" in ask(blank, 4)


def test_pictures_to_make_are_measured_together(backend):
    large = imaging.encode(np.zeros((1000, 1000, 3), np.uint8))
    sentence = detail(post(backend, "translate", image=large, to="winter", samples=9), 422)
    assert (
        "9 pictures of 1.0 megapixels are asked for and at most 8 megapixels can be made"
        in sentence
    )


def test_a_jpeg_that_goes_over_its_picture_again_and_again_is_not_decoded(backend):
    stream = io.BytesIO()
    Image.new("RGB", (64, 64)).save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    assert post(backend, "translate", image=data, to="winter").status_code == 200
    scan = data[data.rindex(b"\xff\xda") : -2]
    assert "more than 256 scans" in detail(
        post(backend, "translate", image=data[:-2] + scan * 300, to="winter"), 415
    )


def test_an_upright_picture_is_measured_as_it_is_shown(backend):
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    Image.new("RGB", (40, 24)).save(stream, "JPEG", exif=exif)
    wide = post(backend, "extend", image=stream.getvalue(), domain="summer", bottom=2030)
    assert "the canvas would become 24x2070" in detail(wide, 422)


def test_only_large_requests_are_worked_on_beside_the_others(backend):
    limits = Limits(large_pixels=1000)
    for image, fields in (
        (PNG, {}),
        (imaging.encode(np.zeros((40, 40, 3), np.uint8)), {}),
        (PNG, {"samples": 8}),
    ):
        assert (
            post(
                backend, "translate", image=image, to="winter", limits=limits, **fields
            ).status_code
            == 200
        )
    post(backend, "extend", image=PNG, domain="summer", right=8, limits=limits)
    assert [job.alone for job in backend.jobs] == [False, True, True, True]


def test_a_body_above_the_limit_is_not_read(backend):
    limits = Limits(max_upload_bytes=1000)
    assert "larger than" in detail(post(backend, "translate", to="winter", limits=limits), 413)

    async def unannounced():
        for part in (
            b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n',
            *[b"x" * 400] * 9,
        ):
            yield part
        pytest.fail("the whole body was read")

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    response = send(
        backend, "POST", "/v1/translate", content=unannounced(), headers=headers, limits=limits
    )
    assert "larger than" in detail(response, 413)


def test_an_area_that_would_take_too_long_to_imagine_is_refused(backend):
    tall = imaging.encode(np.zeros((2000, 40, 3), np.uint8))
    sentence = detail(post(backend, "extend", image=tall, domain="summer", right=140), 422)
    assert "280,000 pixels are to be imagined and at most 262,144 can be" in sentence
