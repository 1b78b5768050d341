"""What tests of several packages share."""

import secrets
import shutil
import time
from collections.abc import Iterator
from functools import partialmethod
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch

from pipelines.cluster import held, release
from pipelines.images_to_shards import build_shards
from pipelines.synthetic.dataset import DOMAINS, synthesize
from tests.pipelines import hostile
from tests.pipelines.hostile import Corpus
from tests.pretend_gpu import PretendGPU, pretended
from tests.servers import s3_server
from vqi2i import Translator
from vqi2i.config import NetworkConfig, PriorConfig
from vqi2i.networks.autoencoder import Autoencoder
from vqi2i.priors.prior import build_prior
from vqi2i.priors.style_prior import StylePrior

TINY = NetworkConfig(
    domains=("summer", "winter"),
    resolution=32,
    patch=2,
    base_channels=8,
    channel_multipliers=(1, 1),
    num_res_blocks=1,
    z_channels=8,
    embed_dim=8,
    codebook_size=16,
    style_channels=4,
    num_style_blocks=1,
)
RAY_CPUS = 4
RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "60",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # a process more for every group of workers
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # at 15, workers would get what the rest of the suite leaves
}
TINY_PRIOR = PriorConfig(num_layers=1, num_heads=2, width=16, window=(8, 8), upwards=True)


def untrained(*, prior: bool = True, upwards: bool = True) -> Translator:
    """A very small model with random weights, the same at every call."""
    config = TINY_PRIOR.model_copy(update={"upwards": upwards})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        styles = StylePrior({domain: torch.randn(5, TINY.style_dim) for domain in TINY.domains})
        model = Autoencoder(TINY)
        return Translator(
            model, styles, build_prior(config, TINY) if prior else None, {"recipe": "untrained"}
        )


def untrained_masked(**changes: object) -> Translator:
    """The same with a prior that sees all sides."""
    translator = untrained(prior=False)
    masked = {"kind": "masked", "positions": "rotary", "upwards": False}
    config = PriorConfig.model_validate(TINY_PRIOR.model_dump() | masked | changes)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        translator.prior = build_prior(config, TINY).eval().requires_grad_(False)
    return translator


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundle of a very small model with random weights: domains summer and winter, with a prior."""
    path = tmp_path_factory.mktemp("bundles") / "tiny"
    untrained().save(path)
    return path


@pytest.fixture(scope="session")
def tiny_bundle_without_prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, but stage 2 was not trained."""
    path = tmp_path_factory.mktemp("bundles") / "tiny-without-prior"
    untrained(prior=False).save(path)
    return path


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty landscapes of each season, 32 px."""
    root = tmp_path_factory.mktemp("data")
    synthesize(root / "images", pairs=20, size=32, tests=1, wide=0)
    build_shards(
        {domain: root / "images/train" / domain for domain in DOMAINS}, out=root / "shards", size=32
    )
    return root / "shards"


@pytest.fixture(scope="session")
def mlflow_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of MLflow with nothing in it, to be copied: making its tables takes seconds."""
    from training.tracking.mlflow_client import connect

    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    connect(f"sqlite:///{path}")
    return path


@pytest.fixture
def new_store(mlflow_tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an MLflow store of the test's own, which is the one in use."""
    shutil.copy(mlflow_tables, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


@pytest.fixture
def no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if `vqi2i[metrics]` were not installed."""

    def absent(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("evaluation.networks.weights.distribution", absent)


@pytest.fixture(scope="session")
def hostile_images(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """A folder of everything that people's image folders hold."""
    return hostile.build(tmp_path_factory.mktemp("hostile") / "in")


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The query that leads an s3:// address to this test run's server."""
    with s3_server() as query:
        yield query


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendGPU]:
    """A GPU that computes on the CPU and refuses what a real one refuses."""
    with pretended(monkeypatch) as gpu:
        yield gpu


@pytest.fixture(scope="session")
def started_ray() -> Iterator[None]:
    """One Ray for the whole test run; it belongs to this process and ends with it."""
    import ray
    from ray._private.parameter import RayParams
    from ray._private.utils import write_ray_address

    # A short path of its own: sockets lie in it, whose paths must not be long.
    with pytest.MonkeyPatch.context() as environment, TemporaryDirectory(prefix="ray-") as place:
        # Its agent takes any free port: at the usual one, another Ray of this machine keeps it from
        # taking jobs.
        environment.setattr(
            RayParams, "__init__", partialmethod(RayParams.__init__, dashboard_agent_listen_port=0)
        )
        # otherwise one is written to the user's home
        environment.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        for name, value in RAY_SETTINGS.items():
            environment.setenv(name, value)
        ray.init(
            address="local",
            num_cpus=RAY_CPUS,
            object_store_memory=100_000_000,
            log_to_driver=False,
            _temp_dir=place,
        )
        # Who submits a job would otherwise find any Ray that runs on this machine.
        write_ray_address(ray.get_runtime_context().gcs_address, place)
        yield
        ray.shutdown()


@pytest.fixture
def ray_session(started_ray: None) -> Iterator[None]:
    """The test run's Ray, all of which is free again after the test: otherwise later ones would
    wait for it.
    """
    import ray

    yield
    deadline = time.monotonic() + 30
    while (
        free := ray.available_resources().get("CPU", 0)
    ) < RAY_CPUS and time.monotonic() < deadline:
        time.sleep(0.2)
    if free < RAY_CPUS:
        left = held()
        release(left)
        pytest.fail(
            f"{free:g} of {RAY_CPUS} CPUs of Ray are free after the test; placement groups: {left}"
        )
