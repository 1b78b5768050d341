"""One trial: a training on the local worker, in the process that Tune gave it, that tells Tune how
it goes.
"""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from errors import UserError
from training.job import Job
from training.run.attempt import checkpoints_of, fit_here
from training.run.errors import explaining
from training.settings import override
from training.tracking.journal import RunJournal, read_metrics

_REFUSAL = "refused.txt"

TRIALS = "trials"


def trial_folder(run_dir: Path, trial_id: str) -> Path:
    """Where a trial of the search in `run_dir` keeps its checkpoints, figures and pictures."""
    return run_dir / TRIALS / trial_id


def as_settings(sampled: Mapping[str, Any]) -> list[str]:
    """Sampled values in the form that `--set` takes."""
    return [f"{name}={json.dumps(value)}" for name, value in sampled.items()]


def trial_job(job: Job, sampled: Mapping[str, Any]) -> Job:
    """What a trial with these settings trains."""
    return job.model_copy(update={"config": override(job.config, as_settings(sampled))})


def run_trial(
    sampled: Mapping[str, Any], *, job: Job, metric: str, run_dir: Path, threads: int
) -> None:
    """Train `job` with the sampled settings; an interrupted trial goes on from its own last
    checkpoint.

    Tune tries what has failed once more, for its process may have died; what would fail again for a
    reason that it has given is not tried again in this search.

    Args:
        sampled: values of dotted settings.
        job: what all trials have in common.
        metric: what trials are ranked by.
        run_dir: folder of the search.
        threads: cores of this trial.

    Raises:
        UserError: something that it would meet again.
    """
    import torch
    from ray import tune

    torch.set_num_threads(threads)
    folder = trial_folder(run_dir, tune.get_context().get_trial_id())
    with _once(folder):
        own = trial_job(job, sampled)
        journal = TuneJournal(folder, metric)
        with explaining(checkpoints_of(own, folder)):
            fit_here(own, folder, journal)
        journal.conclude()


def forget_refusals(run_dir: Path) -> None:
    """Let trials be tried again that had a reason to fail."""
    for refusal in run_dir.glob(f"trials/*/{_REFUSAL}"):
        refusal.unlink()


@contextmanager
def _once(folder: Path) -> Iterator[None]:
    """Remember why a trial failed, if it would fail so again."""
    refusal = folder / _REFUSAL
    if refusal.exists():
        raise UserError(refusal.read_text())
    try:
        yield
    except UserError as error:
        with suppress(OSError):  # a full disk may be the reason
            folder.mkdir(parents=True, exist_ok=True)
            refusal.write_text(str(error))
        raise


class TuneJournal(RunJournal):
    """Tells Tune; the searching process writes down what it hears (see `tuning/watch.py`)."""

    def __init__(self, run_dir: Path, metric: str):
        super().__init__(run_dir, None, Console(quiet=True))
        self.metric = metric
        self._newest: dict[str, float] = {}
        self._heard = False
        for row in read_metrics(run_dir):  # a scheduler that was started anew has forgotten them
            self._report(row)

    def log(self, position: int, total: int, metrics: Mapping[str, float], seconds: float) -> None:
        """Report figures; those of the end wait until the last checkpoint is written, as Tune stops
        a trial there.

        Raises:
            UserError: trials cannot be ranked by what is no number.
        """
        self._heard = True
        if self.metric not in metrics:  # a term that is not computed yet ranks nothing
            return
        if not math.isfinite(metrics[self.metric]):
            figure = f"{self.metric} is {metrics[self.metric]} after {position} images"
            raise UserError(f"{figure}: these settings do not train")
        row = {"position": position, "seconds": round(seconds, 2), **metrics}
        if position < total:
            self._report(row)
        else:
            self._newest = row

    def conclude(self) -> None:
        """Report the end.

        Raises:
            UserError: the wall clock ended the trial before its first report, or none has what
                trials are ranked by.
        """
        if not self._newest and self._heard:
            raise UserError(
                f"a trial never computes {self.metric}: choose another --metric, or settings that "
                "need it"
            )
        if not self._newest:
            raise UserError(
                "schedule.minutes ended a trial before its first report: lower schedule.log_every"
            )
        self._report(self._newest, complete=True)

    def _report(self, row: dict[str, float], *, complete: bool = False) -> None:
        from ray import tune

        self._newest = row
        tune.report(
            {
                "position": row["position"],
                self.metric: row[self.metric],
                "row": row,
                "complete": complete,
            }
        )
