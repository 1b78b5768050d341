"""A training on the workers of Ray Train: placed, started again when they die, given up when that
does not help.
"""

import logging
import traceback
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from ray.train import UserCallback

from errors import UserError
from pipelines.cluster import held, join_ray, processors, release
from pipelines.storage.store import Store
from training.checkpointing.checkpoints import Checkpoints
from training.distributed.ray_worker import RayWorker
from training.job import Job
from training.loop.fit import Interrupted, Outcome
from training.run.attempt import Run, attempt, checkpoints_of
from training.run.errors import TrainingError, WorkerFault, explained, resumption
from training.run.run_record import RECORD
from training.run.signals import Interrupt, run_in_thread
from training.tracking.journal import RunJournal
from training.tracking.report_actor import ReportClient, Verdict, report_actor

if TYPE_CHECKING:
    from ray.train import ScalingConfig

_STARTS = 10  # attempts at placing workers, a minute each (RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S)
_log = logging.getLogger(__name__)


class RayPlan(NamedTuple):
    """How a training is spread over a cluster."""

    workers: int = 1
    most_workers: int | None = None  # as many as there is room for, up to this
    cpus_per_worker: int | None = None  # None: what the cluster has, shared out
    max_failures: int = 3  # in a row, without a new checkpoint in between
    address: str | None = (
        None  # of a cluster; None: the one that RAY_ADDRESS names, or one of this process
    )

    @classmethod
    def parse(cls, workers: str, **others: Any) -> "RayPlan":
        """From `N`, or `N:M` for at least N and at most M workers.

        Raises:
            UserError: it is neither.
        """
        least, _, most = workers.partition(":")
        try:
            plan = cls(int(least), int(most) if most else None, **others)
        except ValueError as error:
            raise UserError(
                f"--workers {workers} is no number: give N, or N:M for N to M workers"
            ) from error
        if plan.workers < 1 or (plan.most_workers or plan.workers) < plan.workers:
            raise UserError(f"--workers {workers} is no range: give N, or N:M with 1 <= N <= M")
        return plan


def fit_on_ray(
    run: Run, journal: RunJournal, interrupt: Interrupt, plan: RayPlan, profile: int
) -> Outcome:
    """Train on the workers of a plan, again from the newest checkpoint whenever some of them die.

    Args:
        run: what is trained; its place is seen by all workers' machines.
        journal: hears the reports.
        interrupt: passed on to the workers.
        plan: how many workers, and where.
        profile: steps of which a trace is kept.

    Raises:
        Interrupted: somebody asked for an end; a checkpoint is written.
        TrainingError: workers met something that a retry does not help, or died too often; nothing
            saved is lost.
        WorkerFault: they failed too often by a fault of ours.
    """
    from ray.exceptions import RayActorError
    from ray.train import FailureConfig, RunConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer

    gpus = int(join_ray(plan.address).get("GPU", 0))
    cpus = (
        1
        if gpus
        else plan.cpus_per_worker or shared_out(processors(), plan.most_workers or plan.workers)
    )
    if not _has_room(plan, cpus, gpus):
        _log.warning("%s: training waits for machines", _no_room(plan, cpus))
    before = held()
    with report_actor(journal, run.folder.name) as reports:
        trainer = TorchTrainer(
            _train_on_worker,
            train_loop_config={
                "job": run.job.model_dump_json(),
                "place": run.place,
                "reports": reports,
                "threads": cpus,
                "profile": profile,
                "elastic": plan.most_workers is not None,
            },
            scaling_config=_scaling(plan, cpus, gpus),
            # Ray Train keeps no checkpoints of ours: the workers share those in the run's own
            # place.
            run_config=RunConfig(
                name="ray",
                storage_path=str(run.folder),
                callbacks=[GiveUp(reports, run, plan.max_failures)],
                failure_config=FailureConfig(max_failures=-1, controller_failure_limit=_STARTS),
            ),
        )
        try:
            answer = run_in_thread(trainer.fit, interrupt, reports.stop.remote).return_value
        except (TrainingFailedError, RayActorError) as error:
            if _died_at_once(error):
                # Ray Train forgets the places of workers that die while they are started
                release(held() - before)
            raise _reason(reports, run.checkpoints, plan, cpus, error) from None
    assert answer is not None
    if isinstance(answer, int):
        raise Interrupted(answer)
    return Outcome(*answer)


