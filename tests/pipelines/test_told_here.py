"""What tasks of Ray could not do is raised as if it had been tried here: sentences stay sentences,
faults faults.
"""

import errno

import pytest
from ray.exceptions import (
    ActorDiedError,
    OutOfMemoryError,
    RayActorError,
    RayTaskError,
    WorkerCrashedError,
)

from errors import UserError
from pipelines.cluster import told_here


def met(error: Exception) -> Exception:
    """What `ray.get` raises where a task has raised something."""
    return RayTaskError(
        "build", f"Traceback\n  File 'a.py'\n{type(error).__name__}", error
    ).as_instanceof_cause()


def test_a_sentence_is_raised_without_the_traceback_of_another_process() -> None:
    with pytest.raises(UserError) as error, told_here():
        raise met(UserError("there is no bundle"))
    assert str(error.value) == "there is no bundle"


def test_an_error_of_the_disk_keeps_its_number_and_place() -> None:
    with pytest.raises(OSError, match="No space left") as error, told_here():
        raise met(OSError(errno.ENOSPC, "No space left on device", "/data/x"))
    assert (error.value.errno, error.value.filename) == (errno.ENOSPC, "/data/x")


def test_a_fault_keeps_its_traceback() -> None:
    with pytest.raises(KeyError) as error, told_here():
        raise met(KeyError("x"))
    assert "File 'a.py'" in str(error.value)
    with pytest.raises(RayActorError, match=r"File 'a\.py'"), told_here():
        raise ActorDiedError(
            RayTaskError("__init__", "Traceback\n  File 'a.py'\nKeyError", KeyError("x"))
        )


@pytest.mark.parametrize(
    "death", [WorkerCrashedError(), ActorDiedError(), OutOfMemoryError("out of memory\nmore")]
)
def test_a_death_is_said_with_the_remedy(death: Exception) -> None:
    with (
        pytest.raises(
            UserError, match=r"^workers of Ray died \(.*\): the same command goes on"
        ) as error,
        told_here(),
    ):
        raise death
    assert "\n" not in str(error.value)
