"""Settings by dotted names: overridden one by one, and listed."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from errors import UserError
from vqi2i.checking.frozen import Frozen
from vqi2i.checking.typed import meant
from vqi2i.config import assignment

Config = TypeVar("Config", bound=Frozen)


def override(config: Config, settings: Sequence[str]) -> Config:
    """Return `config` with settings of the form `a.b=value` applied; values are JSON or plain
    strings.

    Raises:
        UserError: a name does not exist, a value has the wrong type, or the result is inconsistent.
    """
    data = config.model_dump(mode="json")
    for setting in settings:
        name, value = assignment(setting, "--set")
        *path, leaf = name.split(".")
        place: Any = data
        for part in path:
            place = place.get(part) if isinstance(place, dict) else None
        if not isinstance(place, dict) or leaf not in place:
            near = _near(name, [dotted for dotted, _ in flat(data)])
            known = ", ".join(place if isinstance(place, dict) else data)
            raise UserError(f"there is no setting {name!r}{near}; known here: {known}")
        place[leaf] = value
    try:
        return type(config).model_validate(data)
    except ValidationError as error:
        raise UserError("; ".join(_sentence(detail) for detail in error.errors())) from error


def flat(data: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested settings as (dotted name, value) pairs."""
    pairs: list[tuple[str, Any]] = []
    for key, value in data.items():
        if isinstance(value, Mapping):
            pairs += flat(value, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", value))
    return pairs


def with_later(held: Mapping[str, Any], now: Mapping[str, Any], config: Frozen) -> dict[str, Any]:
    """Settings that an earlier version wrote down, with the defaults of those that came later.

    Args:
        held: what was written down, nested.
        now: what would be written down today; no other names are added.
        config: what `now` was made from; it knows the defaults.
    """
    filled = dict(held)
    for name, value in now.items():
        field, inner = type(config).model_fields[name], getattr(config, name)
        if name not in held:
            if not field.is_required():
                filled[name] = to_jsonable_python(field.get_default(call_default_factory=True))
        elif isinstance(inner, Frozen) and isinstance(before := held[name], Mapping):
            filled[name] = with_later(before, value, inner)
    return filled


def _near(name: str, known: Sequence[str]) -> str:
    """Which setting was probably meant: one whose last name is spelt alike, and of these the one
    that is most alike.
    """
    last = [each.rpartition(".")[2] for each in known]
    alike = difflib.get_close_matches(name.rpartition(".")[2], set(last), n=1)
    return meant(
        name, [each for each, leaf in zip(known, last, strict=True) if leaf in alike], least=0.0
    )


def _sentence(detail: Any) -> str:
    where = ".".join(str(part) for part in detail["loc"])
    what = str(detail["msg"]).removeprefix("Value error, ")
    return f"{where}: {what}" if where else what
