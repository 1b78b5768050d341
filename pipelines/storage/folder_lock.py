"""One process at a time in a folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from errors import UserError

_LOCK = ".lock"  # hidden, so that nothing takes it for a part of what the folder holds


@contextmanager
def alone_in(folder: Path, busy: str) -> Iterator[None]:
    """Keep other processes of this machine out of a folder, which is made if need be.

    The lock ends with the process, and leaves nothing behind: its file goes while it is held, and
    who has opened that file meanwhile sees that it has no name any more and tries again.

    Args:
        folder: to be alone in.
        busy: what another process does there and what to do about it, for the message.

    Raises:
        UserError: another process is in there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"{folder} {busy}") from None
    try:
        yield
    finally:
        (folder / _LOCK).unlink(missing_ok=True)
        lock.release()
