"""From a space of settings to the best bundle: trials placed, stopped early, ranked."""

import functools
import logging
import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import RootModel
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch
from rich.console import Console

from errors import UserError
from pipelines.cluster import expect_ray, join_ray
from pipelines.storage.atomic_files import atomic, entries
from pipelines.storage.folder_lock import alone_in
from training.checkpointing.checkpoints import BUNDLE
from training.launch import say
from training.run.attempt import export_newest
from training.run.run_record import refuse_other_settings
from training.stages.build import caution, prepare
from training.tracking.journal import read_metrics
from training.tracking.mlflow_run import Tracker, forget_others
from tuning.failure import TrialFault, failure
from tuning.spaces import search_space
from tuning.study import Study, TrialRow, ranked
from tuning.trial import TRIALS, as_settings, forget_refusals, run_trial, trial_folder, trial_job
from tuning.watch import TrialWatch, close_forgotten, upload
from vqi2i.checking.frozen import Frozen
from vqi2i.checking.validation import parsed

RESULTS = "trials.json"
BEST = "best_settings.txt"
_RECORD = "search.json"
_RAY = "ray"  # Tune's own state
_BUSY = "is being searched by another process: wait, or choose another --run"
_REMEDY = "choose another --run, or delete this folder"
_TUNE = {
    "TUNE_GLOBAL_CHECKPOINT_S": "1",  # trials that Tune has not saved when it is killed are lost
    # the next three: we keep the figures and say what happens
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
}


class Found(NamedTuple):
    """What a search left behind."""

    bundle: Path  # of the best trial
    trials: list[TrialRow]  # best first


class SearchRecord(Frozen):
    """`search.json`: a search's identity, and whether it is over, to go on with it."""

    identity: dict[str, Any]
    finished: bool = False


class _Table(RootModel[list[TrialRow]]):
    """`trials.json`, best first."""


def search(
    study: Study, run_dir: Path, *, cpus_per_trial: int = 1, console: Console | None = None
) -> Found:
    """Run the trials; the same call after an interruption continues those that did not end.

    Args:
        study: what is searched for.
        run_dir: the search's folder, made if absent.
        cpus_per_trial: cores of a trial; as many trials run at once as the cluster has room for.
        console: where trials are followed; standard error if None.

    Raises:
        UserError: the folder holds another search, another process searches in it, the cluster has
            no room for a trial, or every
            trial failed.
        TrialFault: every trial failed, one of them by a fault of ours.
    """
    with alone_in(run_dir.absolute(), _BUSY):
        return _search(study, run_dir.absolute(), cpus_per_trial, console)


def _search(study: Study, run_dir: Path, cpus_per_trial: int, console: Console | None) -> Found:
    record = _claim(study, run_dir)
    if record is None or not record.finished:
        expect_ray()
    tags = {
        "kind": "search",
        "stage": study.job.config.stage,
        "space": study.space,
        "metric": study.metric,
    }
    tracker = Tracker(run_dir, tags)
    if record is not None and record.finished:
        upload(tracker, run_dir, console)
        table = run_dir / RESULTS
        return Found(run_dir / BUNDLE, parsed(_Table, table.read_bytes(), str(table), _REMEDY).root)
    if tracker.is_new:
        tracker.config(study.job.config)
    if record is None:
        record = SearchRecord(identity=study.identity())
        _write(run_dir / _RECORD, record.model_dump_json(indent=2))
    tracker.begin()
    try:
        say(caution(study.job), console)
        prepare(study.job, console=console)
        watch = TrialWatch(run_dir, study.metric, tracker.run_tag, console)
        rows = ranked(_fit(study, run_dir, cpus_per_trial, watch), study.mode)
        close_forgotten(run_dir, {row.trial for row in rows})
        bundle = _conclude(study, run_dir, rows)
    except BaseException as error:
        tracker.end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        upload(tracker, run_dir, console)
        raise
    assert rows[0].metric is not None  # otherwise it had failed
    tracker.log(rows[0].position, {study.metric: rows[0].metric})
    tracker.tag({"best_trial": rows[0].trial})
    tracker.end("FINISHED", bundle)
    _write(
        run_dir / _RECORD, record.model_copy(update={"finished": True}).model_dump_json(indent=2)
    )
    upload(tracker, run_dir, console)
    return Found(bundle, rows)


def _fit(study: Study, run_dir: Path, cpus_per_trial: int, watch: TrialWatch) -> list[TrialRow]:
    """Run Tune to its end, from where it was."""
    resources, room = _place(cpus_per_trial)
    forget_refusals(run_dir)
    trainable = tune.with_resources(
        functools.partial(
            run_trial, job=study.job, metric=study.metric, run_dir=run_dir, threads=cpus_per_trial
        ),
        resources,
    )
    state = run_dir / _RAY
    if tune.Tuner.can_restore(state) and any(state.glob("experiment_state*")):
        tuner = tune.Tuner.restore(str(state), trainable, resume_errored=True)
    else:
        tuner = _tuner(study, run_dir, trainable, watch, concurrent=min(room, study.trials))
    # Resumed trials repeat their reports, and Optuna need not say that it knows them.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The reported value is ignored", UserWarning)
        results = tuner.fit()
    rows = [_row(result, study.metric) for result in results]
    if results.num_terminated + results.num_errors < study.trials:
        raise KeyboardInterrupt  # Tune has caught it, and saved its state
    return rows


