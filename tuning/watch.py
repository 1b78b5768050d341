"""What the searching process does with what trials tell Tune: figures to a file and MLflow, lines
to the terminal.
"""

import functools
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from rich.console import Console

from pipelines.storage.atomic_files import entries
from training.launch import say
from training.tracking.journal import RunJournal
from training.tracking.mlflow_run import Tracker, is_tracked
from tuning.failure import failure
from tuning.trial import TRIALS, as_settings, trial_folder

_log = logging.getLogger(__name__)
# seconds that a trial's end waits for MLflow; what it has not taken then waits for the search's end
_PATIENCE = 5.0


def _harmless(method: Callable[..., None]) -> Callable[..., None]:
    """Tune ends a search when a callback raises: note the trouble instead."""

    @functools.wraps(method)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            method(*args, **kwargs)
        except Exception:
            _log.warning("a report of a trial was lost, the search goes on", exc_info=True)

    return guarded


class TrialWatch(Callback):
    """Keeps each report of each trial once, also when a resumed trial repeats it."""

    def __init__(self, run_dir: Path, metric: str, parent_run: str, console: Console | None):
        self.run_dir = run_dir
        self.metric = metric
        self.parent_run = parent_run
        self.console = console
        self._journals: dict[str, RunJournal] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks and resumes with what it has pickled: leave out what belongs
        to this process.
        """
        return {**self.__dict__, "console": None, "_journals": {}}

    @_harmless
    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Open the trial's MLflow run, or the one it had before an interruption."""
        self._journals[trial.trial_id] = self._open(trial.trial_id, trial.config)
        self._say(trial.trial_id, " ".join(as_settings(trial.config)))

    @_harmless
    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Write a report down."""
        metrics = dict(result["row"])
        position, seconds = int(metrics.pop("position")), metrics.pop("seconds")
        self._journals[trial.trial_id].log(position, position, metrics, seconds)
        self._say(trial.trial_id, f"{position} images, {self.metric} {metrics[self.metric]:.4g}")

    @_harmless
    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Close the run of a trial that trained to its end or was stopped because others are
        better.
        """
        stopped_early = not trial.last_result.get("complete")
        tracker = self._journals[trial.trial_id].tracker
        if tracker is not None:
            tracker.tag({"stopped_early": str(stopped_early).lower()})
        self._close(trial.trial_id, "FINISHED")
        self._say(trial.trial_id, "stopped early" if stopped_early else "finished")

    @_harmless
    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Close the run of a trial that failed, and say why."""
        self._close(trial.trial_id, "FAILED")
        why = failure(trial.get_pickled_error() or trial.get_error() or "unknown")
        more = (
            f", a fault of vqi2i, not of yours: please report it with these lines\n{why.fault}"
            if why.fault
            else ""
        )
        self._say(trial.trial_id, f"failed: {why.sentence}{more}")

    @_harmless
    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Close the runs of trials that the search's own end has interrupted."""
        for trial_id in list(self._journals):
            self._close(trial_id, "KILLED")

    def _open(self, trial_id: str, settings: Mapping[str, Any]) -> RunJournal:
        folder = trial_folder(self.run_dir, trial_id)
        folder.mkdir(parents=True, exist_ok=True)
        tracker = Tracker(
            folder,
            {"trial": trial_id},
            name=f"{self.run_dir.name}-{trial_id}",
            parent=self.parent_run,
        )
        if tracker.is_new:
            tracker.settings(settings)
        tracker.begin()
        return RunJournal(folder, tracker, Console(quiet=True))

    def _close(self, trial_id: str, status: str) -> None:
        tracker = self._journals.pop(trial_id).tracker
        assert tracker is not None
        tracker.end(status)
        tracker.close(_PATIENCE)

    def _say(self, trial_id: str, text: str) -> None:
        self.console = self.console or Console(stderr=True)
        self.console.print(
            f"{self.run_dir.name} {trial_id}: {text}", markup=False, highlight=False, soft_wrap=True
        )


def close_forgotten(run_dir: Path, known: set[str]) -> None:
    """Close MLflow runs of trials that began too shortly before the search was killed for Tune to
    remember them.
    """
    for folder in tracked_trials(run_dir):
        if folder.name not in known:
            tracker = Tracker(folder, {})
            tracker.end("KILLED")
            tracker.close(_PATIENCE)


def upload(tracker: Tracker, run_dir: Path, console: Console | None) -> None:
    """Give MLflow what it has not taken of a search and its trials; say what is left."""
    for sentence in (
        tracker.close(),
        *(Tracker(folder, {}).close(_PATIENCE) for folder in tracked_trials(run_dir)),
    ):
        say(sentence, console)


def tracked_trials(run_dir: Path) -> list[Path]:
    """Folders of the trials of a search that have an MLflow run."""
    return [folder for folder in entries(run_dir / TRIALS) if is_tracked(folder)]