def shared_out(cpus: Iterable[int], workers: int) -> int:
    """The most CPUs of one machine that each of some workers can have.

    Args:
        cpus: of each machine.
        workers: to be placed on them.
    """
    machines = tuple(cpus)
    sizes = range(max(machines, default=1), 0, -1)
    return next((size for size in sizes if sum(each // size for each in machines) >= workers), 1)


def active_workers(batch_size: int, accumulate: int, there: int) -> int:
    """How many of the workers there are can share a batch evenly."""
    return max(n for n in range(1, there + 1) if batch_size % (n * accumulate) == 0 or n == 1)


def _has_room(plan: RayPlan, cpus: int, gpus: int) -> bool:
    """Whether the machines that are there now can hold the least number of workers."""
    return (
        gpus >= plan.workers if gpus else sum(each // cpus for each in processors()) >= plan.workers
    )


def _no_room(plan: RayPlan, cpus: int) -> str:
    """That Ray is too small for a plan."""
    import ray

    have = ray.cluster_resources()
    wanted = (
        f"{plan.workers} workers with {cpus} CPUs each"
        if not have.get("GPU")
        else f"{plan.workers} GPUs"
    )
    return (
        f"Ray has {have.get('CPU', 0):g} CPUs and {have.get('GPU', 0):g} GPUs, too few for {wanted}"
    )


def _scaling(plan: RayPlan, cpus: int, gpus: int) -> "ScalingConfig":
    from ray.train import ScalingConfig

    many = plan.workers if plan.most_workers is None else (plan.workers, plan.most_workers)
    return ScalingConfig(
        num_workers=many, use_gpu=gpus > 0, resources_per_worker=None if gpus else {"CPU": cpus}
    )


def _train_on_worker(settings: dict[str, Any]) -> tuple[int | float | bool, ...] | int | None:
    """What each worker does; a number alone says where it was interrupted, None that it was not
    needed.
    """
    import ray
    import ray.train
    import torch

    torch.set_num_threads(settings["threads"])
    job = Job.model_validate_json(settings["job"])
    try:
        worker = _worker(job, settings["place"], settings["reports"], elastic=settings["elastic"])
        return tuple(attempt(job, worker, settings["profile"])) if worker is not None else None
    except Interrupted as interrupted:
        return interrupted.position
    except Exception as error:
        if (sentence := explained(error, checkpoints_of(job, settings["place"]))) is not None:
            ray.get(settings["reports"].give_up.remote(sentence))
        # Ray brings the error without where it arose
        error.add_note(traceback.format_exc().strip())
        raise


def _worker(job: Job, place: str, reports: Any, *, elastic: bool) -> RayWorker | None:
    """This process as a worker; None if the batch can be shared by fewer only."""
    import ray
    import ray.train
    import torch.distributed as dist

    store = Store(place)
    if store.read(RECORD) is None:
        node = ray.util.get_node_ip_address()
        raise UserError(
            f"{store.root} is not there on {node}: let --storage name a bucket, or a folder of "
            "all nodes"
        )
    there = ray.train.get_context().get_world_size()
    config = job.config
    active = (
        active_workers(config.batch_size, getattr(config, "accumulate", 1), there)
        if elastic
        else there
    )
    group = dist.new_group(range(active)) if active < there else None
    if ray.train.get_context().get_world_rank() >= active:
        return None
    driver, checkpoints = ReportClient(reports), checkpoints_of(job, place)
    return RayWorker(checkpoints, driver, active, group, accept_other_data=job.accept_other_data)


class GiveUp(UserCallback):
    """Ends a run when its workers have met what a retry does not help, or die again and again
    without progress.

    Args:
        reports: the run's report actor.
        run: whose checkpoints are looked at.
        max_failures: in a row, without a new checkpoint in between.
    """

    def __init__(self, reports: Any, run: Run, max_failures: int):
        self._reports = reports
        self._checkpoints = run.checkpoints
        self._limit = max_failures
        self._failures = 0
        self._position = -1

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Raise if it is over: Ray Train ends a run whose callback raises, and retries after all
        else.
        """
        import ray

        verdict: Any = ray.get(self._reports.verdict.remote())
        if verdict.why:
            raise TrainingError("a worker has said why")
        position = max(self._checkpoints.positions(), default=-1)
        self._failures = 1 if position > self._position else self._failures + 1
        self._position = position
        if self._failures > self._limit:
            why = (
                f"workers failed {self._failures} times without a new checkpoint "
                f"({resumption(self._checkpoints)})"
            )
            last, fault = _last(worker_exceptions.values())
            why += (
                f", the last time with:\n{last}"
                if fault
                else f", the last time with: {last.splitlines()[-1]}"
            )
            ray.get(self._reports.give_up.remote(why, fault))
            raise TrainingError(why)


def _last(failures: Iterable[Exception]) -> tuple[str, bool]:
    """What ended an attempt, and whether that is a fault of ours: what others meet when a worker
    dies is none.
    """
    from ray.exceptions import RayError
    from ray.train.v2._internal.exceptions import RayTrainError

    first, *_ = sorted(
        failures, key=lambda failure: not isinstance(failure, RayError | RayTrainError)
    )
    if isinstance(first, RayError | RayTrainError):
        return str(first).strip(), False
    return "".join(traceback.format_exception(first)).strip(), True


def _reason(
    reports: Any, checkpoints: Checkpoints, plan: RayPlan, cpus: int, error: Exception
) -> Exception:
    """What a run that has ended raises here."""
    import ray
    from ray.exceptions import RayActorError
    from ray.train import ControllerError

    verdict: Verdict = ray.get(reports.verdict.remote())
    if verdict.why:
        return (WorkerFault if verdict.fault else TrainingError)(verdict.why)
    if _died_at_once(error):
        return TrainingError(
            f"a worker has died as soon as it was started; {resumption(checkpoints)}"
        )
    if isinstance(error, ControllerError) and "Startup" in type(error.controller_failure).__name__:
        return TrainingError(f"{_no_room(plan, cpus)}: lower --workers or --cpus-per-worker")
    if isinstance(error, RayActorError):
        return TrainingError(
            f"the process that controls the workers has died; {resumption(checkpoints)}"
        )
    return error


def _died_at_once(error: Exception) -> bool:
    """Whether a worker has died between its start and the first thing that it was to do."""
    from ray.exceptions import RayActorError
    from ray.train import ControllerError

    return isinstance(error, ControllerError) and isinstance(
        error.controller_failure, RayActorError
    )
