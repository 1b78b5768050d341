"""What a form must be before its fields are looked at: a form, and every field in it once."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import get_origin

from fastapi import Request, UploadFile
from pydantic import BaseModel
from starlette.datastructures import FormData

from serving.http.problems import Problem

MULTIPART = "multipart/form-data"
_FORMS = (MULTIPART, "application/x-www-form-urlencoded")


def form_checked(schema: type[BaseModel]) -> Callable[[Request], Awaitable[None]]:
    """A dependency of routes whose form is `schema`: raises a Problem that says how to send it.

    Frameworks read another kind of body as a form without fields, and of a field that comes twice
    the last value.
    """
    lists = {
        name
        for name, field in schema.model_fields.items()
        if get_origin(field.annotation) in (list, tuple)
    }

    async def check(request: Request) -> None:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in _FORMS:
            sent = f"not as {kind}" if kind else "whose name the Content-Type header says"
            raise Problem(415, f"send the fields and files as a form ({MULTIPART}), {sent}")
        if request.query_params:
            name = next(iter(request.query_params))
            raise Problem(422, f"unknown query parameter {name!r}: options are fields of the form")
        _check_once(await request.form(), lists)

    return check


def _check_once(form: FormData, lists: Collection[str]) -> None:
    seen: dict[str, object] = {}
    for name, value in form.multi_items():
        if name not in lists and seen.setdefault(name, value) != value:
            raise Problem(
                422, f"the field {name!r} comes twice with different values: send it once"
            )


def given(upload: UploadFile | None) -> UploadFile | None:
    """None also for what browsers send where no file was chosen."""
    return upload if upload is not None and (upload.filename or upload.size) else None


def needed(upload: UploadFile, field: str) -> UploadFile:
    """The upload of a field that must have one.

    Raises:
        Problem: 422 if no file was chosen.
    """
    if given(upload) is None:
        raise Problem(422, f"the field {field!r} holds no file: choose an image")
    return upload


def named(uploads: Sequence[UploadFile]) -> list[tuple[str, UploadFile]]:
    """Uploads by the names of their files.

    Raises:
        Problem: 422 if one has no name, or two have the same.
    """
    names = [upload.filename or "" for upload in uploads]
    if "" in names:
        raise Problem(
            422, "a file of 'pictures' has no name: send one, as the steps call it (filename=...)"
        )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Problem(
            422, f"two files of 'pictures' are called {twice[0]!r}: give them different names"
        )
    return list(zip(names, uploads, strict=True))
