"""Habits of HTTP: forms and what is none, methods, headers, and the document that describes the
routes.
"""

from collections.abc import Iterator

import httpx
import openapi_spec_validator
import pytest

from serving.http.schema import WITH_PRIOR, WITHOUT_PRIOR
from tests.serving.local import PNG, detail, post, repeated, send


def test_a_field_that_comes_twice_is_refused_unless_it_says_the_same(backend):
    for twice in (
        [("to", (None, "winter")), ("to", (None, "summer"))],
        [("to", (None, "winter")), ("image", PNG)],
    ):
        response = send(backend, "POST", "/v1/translate", files=[("image", PNG), *twice])
        assert f"the field {twice[-1][0]!r} comes twice" in detail(response, 422)
    same = [("image", PNG), ("to", (None, "winter")), ("to", (None, "winter"))]
    assert send(backend, "POST", "/v1/translate", files=same).status_code == 200
    form = send(backend, "POST", "/v1/generate", data={"domain": ["summer", "winter"]})
    assert "the field 'domain' comes twice" in detail(form, 422)


def test_pictures_of_a_chain_have_names_of_their_own(backend):
    fields = {"domain": "summer", "steps": f"[{repeated(2)}]"}

    def ask(*names: str) -> httpx.Response:
        files = [("image", PNG), *(("pictures", (name, PNG)) for name in names)]
        return send(backend, "POST", "/v1/compose", files=files, data=fields)

    assert ask("s", "image").status_code == 200
    assert "two files of 'pictures' are called 's'" in detail(ask("s", "s"), 422)


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b'{"to": "winter"}', "application/json"), (PNG, "image/png"), (PNG, "text/plain"), (PNG, "")],
)
def test_what_is_no_form_is_told_to_be_one(backend, content, kind):
    response = send(
        backend,
        "POST",
        "/v1/translate",
        content=content,
        headers={"Content-Type": kind} if kind else {},
    )
    sentence = detail(response, 415)
    assert "send the fields and files as a form (multipart/form-data)" in sentence
    assert kind in sentence


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=x"])
def test_a_form_that_is_broken_is_told_how_it_is_sent(backend, kind):
    response = send(
        backend, "POST", "/v1/translate", content=b"nonsense", headers={"Content-Type": kind}
    )
    assert "the form cannot be read" in detail(response, 400)


def test_a_file_field_without_a_file_is_as_if_it_were_left_out(backend):
    boundary = {"Content-Type": "multipart/form-data; boundary=x"}

    def form(**files: bytes) -> bytes:
        parts = b"".join(
            b'--x\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\n\r\n%b\r\n'
            % (name.encode(), b"a.png" if data else b"", data)
            for name, data in files.items()
        )
        return (
            parts + b'--x\r\nContent-Disposition: form-data; name="to"\r\n\r\nwinter\r\n--x--\r\n'
        )

    response = send(
        backend, "POST", "/v1/translate", content=form(image=PNG, style=b""), headers=boundary
    )
    assert response.status_code == 200
    response = send(
        backend, "POST", "/v1/translate", content=form(image=b"", style=b""), headers=boundary
    )
    assert "'image'" in detail(response, 422)


def test_a_length_that_is_no_number_is_not_believed(backend):
    headers = [(b"content-length", "\u00b2".encode("latin-1"))]
    assert send(backend, "GET", "/healthz", headers=headers).status_code == 200
    response = send(
        backend,
        "POST",
        "/v1/generate",
        content=b"domain=summer",
        headers=[*headers, (b"content-type", b"application/x-www-form-urlencoded")],
    )
    assert response.status_code == 200


def test_a_detail_is_one_sentence_however_much_was_sent(backend):
    assert len(detail(post(backend, "translate", to="winter", **{"x" * 2000: "1"}), 422)) < 1100


def test_head_is_answered_wherever_get_is(backend):
    for path in ("/healthz", "/readyz", "/docs", "/openapi.json", "/v1/models"):
        response, whole = send(backend, "HEAD", path), send(backend, "GET", path)
        assert (response.status_code, response.content) == (200, b"")
        assert response.headers["content-length"] == str(len(whole.content))
    assert send(backend, "HEAD", "/v1/translate").status_code == 405
    backend.trouble = RuntimeError()
    assert send(backend, "HEAD", "/readyz").status_code == 503


def references(part: object) -> Iterator[str]:
    """All `$ref` in a document."""
    if isinstance(part, dict):
        yield from (value for key, value in part.items() if key == "$ref")
    for inner in (
        part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    ):
        yield from references(inner)


def test_the_document_is_valid_and_all_its_references_resolve(backend):
    document = send(backend, "GET", "/openapi.json").json()
    openapi_spec_validator.validate(document)
    found = set(references(document))
    assert {
        f"#/components/schemas/{name}" for name in ("ImageList", "EncodedImage", "ProblemDetails")
    } <= found
    for reference in found:
        part = document
        assert reference.startswith("#/")
        for name in reference[2:].split("/"):
            part = part[name]


def test_a_field_of_a_form_is_not_said_to_be_nullable(backend):
    document = send(backend, "GET", "/openapi.json").json()
    forms = [
        schema
        for name, schema in document["components"]["schemas"].items()
        if name.endswith(("Form", "Options"))
    ]
    assert len(forms) == len((*WITHOUT_PRIOR, *WITH_PRIOR))
    assert not any(
        {"type": "null"} in field.get("anyOf", ())
        for form in forms
        for field in form["properties"].values()
    )
    translate = document["components"]["schemas"]["TranslateForm"]
    assert translate["properties"]["seed"]["type"] == "integer"
    assert translate["required"] == ["to", "image"]


def test_the_documentation_describes_the_forms(backend):
    assert "swagger" in send(backend, "GET", "/docs").text
    schema = send(backend, "GET", "/openapi.json").json()
    routes = {f"/v1/{route}" for route in (*WITHOUT_PRIOR, *WITH_PRIOR)}
    assert routes | {"/v1/models", "/healthz", "/readyz"} <= set(schema["paths"])
    assert set(schema["paths"]["/v1/translate"]["post"]["requestBody"]["content"]) == {
        "multipart/form-data"
    }


def test_unknown_routes_are_problems_too(backend):
    detail(send(backend, "GET", "/v2/translate"), 404)
    detail(send(backend, "GET", "/v1/translate"), 405)


def test_options_in_the_query_are_refused_rather_than_ignored(backend):
    response = send(
        backend, "POST", "/v1/translate?seed=3", files={"image": PNG}, data={"to": "winter"}
    )
    assert "unknown query parameter 'seed'" in detail(response, 422)
