"""Names and aliases of MLflow's registry: what it would refuse, and what could not be asked for
afterwards.
"""

import re

from errors import UserError

_LONGEST_NAME, _LONGEST_ALIAS = 256, 255  # characters
_ALIAS = re.compile(r"[\w-]+")
_VERSION = re.compile(r"[vV]\d+")


def check_model_name(name: str) -> None:
    """Refuse a name that no model of MLflow's registry can have.

    Raises:
        UserError: it is one; the message says what is wrong with it.
    """
    if (wrong := _wrong_name(name)) is not None:
        raise UserError(
            f"{name[:60]!r} cannot be the name of a registered model, {wrong}: choose one like "
            "seasons"
        )


def check_alias(alias: str) -> None:
    """Refuse an alias that no version of a registered model can have.

    Raises:
        UserError: it is one; the message says what is wrong with it.
    """
    if (wrong := _wrong_alias(alias)) is not None:
        raise UserError(
            f"{alias[:60]!r} cannot be the alias of a model, {wrong}: choose one like champion"
        )


def _wrong_name(name: str) -> str | None:
    if not name.strip():
        return "it is empty"
    if found := next((character for character in "/:" if character in name), None):
        return f"it contains {found!r}"
    if name == "." or name.startswith(".."):
        return "it begins like the path of another folder"
    if name != name.strip() or not name.isprintable():
        return "it begins or ends with a space or contains what cannot be printed"
    if len(name) > _LONGEST_NAME:
        return f"it has {len(name)} characters, more than {_LONGEST_NAME}"
    return None


def _wrong_alias(alias: str) -> str | None:
    if _ALIAS.fullmatch(alias) is None:
        return "which has letters, digits, dashes and underscores only, and at least one of them"
    if alias.lower() == "latest" or _VERSION.fullmatch(alias):
        return "MLflow keeps it for versions"
    if len(alias) > _LONGEST_ALIAS:
        return f"it has {len(alias)} characters, more than {_LONGEST_ALIAS}"
    return None
