"""The Ray Serve application: an ingress with the routes, and one autoscaled deployment per
model.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Self, TypeAlias, TypeVar

import torch
from fastapi import FastAPI
from pydantic import Field, model_validator
from ray import serve
from ray.serve.handle import DeploymentHandle

from errors import UserError
from serving import names, registry
from serving.engine import ComposeJob, Engine, GivenUp, JobResult, TranslateJob
from serving.http.api import make_api
from serving.http.schema import Limits, ModelInfo, Strict, describe
from serving.sender import Sender
from vqi2i import Translator
from vqi2i.checking import validation
from vqi2i.networks.batching import CallLimits

ModelName = Annotated[str, Field(pattern=f"^{names.PATTERN}$")]
AnyJob = TypeVar("AnyJob", TranslateJob, ComposeJob)
_Compute: TypeAlias = Callable[[Sequence[AnyJob], Sequence[GivenUp]], list[JobResult]]


class Settings(Strict):
    """How models are served."""

    max_batch_size: int = Field(default=8, gt=0, description="requests that are executed together")
    batch_wait_timeout_s: float = Field(
        default=0.01, ge=0, description="how long the first request waits for others"
    )
    min_replicas: int = Field(default=1, gt=0, description="per model")
    max_replicas: int = Field(default=2, gt=0, description="per model")
    target_ongoing_requests: float = Field(
        default=4, gt=0, description="per replica; above it another replica is started"
    )
    max_queued_requests: int = Field(
        default=64, gt=0, description="waiting for a model; more are refused with 503"
    )
    retry_after_s: float = Field(default=1, gt=0, description="what a refused client is told")
    num_cpus: float = Field(default=1, gt=0, description="that a replica reserves")
    num_gpus: float = Field(
        default=0, ge=0, description="that a replica reserves; above 0 the model runs on it"
    )
    label_selector: dict[str, str] = Field(
        default={}, description="labels of the nodes that replicas may run on"
    )
    threads: int = Field(default=1, gt=0, description="of PyTorch, per replica")
    rows_per_call: int = Field(default=4, gt=0, description="pictures per model call")
    pixels_per_call: int = Field(
        default=2**18, gt=0, description="pixels per model call; larger pictures run alone"
    )
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _replicas(self) -> Self:
        if self.max_replicas < self.min_replicas:
            raise UserError(
                f"max_replicas is {self.max_replicas} but min_replicas {self.min_replicas}: raise "
                "the first"
            )
        return self


class ServeArgs(Settings):
    """Arguments of the application, also under `args` in a Serve config file."""

    models: dict[ModelName, str] = Field(
        min_length=1, description="bundle directories or MLflow URIs by name"
    )


class Model:
    """One replica of one model: collects requests into batches and runs them on a thread of its
    own.

    Large requests run one by one on another thread, beside the batches. A request that is
    cancelled, since its client has gone or was told 408, ends what is computed for it.
    """

    def __init__(self, model: str, settings: Settings):
        # Two threads: the event loop stays free for health checks, and batches do not compete for
        # the cores.
        self._batches, self._large = (
            ThreadPoolExecutor(1, name, torch.set_num_threads, (settings.threads,))
            for name in ("batches", "large")
        )
        device = "cuda" if settings.num_gpus else "cpu"
        limits = CallLimits(rows=settings.rows_per_call, pixels=settings.pixels_per_call)
        translator = Translator.load(registry.resolve(model), device, limits)
        self._engine = Engine(translator, settings.limits.max_seconds)
        batched: Any
        for batched in (self._translated, self._composed):
            batched.set_max_batch_size(settings.max_batch_size)
            batched.set_batch_wait_timeout_s(settings.batch_wait_timeout_s)

    async def translate(self, job: TranslateJob) -> JobResult:
        return await self._run(job, self._translated, self._engine.translate)

    async def compose(self, job: ComposeJob) -> JobResult:
        return await self._run(job, self._composed, self._engine.compose)

    @serve.batch
    async def _translated(self, orders: Sequence["_Order[TranslateJob]"]) -> list[JobResult]:
        return await _computed(self._batches, self._engine.translate, orders)

    @serve.batch
    async def _composed(self, orders: Sequence["_Order[ComposeJob]"]) -> list[JobResult]:
        return await _computed(self._batches, self._engine.compose, orders)

    async def _run(self, job: AnyJob, batched: Any, alone: _Compute[AnyJob]) -> JobResult:
        order = _Order(job, threading.Event())
        try:
            return await (self._computed_alone(order, alone) if job.alone else batched(order))
        except asyncio.CancelledError:
            order.given_up.set()
            raise

    async def _computed_alone(
        self, order: "_Order[AnyJob]", compute: _Compute[AnyJob]
    ) -> JobResult:
        (outcome,) = await _computed(self._large, compute, [order])
        return outcome


@dataclass(frozen=True)
class _Order(Generic[AnyJob]):
    """A job at its replica."""

    job: AnyJob
    given_up: threading.Event  # set when nobody waits for it any more


async def _computed(
    thread: ThreadPoolExecutor, compute: _Compute[AnyJob], orders: Sequence[_Order[AnyJob]]
) -> list[JobResult]:
    jobs, given_up = [order.job for order in orders], [order.given_up.is_set for order in orders]
    return await asyncio.get_running_loop().run_in_executor(thread, compute, jobs, given_up)


class ServeBackend:
    """Sends jobs to the models' deployments."""

    def __init__(self, models: Mapping[str, ModelInfo], handles: Mapping[str, DeploymentHandle]):
        self.models = models
        self._senders = {name: Sender(handle) for name, handle in handles.items()}

    async def translate(self, model: str, job: TranslateJob) -> JobResult:
        return await self._senders[model].send("translate", job)

    async def compose(self, model: str, job: ComposeJob) -> JobResult:
        return await self._senders[model].send("compose", job)

    async def ready(self) -> bool:
        """Asks the controller rather than the replicas, whose queues may be long."""
        application = serve.get_replica_context().app_name
        status = (await asyncio.to_thread(serve.status)).applications[application]
        replicas = (
            status.deployments[_deployment_name(name)].replica_states for name in self.models
        )
        return all(
            any(state == "RUNNING" and count for state, count in states.items())
            for states in replicas
        )


