"""Why a trial failed: something that whoever searches can mend, a process that died, or a fault of
this project.
"""

from typing import NamedTuple

from ray.exceptions import RayTaskError

from errors import UserError, first_line


class Failure(NamedTuple):
    """What ended a trial."""

    sentence: str
    fault: str = ""  # of this project: its traceback


class TrialFault(Exception):  # noqa: N818
    """Trials have met a fault of this project; the message ends with the traceback."""


def failure(error: Exception | str) -> Failure:
    """What Tune's record of a trial's error says.

    Args:
        error: as the trial raised it, or its text where that could not be kept.
    """
    if isinstance(error, RayTaskError) and isinstance(error.cause, UserError):
        return Failure(str(error.cause))
    text = str(error).strip()
    if isinstance(error, RayTaskError | str):
        return Failure(text.splitlines()[-1], text)
    return Failure(f"its process died ({first_line(error)})")
