"""The Ray cluster that work is given to."""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from errors import UserError, first_line
from platforms.ray_cluster import connect, expect
from vqi2i.modules import HOME, MODULES, finding_ours

_SUBMITTED = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # set within a job of `ray job submit`


def join_ray(address: str | None = None) -> Mapping[str, float]:
    """Use the Ray that this process has joined, or join or start one; return the resources of the
    whole cluster.

    Args:
        address: HOST:PORT of a cluster, or auto for this machine's; None: what RAY_ADDRESS says, or
            one of our own.

    Raises:
        UserError: no cluster answers there.
    """
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not ray.is_initialized():
        address = _wanted(address)
        own: dict[str, Any] = _lean() if address == "local" else {"runtime_env": _our_code()}
        connect(address, log_to_driver=False, logging_level=logging.WARNING, **own)
    return ray.cluster_resources()


def expect_ray(address: str | None = None) -> None:
    """Make sure that somebody is there for `join_ray` to join.

    Raises:
        UserError: nobody is.
    """
    import ray

    if not ray.is_initialized():
        expect(_wanted(address))


def _wanted(address: str | None) -> str:
    return address or os.environ.get("RAY_ADDRESS") or "local"


def processors() -> list[int]:
    """CPUs of each machine of the cluster that is alive."""
    import ray

    return [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]


def held() -> set[str]:
    """Names of the placement groups that hold resources of the cluster, or wait for them."""
    from ray.util import placement_group_table

    return {name for name, group in placement_group_table().items() if group["state"] != "REMOVED"}


def release(groups: Iterable[str]) -> None:
    """Give back what placement groups hold."""
    from ray import PlacementGroupID
    from ray.util.placement_group import PlacementGroup, remove_placement_group

    for name in groups:
        remove_placement_group(PlacementGroup(PlacementGroupID.from_hex(name)))


@contextmanager
def told_here() -> Iterator[None]:
    """Inside, tasks and actors are waited for: what they could not do is raised as if it had been
    tried here.

    Raises:
        UserError: theirs, or the processes that run them have died again and again.
        OSError: theirs.
        RayError: a fault of ours that they met, with its traceback.
    """
    from ray.exceptions import (
        NodeDiedError,
        OutOfDiskError,
        OutOfMemoryError,
        RayActorError,
        RayTaskError,
        WorkerCrashedError,
    )

    try:
        yield
    except RayTaskError as error:
        if isinstance(error.cause, UserError | OSError):
            raise error.cause from None
        raise
    except (
        RayActorError,
        WorkerCrashedError,
        OutOfMemoryError,
        OutOfDiskError,
        NodeDiedError,
    ) as error:
        if isinstance(error, RayActorError) and error.actor_init_failed:
            raise
        remedy = "the same command goes on; ask for fewer workers if memory is short"
        raise UserError(f"workers of Ray died ({first_line(error)}): {remedy}") from error


def in_actors(
    kind: type, arguments: Sequence[Any], call: str, jobs: Sequence[Any], workers: int
) -> Iterator[Any]:
    """What `kind(*arguments, device)` answers to `call(job)`, for every job, as they are done.

    Args:
        kind: a class; each actor holds one.
        arguments: of all of them; the device comes after them.
        call: name of its method.
        jobs: one call each.
        workers: actors, at most; each takes a CPU, and a GPU where there are some.

    Raises:
        UserError, OSError: theirs.
    """
    import ray
    from ray.util import ActorPool

    cluster = join_ray()
    gpu = cluster.get("GPU", 0) >= 1
    # an actor without a place would keep its job for ever
    room = int(cluster["GPU" if gpu else "CPU"])
    actor = ray.remote(num_cpus=1, num_gpus=1 if gpu else 0, max_restarts=2, max_task_retries=2)(
        kind
    )
    device = "cuda" if gpu else "cpu"
    actors = [actor.remote(*arguments, device) for _ in range(min(workers, room, len(jobs)))]
    answers = ActorPool(actors).map_unordered(
        lambda actor, job: getattr(actor, call).remote(job), list(jobs)
    )
    with told_here():
        yield from answers


def _lean() -> dict[str, Any]:
    """A Ray for this process alone, with fewer processes: each wakes a hundred times a second while
    training computes.

    A dashboard comes with `ray start --head` and RAY_ADDRESS=auto; nobody takes this machine away
    from under us.
    """
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    return {
        "include_dashboard": False,
        "runtime_env": {"worker_process_setup_hook": finding_ours()},
    }


def _our_code() -> dict[str, Any]:
    """The code for machines that need not have it; a submitted job has brought its own."""
    if _SUBMITTED in os.environ:
        return {"worker_process_setup_hook": finding_ours()}
    paths = (HOME / name if (HOME / name).is_dir() else HOME / f"{name}.py" for name in MODULES)
    return {
        "py_modules": list(map(str, paths)),
        "worker_process_setup_hook": finding_ours(shipped=True),
    }
