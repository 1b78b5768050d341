"""What ends a training that no retry would help: one sentence that names the thing and the
remedy.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from errors import UserError, complaint, first_line
from pipelines.storage.remote import StorageError
from training.checkpointing.checkpoints import Checkpoints

_PASSING = {errno.EIO, errno.ESTALE, errno.EBUSY}  # another attempt may go better
# As torch's CPU allocator says it.
_NO_MEMORY = ("can't allocate memory", "not enough memory", "Cannot allocate memory")
_LESS_MEMORY = "raise accumulate, lower batch_size in another --run, or take a larger machine"


class TrainingError(UserError):
    """A training cannot go on as things are; nothing that was saved is lost."""


class WorkerFault(Exception):  # noqa: N818
    """Workers have met a fault of this project again and again; the message ends with the
    traceback.
    """


@contextmanager
def explaining(checkpoints: Checkpoints) -> Iterator[None]:
    """Turn troubles into a TrainingError; sentences of ours pass as they are."""
    try:
        yield
    except Exception as error:
        if (sentence := _trouble(error)) is None:
            raise
        raise TrainingError(f"{sentence}; {resumption(checkpoints)}") from error


def explained(error: BaseException, checkpoints: Checkpoints) -> str | None:
    """A sentence about an error that the same attempt would meet again; None if another may go
    better.

    Args:
        error: what an attempt at a training has raised.
        checkpoints: what is left to go on from.
    """
    if (trouble := _trouble(error)) is not None:
        return f"{trouble}; {resumption(checkpoints)}"
    return str(error) if isinstance(error, UserError) else None


def resumption(checkpoints: Checkpoints) -> str:
    """How a training that has ended before its time goes on."""
    try:
        positions = checkpoints.positions()
    except UserError:  # their place cannot be reached either
        return "the same command goes on from the newest checkpoint"
    if not positions:
        return "nothing was saved yet, the same command begins anew"
    return f"the same command goes on from {checkpoints.name(positions[-1])}"


def _trouble(error: BaseException) -> str | None:
    if isinstance(error, StorageError):
        return str(error)
    if isinstance(error, torch.OutOfMemoryError):
        return f"the GPU's memory is not enough ({first_line(error)}): {_LESS_MEMORY}"
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and _says(error, _NO_MEMORY)
    ):
        return f"this machine's memory is not enough: {_LESS_MEMORY}"
    if isinstance(error, OSError) and error.errno not in _PASSING:
        return complaint(error, unnamed="the run's files")
    return None


def _says(error: BaseException, texts: tuple[str, ...]) -> bool:
    return any(text in str(error) for text in texts)
