"""The one kind of error that whoever called can mend; every other exception is a fault of this
project.

It lies beside the method, which is used alone; everything else here knows it as `errors`.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(ValueError):
    """What was asked for cannot be done; the message names the thing and the remedy, in one
    sentence.

    The command line answers it with that sentence and exit code 2, serving with a status below 500,
    training without another try. It is a `ValueError`, so that validators of settings may raise it.
    """


_FULL = {errno.ENOSPC, errno.EDQUOT}
_SENTENCES = {
    **dict.fromkeys(_FULL, "there is no space left for {place}: make room there"),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS),
        "{place} cannot be used ({reason}): check its rights",
    ),
    **dict.fromkeys((errno.EIO, errno.ESTALE), "{place} cannot be used ({reason}): check its disk"),
    errno.EISDIR: "{place} is a folder: give a file",
    errno.ENOTDIR: "{place} leads through a file as if that were a folder: give another path",
    errno.ENXIO: "{place} is a socket or a device: give a file",
    errno.ELOOP: "{place} is a link that leads to itself: give another path",
    errno.EFBIG: "{place} would be larger than its disk allows: choose another place",
    errno.EBUSY: "{place} is in use: wait, or choose another place",
}


@contextmanager
def named(*places: str | os.PathLike[str]) -> Iterator[None]:
    """Inside, what somebody has named is read and written: errors of the file system about it are
    theirs to mend.

    Args:
        places: files and folders; so are those in them and those that they lie in.

    Raises:
        UserError: instead of an OSError about one of the places, or about a disk that is full.
    """
    try:
        yield
    except OSError as error:
        if (sentence := _about(error, [os.fspath(place) for place in places])) is None:
            raise
        raise UserError(sentence) from error


def first_line(error: BaseException) -> str:
    """What an error says of itself, on one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def complaint(
    error: OSError, place: str | None = None, *, unnamed: str = "what is written"
) -> str | None:
    """A sentence about an error of the file system that whoever has named the place can mend; None
    about others.

    Args:
        error: as it was raised.
        place: what is at fault; what the error says if None.
        unnamed: what is at fault if the error does not say, as when a write fails.
    """
    place = place or _place(error) or unnamed
    if error.errno == errno.ENAMETOOLONG:
        return f"{max(Path(place).parts, key=len)[:40]}... is too long a name: give a shorter one"
    if error.errno == errno.EEXIST and Path(place).is_file():
        return f"{place} is a file: give a folder"
    return (
        _SENTENCES[error.errno].format(place=place, reason=error.strerror)
        if error.errno in _SENTENCES
        else None
    )


def _about(error: OSError, places: list[str]) -> str | None:
    found = _place(error)
    if found is None:  # as when a write fails
        return complaint(error, places[0] if len(places) == 1 else None)
    about = (_between(error, found, place) for place in places)
    return next(filter(None, about), complaint(error) if error.errno in _FULL else None)


def _between(error: OSError, found: str, place: str) -> str | None:
    """A sentence about an error at a path that has to do with a place."""
    path, real = os.path.realpath(found), os.path.realpath(os.path.expanduser(place))  # noqa: PTH111 -- Path fails without a home
    # what is missing inside of the place has nobody named
    if _in(real, path) and error.errno == errno.ENOENT:
        return f"{found} does not exist: check the path"
    if _in(real, path) or _in(path, real):
        return complaint(error)
    return complaint(error, place) if _becomes(path, real) else None


def _place(error: OSError) -> str | None:
    """The path that an error is about; some are about an open file's number, or about none."""
    return (
        os.fsdecode(error.filename)
        if isinstance(error.filename, str | bytes | os.PathLike)
        else None
    )


def _in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _becomes(path: str, place: str) -> bool:
    """Whether a file lies beside a place and will take it when it is complete."""
    (folder, name), (other, wanted) = os.path.split(path), os.path.split(place)
    return folder == other and (name == f"{wanted}.tmp" or name.startswith(f".{wanted}-"))
