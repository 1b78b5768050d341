"""From a configuration to a bundle: claims a run, places its workers, keeps its journal, collects the result."""

import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from imaging.codec import Pixels
from pipelines.cluster import join_ray
from pipelines.files import atomic
from training.bundles import fetch_bundle, leave_bundles
from training.checkpoint import BUNDLE, Checkpoints
from training.data_state import IN_IDENTITY, REMEDY
from training.interrupt import Interrupt, Interrupted, listening, patiently
from training.job import Job
from training.journal import RunJournal
from training.loop import Outcome, fit
from training.provenance import code_version
from training.stage1 import Stage1
from training.stage2 import Stage2
from training.stages import make_stage, prepare
from training.tracking import Tracker, flat
from training.worker import Journal, LocalWorker, RayWorker, Start, Worker, keep_freed_memory
from vqi2i.config import Frozen

BEST = "best"  # folder of the best weights' bundle, if these are not the last


class Result(NamedTuple):
    """What a training left behind."""

    bundle: Path
    position: int  # images of each domain seen
    seconds: float
    complete: bool  # False: the wall clock ended it before its schedule


class RunRecord(Frozen):
    """`run.json`: a run's identity and how far it is, so that the same command goes on with it."""

    identity: dict[str, Any]
    outcome: Outcome | None = None


def train(
    job: Job, run_dir: Path, *, workers: int = 1, local: bool = False, console: Console | None = None,
    profile: int = 0, register: str = "",
) -> Result:  # fmt: skip
    """Train to the end; the same call after an interruption continues from the last checkpoint.

    Args:
        job: what is trained on what.
        run_dir: the run's folder, made if absent.
        workers: processes of a Ray Train run.
        local: train in this process, without Ray.
        console: where progress is shown; standard error if None.
        profile: steps of which a trace is written into the run's folder.
        register: model of MLflow's registry whose next version the best bundle is to be, the last one if none is best.

    Raises:
        ValueError: the folder holds a run of another configuration, or the job's parts do not fit each other.
        Interrupted: somebody asked for an end; the same call goes on.
    """
    run_dir = run_dir.absolute()
    run_dir.mkdir(parents=True, exist_ok=True)
    record = _claim(job, run_dir)
    bundle = run_dir / BUNDLE
    tracker = Tracker(run_dir, {"stage": job.config.stage, "recipe": job.config.recipe, "data": job.data})
    if record is not None and record.outcome is not None:
        _conclude(tracker, run_dir, register, console)
        return Result(bundle, *record.outcome)
    if tracker.is_new:
        tracker.config(job.config)
    if record is None:
        record = RunRecord(identity=job.identity())
        _write_record(run_dir, record)
    tracker.begin()
    tracker.tag(_origin(record) | code_version())
    checkpoints = checkpoints_of(job, run_dir)
    try:
        prepare(job, workers=0 if local else workers, console=console)
        with RunJournal(run_dir, tracker, console) as journal, listening(console) as interrupt:
            if local:
                outcome = _fit_and_export(job, LocalWorker(
                    checkpoints, journal, accept_other_data=job.accept_other_data, stop_asked=interrupt.asked
                ), profile)  # fmt: skip
            else:
                outcome = _fit_on_ray(job, run_dir, journal, workers, interrupt, profile)
    except BaseException as error:
        tracker.end("KILLED" if isinstance(error, Interrupted | KeyboardInterrupt) else "FAILED")
        say(tracker.close(), console)
        raise
    fetch_bundle(checkpoints, "last", bundle)
    if not fetch_bundle(checkpoints, "best", run_dir / BEST):
        shutil.rmtree(run_dir / BEST, ignore_errors=True)
    tracker.end("FINISHED", bundle)
    _write_record(run_dir, record.model_copy(update={"outcome": outcome}))
    _conclude(tracker, run_dir, register, console)
    return Result(bundle, *outcome)


def _origin(record: RunRecord) -> dict[str, str]:
    """What decides the result beside the configuration, as tags."""
    found = {"data_sha256": record.identity["data"], "model_sha256": record.identity["model"]}
    return {name: value for name, value in found.items() if value is not None}


def _conclude(tracker: Tracker, run_dir: Path, register: str, console: Console | None) -> None:
    """Register what a finished run left, and have its last reports uploaded."""
    if register:
        best = run_dir / BEST
        tracker.register(register, best if best.exists() else run_dir / BUNDLE)
    say(tracker.close(), console)


