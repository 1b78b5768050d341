"""Weight files by path or URL: fetched once, kept by sha256, checked before they are read."""

import os
import shutil
import urllib.request
from pathlib import Path

from errors import UserError
from pipelines.storage import atomic_files as files
from training.config import WeightFile
from vqi2i.checking.typed import at_home


def fetch(file: WeightFile) -> Path:
    """The local path of a weight file.

    Fetched files lie in `VQI2I_CACHE`, or in the user's cache directory.

    Raises:
        UserError: there is no file at the path, it cannot be fetched, or its content is not what
            its sha256 says.
    """
    if not file.is_remote:
        path = at_home(file.source)
        if not path.is_file():
            raise UserError(f"there is no weight file {path}: give its path, or a URL and a sha256")
        if file.sha256 and (found := files.sha256_of(path)) != file.sha256:
            raise UserError(
                f"{path} has the sha256 {found}, not {file.sha256}: it is another file or damaged"
            )
        return path
    path = _cache() / file.sha256
    if not path.is_file():
        _download(file, path)
    return path


def sha256_of(file: WeightFile) -> str:
    """What a weight file holds, whether its configuration says so or not."""
    return file.sha256 or files.sha256_of(fetch(file))


def _cache() -> Path:
    home = (
        os.environ.get("VQI2I_CACHE")
        or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "vqi2i"
    )
    return at_home(home)


def _download(file: WeightFile, path: Path) -> None:
    try:
        with (
            urllib.request.urlopen(file.source, timeout=60) as answer,
            files.atomic(path) as stream,
        ):
            shutil.copyfileobj(answer, stream)
            stream.flush()
            temporary = Path(stream.name)
            if (found := files.sha256_of(temporary)) != file.sha256:
                temporary.unlink()
                raise UserError(
                    f"{file.source} has the sha256 {found}, not {file.sha256}: it is not the file "
                    "you want"
                )
    except OSError as error:
        raise UserError(
            f"{file.source} cannot be fetched ({error}): give the path of a copy instead"
        ) from error
