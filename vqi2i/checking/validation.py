"""What a file of JSON or a setting should have been, said in one sentence."""

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from vqi2i.errors import UserError

Model = TypeVar("Model", bound=BaseModel)


def fault(error: ValidationError) -> str:
    """The first of a validation's complaints as a phrase: where, and what is wrong there."""
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    what = first["msg"].removeprefix("Value error, ")
    return f"{where}: {what}" if where else what


def checked(kind: type[Model], values: Mapping[str, object], what: str) -> Model:
    """A configuration of values that somebody has chosen.

    Args:
        kind: of configuration.
        values: its fields.
        what: is not to be had with others, for the message.

    Raises:
        UserError: they do not fit it.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{what}: {fault(error)}") from error


def parsed(kind: type[Model], data: bytes, name: str, remedy: str) -> Model:
    """What a file of JSON holds.

    Args:
        kind: what it should be.
        data: the file's bytes.
        name: the file, for the message.
        remedy: what to do if it is something else.

    Raises:
        UserError: it is.
    """
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        found = (
            "is empty" if not data.strip() else f"is not what was written there ({fault(error)})"
        )
        raise UserError(f"{name} {found}: {remedy}") from error
