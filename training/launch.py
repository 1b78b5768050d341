"""From a configuration to a bundle: claims a run, places its workers, keeps its journal, collects the result."""

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from pipelines.cluster import join_ray
from pipelines.files import atomic
from training.checkpoint import BUNDLE, CheckpointFolder, take_bundle
from training.data_state import IN_IDENTITY, REMEDY
from training.job import Job
from training.journal import RunJournal
from training.loop import Outcome, fit
from training.stages import make_stage, prepare
from training.tracking import Tracker, flat
from training.worker import Journal, LocalWorker, RayWorker, keep_freed_memory
from vqi2i.config import Frozen

_log = logging.getLogger(__name__)


class Result(NamedTuple):
    """What a training left behind."""

    bundle: Path
    position: int  # images of each domain seen
    seconds: float
    complete: bool  # False: the wall clock ended it before its schedule


class RunRecord(Frozen):
    """`run.json`: a run's identity and how far it is, so that the same command goes on with it."""

    identity: dict[str, Any]
    mlflow_run: str
    outcome: Outcome | None = None


def train(job: Job, run_dir: Path, *, workers: int = 1, local: bool = False, console: Console | None = None) -> Result:
    """Train to the end; the same call after an interruption continues from the last checkpoint.

    Args:
        job: what is trained on what.
        run_dir: the run's folder, made if absent.
        workers: processes of a Ray Train run.
        local: train in this process, without Ray.
        console: where progress is shown; standard error if None.

    Raises:
        ValueError: the folder holds a run of another configuration, or the job's parts do not fit each other.
    """
    run_dir = run_dir.absolute()
    run_dir.mkdir(parents=True, exist_ok=True)
    record = _claim(job, run_dir)
    bundle = run_dir / BUNDLE
    if record is not None and record.outcome is not None:
        return Result(bundle, *record.outcome)
    tags = {"stage": job.config.stage, "recipe": job.config.recipe, "data": job.data}
    tracker = Tracker(run_dir.name, tags, record.mlflow_run if record else None)
    if record is None:
        record = RunRecord(identity=job.identity(), mlflow_run=tracker.run_id)
        _write_record(run_dir, record)
        tracker.config(job.config)
    try:
        prepare(job, workers=0 if local else workers, console=console)
        with RunJournal(run_dir, tracker, console) as journal:
            outcome, checkpoint = (
                fit_here(job, run_dir, journal) if local else _fit_on_ray(job, run_dir, journal, workers)
            )
    except BaseException:
        tracker.end("FAILED")
        raise
    take_bundle(checkpoint / BUNDLE, bundle)
    tracker.end("FINISHED", bundle)
    _write_record(run_dir, record.model_copy(update={"outcome": outcome}))
    return Result(bundle, *outcome)


def fit_here(job: Job, run_dir: Path, journal: Journal) -> tuple[Outcome, Path]:
    """Train in this process, with checkpoints in `run_dir`; return the outcome and the last checkpoint."""
    keep_freed_memory()
    checkpoints = CheckpointFolder(run_dir / "checkpoints", job.config.schedule.keep_checkpoints)
    worker = LocalWorker(checkpoints, journal, accept_other_data=job.accept_other_data)
    stage = make_stage(job, worker)
    outcome = fit(stage, worker, job.config.schedule, stage.images_per_position)
    return outcome, checkpoints.all()[-1]


def _fit_on_ray(job: Job, run_dir: Path, journal: RunJournal, workers: int) -> tuple[Outcome, Path]:
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from training.mailbox import mailbox

    cluster = join_ray()
    gpus = int(cluster.get("GPU", 0))
    cpus = 1 if gpus else max(1, int(cluster["CPU"]) // workers)
    # A job that cannot be placed would otherwise be retried for ever.
    failures = FailureConfig(max_failures=3, controller_failure_limit=3)
    checkpoints = CheckpointConfig(num_to_keep=job.config.schedule.keep_checkpoints)
    with mailbox(journal) as letters:
        result = TorchTrainer(
            _train_on_worker,
            train_loop_config={"job": job.model_dump_json(), "mailbox": letters, "threads": cpus},
            scaling_config=ScalingConfig(
                num_workers=workers, use_gpu=gpus > 0, resources_per_worker=None if gpus else {"CPU": cpus}
            ),
            run_config=RunConfig(
                name="ray", storage_path=str(run_dir), checkpoint_config=checkpoints, failure_config=failures
            ),
        ).fit()
    if result.checkpoint is None:
        raise RuntimeError(f"{run_dir}: Ray Train ended without a checkpoint; its logs say why")
    assert result.return_value is not None
    return Outcome(*result.return_value), Path(result.checkpoint.path)


def _train_on_worker(settings: dict[str, Any]) -> tuple[int | float | bool, ...]:
    """What each worker of a Ray Train run does."""
    import torch

    torch.set_num_threads(settings["threads"])
    keep_freed_memory()
    job = Job.model_validate_json(settings["job"])
    worker = RayWorker(settings["mailbox"], accept_other_data=job.accept_other_data)
    stage = make_stage(job, worker)
    return tuple(fit(stage, worker, job.config.schedule, stage.images_per_position))


def _claim(job: Job, run_dir: Path) -> RunRecord | None:
    """The record of the run in `run_dir`, if it is this job's."""
    file = run_dir / "run.json"
    if not file.exists():
        return None
    record = RunRecord.model_validate_json(file.read_text())
    now = job.identity()
    refuse_other_settings(run_dir, record.identity, now, accepted=IN_IDENTITY if job.accept_other_data else frozenset())
    if record.outcome is None and record.identity != now:
        record = record.model_copy(update={"identity": now})
        _write_record(run_dir, record)
    return record


def _write_record(run_dir: Path, record: RunRecord) -> None:
    with atomic(run_dir / "run.json") as stream:
        stream.write(record.model_dump_json(indent=2).encode())


def refuse_other_settings(
    run_dir: Path, before: Mapping[str, Any], now: Mapping[str, Any], *, held: str = "run",
    accepted: Collection[str] = (),
) -> None:  # fmt: skip
    """Raise a ValueError that names the settings if what a folder holds was started with others.

    Args:
        run_dir: the folder.
        before: identity of what it holds.
        now: identity of what is wanted.
        held: what it holds, for the message.
        accepted: names that may differ.
    """
    then, wanted = dict(flat(before)), dict(flat(now))
    differing = sorted(name for name in then.keys() | wanted.keys() if then.get(name) != wanted.get(name))
    if refused := [name for name in differing if name not in accepted]:
        only_data = held == "run" and IN_IDENTITY.issuperset(refused)
        remedy = f"choose another --run, {REMEDY}" if only_data else "choose another --run, or delete it"
        raise ValueError(f"{run_dir} holds a {held} with other settings ({', '.join(refused[:5])}): {remedy}")
