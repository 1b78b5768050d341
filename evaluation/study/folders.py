"""The pictures that a study may show: a folder for each method, and one of real images."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from errors import UserError
from imaging import SUFFIXES

REAL = "real"  # the method that made no picture
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Folders(NamedTuple):
    """Pictures by method and name; every method has the same names."""

    methods: Mapping[str, Mapping[str, Path]]
    real: Sequence[Path]
    sources: Mapping[str, Path]  # what was translated, by the names of the results; or nothing

    @property
    def names(self) -> list[str]:
        """Names of the pictures that every method has made."""
        return list(next(iter(self.methods.values())))


def look_into(methods: Mapping[str, Path], real: Path, source: Path | None = None) -> Folders:
    """Find the pictures of a study.

    Args:
        methods: folder of each method's pictures; those made from one image share a name, whatever
            they end with.
        real: folder of real images of the domain; their names do not matter.
        source: folder of the images that were translated: a result bears its source's name, or
            begins with it and `_`.

    Raises:
        UserError: a folder has no pictures, two of one name, or not those that it should have; or
            a method cannot be called so.
    """
    if not methods:
        raise UserError("a study needs pictures to judge: give --method NAME=FOLDER")
    if source is not None and len(methods) < 2:
        raise UserError(
            "the question about content compares two methods: give another --method, or leave out "
            "--source"
        )
    for name in methods:
        _check_name(name)
    made = {name: _pictures(folder) for name, folder in methods.items()}
    (first, wanted), *others = made.items()
    for name, pictures in others:
        if missing := sorted(wanted.keys() ^ pictures.keys()):
            there, lacking = (name, first) if missing[0] in pictures else (first, name)
            raise UserError(
                f"{there} has a picture called {missing[0]!r}, but {lacking} has none: give "
                "folders whose pictures have the same names"
            )
    sources = {} if source is None else _sources(list(wanted), _pictures(source), source)
    return Folders(made, list(_pictures(real).values()), sources)


def _check_name(name: str) -> None:
    if name in (REAL, "broken", "source"):
        raise UserError(f"a method cannot be called {name!r}, which has a meaning: rename it")
    if not _NAME.fullmatch(name):
        raise UserError(
            f"a method cannot be called {name!r}: names are made of letters, digits, '.', '_' and "
            "'-' and begin with a letter or a digit"
        )


def _pictures(folder: Path) -> dict[str, Path]:
    """Pictures of a folder by name, in the order of names."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix.lower() not in SUFFIXES:
            continue
        if path.stem in found:
            raise UserError(
                f"{found[path.stem]} and {path} have the same name: take one of them away"
            )
        found[path.stem] = path
    if not found:
        raise UserError(f"{folder} holds no pictures: give a folder of PNG or JPEG files")
    return found


def _sources(names: Sequence[str], images: Mapping[str, Path], folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name in names:
        fitting = [each for each in images if name == each or name.startswith(f"{each}_")]
        if not fitting:
            raise UserError(
                f"{folder} has no image that {name!r} was made from: a result bears its source's "
                "name, or begins with it and '_'"
            )
        found[name] = images[max(fitting, key=len)]
    return found
