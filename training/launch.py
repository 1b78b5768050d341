"""From a configuration to a bundle: claims a run, has it trained, keeps its journal, collects what
it leaves.
"""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console

from pipelines.cluster import expect_ray, join_ray
from pipelines.storage.folder_lock import alone_in
from pipelines.storage.store import Store, join
from platforms.model_names import check_model_name
from training.checkpointing.bundles import fetch_bundle
from training.checkpointing.checkpoints import BUNDLE
from training.distributed.worker import LocalWorker
from training.job import Job
from training.loop.fit import Interrupted, Outcome
from training.loop.provenance import code_version
from training.run.attempt import Run, attempt
from training.run.errors import explaining
from training.run.run_record import RunRecord, claim, write_record
from training.run.signals import listening
from training.stages.build import caution, prepare
from training.tracking.journal import RunJournal, read_metrics
from training.tracking.mlflow_run import Tracker, forget_others

if TYPE_CHECKING:
    from training.run.ray_trainer import RayPlan

_BUSY = "is being trained by another process: wait, or choose another --run"
BEST = "best"  # folder of the best weights' bundle, if these are not the last


class Result(NamedTuple):
    """What a training left behind."""

    bundle: Path
    position: int  # images of each domain seen
    seconds: float
    complete: bool  # False: the wall clock ended it before its schedule
    planned: int  # images of each domain in the schedule


def train(
    job: Job,
    run_dir: Path,
    plan: "RayPlan | None" = None,
    *,
    storage: str | None = None,
    console: Console | None = None,
    profile: int = 0,
    register: str | None = None,
) -> Result:
    """Train to the end; the same call after an interruption continues from the last checkpoint.

    Args:
        job: what is trained on what.
        run_dir: the run's folder, made if absent.
        plan: how it is spread over a Ray cluster; None: in this process, without Ray.
        storage: folder or address of all runs' records and checkpoints, seen by all workers; None:
            the run's folder.
        console: where progress is shown; standard error if None.
        profile: steps of which a trace is written into the run's folder.
        register: model of MLflow's registry whose next version the best bundle is to be, the last
            one if none is best.

    Raises:
        UserError: no model can be registered by that name, the place holds a run of another
            configuration, another process trains it, the job's parts do not fit each other, or a
            TrainingError; nothing that was saved is lost.
        Interrupted: somebody asked for an end; the same call goes on.
    """
    if register is not None:
        check_model_name(register)  # now, not when it has trained
    folder = run_dir.absolute()
    run = Run(job, folder, join(storage, folder.name) if storage is not None else str(folder))
    with explaining(run.checkpoints), alone_in(folder, _BUSY):
        record = claim(job, Store(run.place), begun=_has_begun(run))
        if record.outcome is None and plan is not None:
            expect_ray(plan.address)
        forget_others(folder, record.tracking_tag)
        tags = {"stage": job.config.stage, "recipe": job.config.recipe, "data": job.data}
        tracker = Tracker(folder, tags, run_tag=record.tracking_tag)
        try:
            outcome = record.outcome or _fit(run, record, tracker, plan, console, profile)
            bundle = _collect(run)
            if record.outcome is None:
                tracker.end("FINISHED", bundle)
                write_record(Store(run.place), record.model_copy(update={"outcome": outcome}))
            if register is not None:
                best = folder / BEST
                tracker.register(register, best if best.exists() else bundle)
        finally:
            say(tracker.close(), console)
    return Result(bundle, *outcome, planned=job.config.schedule.images)


def _fit(
    run: Run,
    record: RunRecord,
    tracker: Tracker,
    plan: "RayPlan | None",
    console: Console | None,
    profile: int,
) -> Outcome:
    """Train, and tell the tracker how that ended unless it ended well."""
    job = run.job
    if tracker.is_new:
        tracker.config(job.config)
    tracker.begin()
    tracker.tag(_origin(record) | code_version())
    say(_plan(run, plan), console)
    try:
        if plan is not None:
            join_ray(plan.address)  # tokens are made there, too
        say(caution(job), console)
        prepare(job, workers=plan.workers if plan is not None else 0, console=console)
        with RunJournal(run.folder, tracker, console) as journal, listening(console) as interrupt:
            if plan is not None:
                from training.run.ray_trainer import fit_on_ray

                return fit_on_ray(run, journal, interrupt, plan, profile)
            return attempt(
                job,
                LocalWorker(
                    run.checkpoints,
                    journal,
                    accept_other_data=job.accept_other_data,
                    stop_asked=interrupt.asked,
                ),
                profile,
            )
    except BaseException as error:
        with suppress(OSError):  # on a full disk this cannot be written down either
            tracker.end(
                "KILLED" if isinstance(error, Interrupted | KeyboardInterrupt) else "FAILED"
            )
        raise


def _has_begun(run: Run) -> bool:
    """Whether there is anything that another run would have to be kept from."""
    return bool(run.checkpoints.positions() or read_metrics(run.folder))


def _collect(run: Run) -> Path:
    """Bring the bundles of a trained run into its folder; return the last weights'."""
    bundle = run.folder / BUNDLE
    fetch_bundle(run.checkpoints, "last", bundle)
    if not fetch_bundle(run.checkpoints, "best", run.folder / BEST):
        shutil.rmtree(run.folder / BEST, ignore_errors=True)
    return bundle


def _origin(record: RunRecord) -> dict[str, str]:
    """What decides the result beside the configuration, as tags."""
    found = {"data_sha256": record.identity["data"], "model_sha256": record.identity["model"]}
    return {name: value for name, value in found.items() if value is not None}


def _plan(run: Run, plan: "RayPlan | None") -> str:
    """What is about to be done, for whoever waits for the first report."""
    schedule = run.job.config.schedule
    end = (
        f" or {schedule.minutes:g} minutes, whichever is first"
        if schedule.minutes is not None
        else ""
    )
    where = "in this process" if plan is None else "on Ray, which takes some seconds to start"
    return f"{run.folder.name}: up to {schedule.images:,} images of each domain{end}, {where}"


def say(sentence: str, console: Console | None) -> None:
    """Print a sentence, if there is one, where progress is shown."""
    if sentence:
        (console or Console(stderr=True)).print(sentence, highlight=False, soft_wrap=True)
