"""What served models are called in requests: as their folders are, or as whoever serves them
says.
"""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from errors import UserError

PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_URI = ("models:/", "runs:/")


def named(settings: Sequence[str]) -> dict[str, str]:
    """Models by name, from `MODEL` or `NAME=MODEL` each; a model is a bundle directory or an MLflow
    URI.

    Raises:
        UserError: a name cannot be one, or two models have the same.
    """
    models: dict[str, str] = {}
    for setting in settings:
        name, model = _parted(setting)
        # shells leave NAME=~/MODEL as it is
        model = str(Path(model).expanduser()) if model.startswith("~") else model
        if name in models:
            raise UserError(
                f"two models would be called {name!r}, {models[name]} and {model}: name them, for "
                f"example {name}={models[name]} {name}-2={model}"
            )
        models[name] = model
    return models


def check(name: str) -> None:
    """Raise a UserError that says how names are made if this cannot be one."""
    if not re.fullmatch(PATTERN, name):
        raise UserError(
            f"{name!r} cannot be a name: use letters, digits, '.', '_' and '-', and begin with "
            "one of the first two"
        )


def _parted(setting: str) -> tuple[str, str]:
    name, separator, model = setting.partition("=")
    # Folders may have a = in their names, and the names of models no slash.
    if not separator or setting.startswith(_URI) or "/" in name or Path(setting).is_dir():
        return _name_of(setting), setting
    check(name)
    if not model.startswith(_URI) and not Path(model).expanduser().is_dir():
        raise UserError(
            f"there is no model at {model}, nor at {setting}: give a bundle directory or an "
            "MLflow URI"
        )
    return name, model


def _name_of(model: str) -> str:
    """`seasons` for models:/seasons@champion, models:/seasons/3, some/seasons and
    some/seasons/bundle.
    """
    if model.startswith(_URI):
        return _as_name(model.split(":/", 1)[1].strip("/").split("@")[0].split("/")[0])
    path = Path(model).resolve()
    return _as_name(path.parent.name if path.name == "bundle" else path.name)


def _as_name(text: str) -> str:
    """The nearest that can be typed into a form: `My-Results-v2` for `My Results (v2)`."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "-", plain).rstrip("-").lstrip("._-") or "model"