def say(sentence: str, console: Console | None) -> None:
    """Print a sentence, if there is one, where progress is shown."""
    if sentence:
        (console or Console(stderr=True)).print(sentence, highlight=False, soft_wrap=True)


def checkpoints_of(job: Job, run_dir: Path) -> Checkpoints:
    """Where the checkpoints of a run lie."""
    return Checkpoints.of(job.config.schedule, run_dir / "checkpoints")


def fit_here(job: Job, run_dir: Path, journal: Journal) -> Outcome:
    """Train in this process, with checkpoints in `run_dir`."""
    worker = LocalWorker(checkpoints_of(job, run_dir), journal, accept_other_data=job.accept_other_data)
    return _fit(job, worker, profile=0)[0]


def export_newest(job: Job, run_dir: Path, target: Path) -> bool:
    """Write the bundle of the newest checkpoint in `run_dir`; False if there is none."""
    checkpoints = checkpoints_of(job, run_dir)
    if (snapshot := checkpoints.newest()) is None:
        return False
    stage = make_stage(job, LocalWorker(checkpoints, _Silence()))
    snapshot.restore(stage, accept_other_data=job.accept_other_data)
    stage.export(target)
    return True


def _fit(job: Job, worker: Worker, profile: int) -> tuple[Outcome, Stage1 | Stage2]:
    keep_freed_memory()
    stage = make_stage(job, worker)
    return fit(stage, worker, job.config.schedule, stage.images_per_position, profile=profile), stage


def _fit_and_export(job: Job, worker: Worker, profile: int) -> Outcome:
    """Train on one of the workers; the first leaves bundles beside the checkpoints."""
    outcome, stage = _fit(job, worker, profile)
    if worker.rank == 0:
        leave_bundles(stage, worker.checkpoints)
    return outcome


def _fit_on_ray(
    job: Job, run_dir: Path, journal: RunJournal, workers: int, interrupt: Interrupt, profile: int
) -> Outcome:  # fmt: skip
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from training.mailbox import mailbox

    cluster = join_ray()
    gpus = int(cluster.get("GPU", 0))
    cpus = 1 if gpus else max(1, int(cluster["CPU"]) // workers)
    # A job that cannot be placed would otherwise be retried for ever.
    failures = FailureConfig(max_failures=3, controller_failure_limit=3)
    with mailbox(journal, run_dir.name) as letters:
        trainer = TorchTrainer(
            _train_on_worker,
            train_loop_config={
                "job": job.model_dump_json(), "run_dir": str(run_dir), "mailbox": letters, "threads": cpus,
                "profile": profile,
            },
            scaling_config=ScalingConfig(
                num_workers=workers, use_gpu=gpus > 0, resources_per_worker=None if gpus else {"CPU": cpus}
            ),
            # Ray Train keeps no checkpoints of ours: the workers share those in the run's own place.
            run_config=RunConfig(name="ray", storage_path=str(run_dir), failure_config=failures),
        )  # fmt: skip
        answer = patiently(trainer.fit, interrupt, letters.stop.remote).return_value
    assert answer is not None
    if isinstance(answer, int):
        raise Interrupted(answer)
    return Outcome(*answer)


def _train_on_worker(settings: dict[str, Any]) -> tuple[int | float | bool, ...] | int:
    """What each worker of a Ray Train run does; a number alone says where it was interrupted."""
    import torch

    torch.set_num_threads(settings["threads"])
    job = Job.model_validate_json(settings["job"])
    checkpoints = checkpoints_of(job, Path(settings["run_dir"]))
    worker = RayWorker(checkpoints, settings["mailbox"], accept_other_data=job.accept_other_data)
    try:
        return tuple(_fit_and_export(job, worker, settings["profile"]))
    except Interrupted as interrupted:
        return interrupted.position


class _Silence:
    """A journal that nobody reads."""

    def begin(self, start: Start, facts: Mapping[str, str]) -> None:
        """Let it go."""

    def log(self, position: int, total: int, metrics: Mapping[str, float], seconds: float) -> None:
        """Let it go."""

    def show(self, position: int, pictures: Mapping[str, Pixels]) -> None:
        """Let it go."""

    def keep(self, name: str, content: bytes) -> None:
        """Let it go."""


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
