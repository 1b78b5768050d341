"""What a search looks for, and what came out of its trials."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from training.job import Job
from training.metrics import Mode
from tuning.spaces import direction, search_space
from vqi2i.checking.frozen import Frozen


class Study(Frozen):
    """What is searched for; all that decides which trials are run."""

    job: Job  # what all trials have in common
    space: str
    trials: int = Field(gt=0)
    metric: str
    mode: Mode

    def identity(self) -> dict[str, Any]:
        """What must not change between a search's first start and its resume."""
        return {**self.model_dump(mode="json", exclude={"job"}), "job": self.job.identity()}

    def begun_as(self, held: Mapping[str, Any]) -> dict[str, Any]:
        """The identity that a search was started with, as it would be written down today."""
        job = held.get("job")
        return {**held, "job": self.job.begun_as(job) if isinstance(job, Mapping) else job}


class TrialRow(Frozen):
    """What came out of one trial."""

    trial: str
    settings: dict[str, Any]
    metric: float | None  # the newest reported; None: there was no report
    position: int  # images of each domain seen
    status: Literal["finished", "stopped early", "failed"]
    error: str | None = None
    fault: str = ""  # the traceback, if it failed by a fault of this project


def make_study(
    job: Job,
    *,
    space: str,
    trials: int,
    metric: str,
    mode: Mode | None = None,
    fixed: Sequence[str] = (),
) -> Study:
    """Trials of `job` with settings from a named space, ranked by `metric`.

    Args:
        job: what all trials have in common.
        space: name of a space for the job's stage.
        trials: how many settings are tried.
        metric: what trials are ranked by.
        mode: whether less or more of it is better; None: as usual for the metric.
        fixed: the settings `name=value` that made `job`; the space must not vary them.

    Raises:
        UserError: there is no such space or metric, or the space varies what is fixed.
    """
    search_space(job.config.stage, space, fixed=fixed)
    usual = direction(job.config.stage, metric)
    return Study(job=job, space=space, trials=trials, metric=metric, mode=mode or usual)


def ranked(rows: Sequence[TrialRow], mode: Mode) -> list[TrialRow]:
    """Best first; only trials that trained to their end compare at equal cost, so they come before
    all others.
    """
    sign = -1 if mode == "max" else 1

    def key(row: TrialRow) -> tuple[int, int, float]:
        order = ("finished", "stopped early", "failed").index(row.status)
        return (
            order,
            0 if order == 0 else -row.position,
            sign * row.metric if row.metric is not None else 0.0,
        )

    return sorted(rows, key=key)
