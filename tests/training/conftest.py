"""Data, configurations and a place to train for the tests of this folder: the real things, very
small.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import torch
from rich.console import Console

from pipelines.images_to_shards import build_shards
from pipelines.synthetic.dataset import DOMAINS
from training.checkpointing.checkpoints import Checkpoints
from training.distributed.worker import LocalWorker
from training.job import Job, make_job
from training.tracking.journal import RunJournal
from vqi2i.config import LearnedQuantizer

STAGE1 = (
    "crop=16",
    "precision=float32",
    "batch_size=4",
    "codebook.start_at=0",
    "network.resolution=16",
    "network.base_channels=8",
    "network.z_channels=8",
    "network.embed_dim=8",
    "network.style_channels=4",
    "network.num_style_blocks=1",
    "network.codebook_size=16",
    "discriminator.base_channels=4",
    "game.discriminator_from=0",
    "game.generator_from=0",
    "game.reconstructed=0.2",
    "optim.learning_rate=2e-3",
    "schedule.images=48",
    "schedule.log_every=8",
    "schedule.save_every=16",
    "schedule.warmup_images=0",
    "schedule.save_seconds=null",
)
STAGE2 = (
    "precision=float32",
    "batch_size=4",
    "optim.learning_rate=1e-2",
    "prior.num_layers=1",
    "prior.num_heads=2",
    "prior.width=16",
    "prior.window=[8,8]",
    "schedule.images=48",
    "schedule.log_every=8",
    "schedule.save_every=16",
    "schedule.warmup_images=0",
    "schedule.save_seconds=null",
)
BASELINE = (
    "crop=16",
    "precision=float32",
    "batch_size=4",
    "network.resolution=16",
    "network.base_channels=8",
    "network.num_res_blocks=2",
    "discriminator.base_channels=4",
    "optim.learning_rate=2e-3",
    "discriminator_optim.learning_rate=2e-3",
    "schedule.images=48",
    "schedule.log_every=8",
    "schedule.save_every=16",
    "schedule.warmup_images=0",
    "schedule.save_seconds=null",
)
FSQ = (
    "network.quantizer=fsq",
    "network.fsq_levels=[4,4]",
    "network.embed_dim=2",
    "weights.commitment=0",
)
WITHOUT_WEIGHT = {"codebook", "cross_pixel"}  # terms that `laptop64` does not compute
LEARNED = ("weights.codebook=1", "weights.commitment=0.25")
QUANTIZERS = {  # what is set for each
    "ema_restart": (),
    **{kind: (f"network.quantizer={kind}", *LEARNED) for kind in get_args(LearnedQuantizer)},
    "fsq": FSQ,
}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """The same sums on every machine, and no waiting for cores that other tests keep busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def stage1_job(shards: Path) -> Job:
    """Every part of stage 1 from the first step on."""
    return make_job("stage1", data=shards, model=None, recipe="laptop64", settings=STAGE1)


@pytest.fixture(scope="session")
def validated(shards: Path) -> Path:
    """The landscapes of `shards` with some to choose by."""
    folders = {domain: shards.parent / "images/train" / domain for domain in DOMAINS}
    build_shards(folders, out=shards.parent / "validated", size=32, validation_fraction=0.2)
    return shards.parent / "validated"


@pytest.fixture(scope="session")
def stage2_job(shards: Path, tiny_bundle_without_prior: Path) -> Job:
    """A prior over the 8x8 tokens of an untrained stage 1."""
    return make_job(
        "stage2", data=shards, model=tiny_bundle_without_prior, recipe="laptop64", settings=STAGE2
    )


@pytest.fixture
def worker(tmp_path: Path) -> LocalWorker:
    """The only process of a run in the test's folder."""
    return LocalWorker(
        Checkpoints(tmp_path / "checkpoints", keep=2),
        RunJournal(tmp_path, None, Console(quiet=True)),
    )


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run's folder, yet to be made."""
    return tmp_path / "runs" / "first"


@pytest.fixture
def mlflow_store(tmp_path: Path, mlflow_tables: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An MLflow store of the test's own."""
    uri = f"sqlite:///{shutil.copy(mlflow_tables, tmp_path / 'mlflow.db')}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)
    return uri
