"""The OpenAPI document of the routes: every reference resolves, and what cannot be null is not said
to be.
"""

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from serving.http import problems
from serving.http.schema import ImageList, ProblemDetails

_COMPONENT = "#/components/schemas/{model}"

PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "One picture as a file, several as JSON.",
        "content": {
            "image/png": {},
            "image/jpeg": {},
            "image/webp": {},
            "application/json": {"schema": {"$ref": _COMPONENT.format(model=ImageList.__name__)}},
        },
    },
    "default": {
        "description": "Problem details: `detail` says what to do.",
        "content": {
            problems.MEDIA_TYPE: {
                "schema": {"$ref": _COMPONENT.format(model=ProblemDetails.__name__)}
            }
        },
    },
}


def install(api: FastAPI) -> None:
    """Let `api` describe itself: with the schemas of `PICTURE`, and with fields of forms as forms
    can hold them.
    """
    described = api.openapi

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            document = described()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            both = [(ImageList, "serialization"), (ProblemDetails, "serialization")]
            schemas |= models_json_schema(both, ref_template=_COMPONENT)[1]["$defs"]
            for path in document["paths"].values():
                for body in (
                    operation["requestBody"]
                    for operation in path.values()
                    if "requestBody" in operation
                ):
                    for media in body["content"].values():
                        _without_null(schemas[media["schema"]["$ref"].rpartition("/")[2]])
            api.openapi_schema = document
        return api.openapi_schema

    api.openapi = openapi


def _without_null(form: dict[str, Any]) -> None:
    """A field of a form is there or left out: it has no way to be null."""
    for field in form["properties"].values():
        kinds = [kind for kind in field.get("anyOf", ()) if kind != {"type": "null"}]
        if len(kinds) == 1:
            del field["anyOf"]
            field |= kinds[0]