@serve.ingress()
class Ingress:
    """The routes; decodes and encodes images, holds no model."""

    def __init__(
        self, models: dict[str, ModelInfo], limits: Limits, handles: dict[str, DeploymentHandle]
    ):
        self._backend = ServeBackend(models, handles)
        self._limits = limits

    def __serve_build_asgi_app__(self) -> FastAPI:
        return make_api(self._backend, self._limits)


def build(args: dict[str, Any]) -> serve.Application:
    """Build the application from `ServeArgs`; also the `import_path` of Serve config files:
    `serving.app:build`.

    Raises:
        UserError: an argument is unknown or out of range, or a model does not exist or is no
            bundle.
    """
    checked = validation.checked(ServeArgs, args, "these models cannot be served so")
    sources = {name: registry.pin(model) for name, model in checked.models.items()}
    infos = {name: describe(name, registry.resolve(source)) for name, source in sources.items()}
    models = {name: _model_deployment(name, source, checked) for name, source in sources.items()}
    ingress = serve.deployment(
        name="ingress",
        max_ongoing_requests=256,
        ray_actor_options={"num_cpus": 0},  # mostly waits; the cores belong to the models
    )
    return ingress(Ingress).bind(infos, checked.limits, models)


def _deployment_name(model: str) -> str:
    return f"model-{model}"


def _model_deployment(name: str, source: str, args: ServeArgs) -> serve.Application:
    settings = Settings(**args.model_dump(exclude={"models"}))
    deployment = serve.deployment(
        name=_deployment_name(name),
        max_ongoing_requests=2
        * settings.max_batch_size,  # one batch runs while the next one gathers
        max_queued_requests=settings.max_queued_requests,
        backpressure_config={"status_code": 503, "retry_after_s": settings.retry_after_s},
        autoscaling_config={
            "min_replicas": settings.min_replicas,
            "max_replicas": settings.max_replicas,
            "target_ongoing_requests": settings.target_ongoing_requests,
            "upscale_delay_s": 5,
            "look_back_period_s": 15,  # must be longer than the interval of the measurements, 10 s
        },
        ray_actor_options={
            "num_cpus": settings.num_cpus,
            "num_gpus": settings.num_gpus,
            "label_selector": settings.label_selector,
            "runtime_env": {"env_vars": registry.environment(source)},
        },
    )
    return deployment(Model).bind(source, settings)
