"""The Ray Serve application: an ingress with the routes, and one autoscaled deployment per model."""

import asyncio
import logging
import math
import os
import socket
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Self

import ray
import torch
from fastapi import FastAPI
from pydantic import Field, model_validator
from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle

from errors import UserError
from serving import registry
from serving.api import make_api
from serving.engine import ComposeJob, Engine, Outcome, TranslateJob
from serving.problems import Problem
from serving.schema import Limits, ModelInfo, Strict, describe
from vqi2i import Translator, validation
from vqi2i.calls import CallLimits
from vqi2i.modules import finding_ours

ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
RETRIES = 2  # of a request whose replica died
_log = logging.getLogger(__name__)


class Settings(Strict):
    """How models are served."""

    max_batch_size: int = Field(default=8, gt=0, description="requests that are executed together")
    batch_wait_timeout_s: float = Field(default=0.01, ge=0, description="how long the first request waits for others")
    min_replicas: int = Field(default=1, gt=0, description="per model")
    max_replicas: int = Field(default=2, gt=0, description="per model")
    target_ongoing_requests: float = Field(
        default=4, gt=0, description="per replica; above it another replica is started"
    )
    max_queued_requests: int = Field(default=64, gt=0, description="waiting for a model; more are refused with 503")
    retry_after_s: float = Field(default=1, gt=0, description="what a refused client is told")
    num_cpus: float = Field(default=1, gt=0, description="that a replica reserves")
    num_gpus: float = Field(default=0, ge=0, description="that a replica reserves; above 0 the model runs on it")
    label_selector: dict[str, str] = Field(default={}, description="labels of the nodes that replicas may run on")
    threads: int = Field(default=1, gt=0, description="of PyTorch, per replica")
    rows_per_call: int = Field(default=4, gt=0, description="pictures per model call")
    pixels_per_call: int = Field(default=2**18, gt=0, description="pixels per model call; larger pictures run alone")
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _replicas(self) -> Self:
        if self.max_replicas < self.min_replicas:
            raise UserError(
                f"max_replicas is {self.max_replicas} but min_replicas {self.min_replicas}: raise the first"
            )
        return self


class ServeArgs(Settings):
    """Arguments of the application, also under `args` in a Serve config file."""

    models: dict[ModelName, str] = Field(min_length=1, description="bundle directories or MLflow URIs by name")


class Model:
    """One replica of one model: collects requests into batches and runs them on a thread of its own."""

    def __init__(self, model: str, settings: Settings):
        # One thread: the event loop stays free for health checks, and batches do not compete for the cores.
        self._thread = ThreadPoolExecutor(1, "model", torch.set_num_threads, (settings.threads,))
        device = "cuda" if settings.num_gpus else "cpu"
        limits = CallLimits(rows=settings.rows_per_call, pixels=settings.pixels_per_call)
        self._engine = Engine(Translator.load(registry.resolve(model), device, limits))
        batched: Any
        for batched in (self.translate, self.compose):
            batched.set_max_batch_size(settings.max_batch_size)
            batched.set_batch_wait_timeout_s(settings.batch_wait_timeout_s)

    @serve.batch
    async def translate(self, jobs: Sequence[TranslateJob]) -> list[Outcome]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._engine.translate, jobs)

    @serve.batch
    async def compose(self, jobs: Sequence[ComposeJob]) -> list[Outcome]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._engine.compose, jobs)


class ServeBackend:
    """Sends jobs to the models' deployments; a job whose replica dies goes to another one."""

    def __init__(self, models: Mapping[str, ModelInfo], handles: Mapping[str, DeploymentHandle]):
        self.models = models
        self._handles = handles

    async def translate(self, model: str, job: TranslateJob) -> Outcome:
        return await self._run(self._handles[model].translate, job)

    async def compose(self, model: str, job: ComposeJob) -> Outcome:
        return await self._run(self._handles[model].compose, job)

    async def ready(self) -> bool:
        """Asks the controller rather than the replicas, whose queues may be long."""
        application = serve.get_replica_context().app_name
        status = (await asyncio.to_thread(serve.status)).applications[application]
        replicas = (status.deployments[_deployment_name(name)].replica_states for name in self.models)
        return all(any(state == "RUNNING" and count for state, count in states.items()) for states in replicas)

    async def _run(self, method: Any, job: TranslateJob | ComposeJob) -> Outcome:
        for _ in range(1 + RETRIES):
            try:
                return await method.remote(job)
            except RayTaskError as error:
                if isinstance(error.cause, UserError):
                    raise error.cause from None
                raise
            except RayActorError:
                _log.warning("a replica died with a request; it is sent to another one")
            except BackPressureError as error:
                seconds = str(math.ceil(error.retry_after_s or 1))
                raise Problem(
                    503, f"too many requests are waiting: try again in {seconds} s", {"Retry-After": seconds}
                ) from error
        raise Problem(503, "the model keeps failing: try again in a moment", {"Retry-After": "5"})


@serve.ingress()
class Ingress:
    """The routes; decodes and encodes images, holds no model."""

    def __init__(self, models: dict[str, ModelInfo], limits: Limits, handles: dict[str, DeploymentHandle]):
        self._backend = ServeBackend(models, handles)
        self._limits = limits

    def __serve_build_asgi_app__(self) -> FastAPI:
        return make_api(self._backend, self._limits)


def build(args: dict[str, Any]) -> serve.Application:
    """Build the application from `ServeArgs`; also the `import_path` of Serve config files: `serving.app:build`.

    Raises:
        UserError: an argument is unknown or out of range, or a model does not exist or is no bundle.
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
        max_ongoing_requests=2 * settings.max_batch_size,  # one batch runs while the next one gathers
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


def run(
    models: Mapping[str, str | Path], *, host: str = "127.0.0.1", port: int = 8000,
    settings: Settings | None = None, request_timeout_s: float | None = 300,
) -> str:  # fmt: skip
    """Serve models in the background and return the URL; Ray is started on this machine if there is none.

    Args:
        models: bundle directories or MLflow URIs by name.
        host: address to listen on; "0.0.0.0" for every network. There is no authentication: put a proxy in front.
        port: TCP port to listen on.
        settings: batching, replicas and resources.
        request_timeout_s: a request that takes longer is answered with 408.

    Raises:
        UserError: the port is taken, or a model does not exist or is damaged.
    """
    application = build({"models": {n: str(m) for n, m in models.items()}, **(settings or Settings()).model_dump()})
    _check_port(host, port)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not ray.is_initialized():
        workers = {"worker_process_setup_hook": finding_ours()}
        ray.init(address=os.environ.get("RAY_ADDRESS", "local"), runtime_env=workers)
    serve.start(http_options={"host": host, "port": port, "request_timeout_s": request_timeout_s})
    try:
        serve.run(application, name="vqi2i")
    except RuntimeError:  # a replica could not start; what is wrong with its model, this process meets as well
        for model in models.values():
            Translator.load(registry.resolve(str(model)))
        raise
    url = f"http://{host}:{port}"
    _log.info("serving %s at %s; try %s/docs", ", ".join(models), url, url)
    return url


def _check_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(
                f"cannot listen on {host}:{port} ({error.strerror}): choose another port or host"
            ) from error