def _tuner(
    study: Study, run_dir: Path, trainable: Any, watch: TrialWatch, *, concurrent: int
) -> tune.Tuner:
    config = study.job.config
    images = config.schedule.images
    return tune.Tuner(
        trainable,
        param_space=search_space(config.stage, study.space),
        tune_config=tune.TuneConfig(
            metric=study.metric,
            mode=study.mode,
            num_samples=study.trials,
            max_concurrent_trials=concurrent,
            # NumPy's seeds have 32 bits.
            search_alg=OptunaSearch(seed=config.seed % 2**32),
            # The poorer half stops after a quarter, and again after a half of the schedule.
            scheduler=ASHAScheduler(
                time_attr="position",
                max_t=images,
                grace_period=max(1, images // 4),
                reduction_factor=2,
            ),
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name=_RAY,
            storage_path=str(run_dir),
            callbacks=[watch],
            verbose=0,
            # A trial whose process was killed goes on once.
            failure_config=tune.FailureConfig(max_failures=1),
        ),
    )


def _place(cpus_per_trial: int) -> tuple[dict[str, float], int]:
    """Start or join Ray; return a trial's resources and how many trials it has room for."""
    for name, value in _TUNE.items():
        os.environ.setdefault(name, value)
    for noisy in ("ray.tune", "optuna"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    cluster = join_ray()
    resources: dict[str, float] = {"CPU": cpus_per_trial}
    if cluster.get("GPU", 0) >= 1:
        resources["GPU"] = 1
    # By whichever resource runs out first.
    room = min(int(cluster.get(name, 0) // amount) for name, amount in resources.items())
    if room < 1:
        raise UserError(
            f"a trial wants {cpus_per_trial} cores, Ray has {cluster.get('CPU', 0):g}: lower "
            "--cpus-per-trial"
        )
    return resources, room


def _row(result: tune.Result, metric: str) -> TrialRow:
    figures = result.metrics or {}
    complete = "finished" if figures.get("complete") else "stopped early"
    assert result.config is not None
    failed = failure(result.error) if result.error else None
    return TrialRow(
        trial=Path(result.path).name,
        settings=result.config,
        metric=figures.get(metric),
        position=int(figures.get("position", 0)),
        status="failed" if failed else complete,
        error=failed.sentence if failed else None,
        fault=failed.fault if failed else "",
    )


def _conclude(study: Study, run_dir: Path, rows: Sequence[TrialRow]) -> Path:
    """Write the table, the best trial's bundle and its settings in the form that `--set` takes."""
    _write(run_dir / RESULTS, _Table(list(rows)).model_dump_json(indent=2))
    best = rows[0]
    bundle = run_dir / BUNDLE
    job = trial_job(study.job, best.settings)
    if best.status == "failed" or not export_newest(job, trial_folder(run_dir, best.trial), bundle):
        none = f"no trial of {run_dir} got to a checkpoint"
        if faults := [row.fault for row in rows if row.fault]:
            raise TrialFault(f"{none}; the first failed with:\n{faults[0]}")
        raise UserError(f"{none}; the first failed with: {best.error}")
    _write(run_dir / BEST, "".join(f"{setting}\n" for setting in as_settings(best.settings)))
    return bundle


def _claim(study: Study, run_dir: Path) -> SearchRecord | None:
    """The record of the search in `run_dir`, if it is this study's.

    A search none of whose trials has begun does not keep its name from another.
    """
    file = run_dir / _RECORD
    if not file.exists():
        return None
    record = parsed(SearchRecord, file.read_bytes(), str(file), _REMEDY)
    # What another study left before any trial began is swept away.
    if record.identity != study.identity() and not record.finished and not _has_begun(run_dir):
        for folder in (_RAY, TRIALS):
            shutil.rmtree(run_dir / folder, ignore_errors=True)
        forget_others(run_dir)
        return None
    begun_as = study.begun_as(record.identity)
    refuse_other_settings(run_dir, begun_as, study.identity(), held="search")
    return record


def _has_begun(run_dir: Path) -> bool:
    """Whether any trial came to a report or to a checkpoint."""
    return any(
        read_metrics(trial) or any(trial.glob("checkpoints/*.ckpt"))
        for trial in entries(run_dir / TRIALS)
    )


def _write(path: Path, text: str) -> None:
    with atomic(path) as stream:
        stream.write(text.encode())
