"""Several workers with parts of a batch take the step that one takes with the whole of it."""

from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from tests.processes import METHOD
from tests.training.conftest import BASELINE, QUANTIZERS, STAGE1, STAGE2
from training.checkpointing.checkpoints import Checkpoints
from training.distributed.worker import LocalWorker
from training.job import Job, make_job
from training.settings import override
from training.stages.baselines.recipes import BASELINES
from training.stages.baselines.stage import Baseline
from training.stages.build import make_stage, prepare
from training.stages.nan_guard import DivergenceError
from training.stages.stage1 import Stage1
from training.tracking.journal import RunJournal
from vqi2i.config import QuantizerKind

KINDS = get_args(QuantizerKind)
RESTARTS = ("codebook.restart_below=0.9",)  # most codes of `ema_restart` do at once
PRIORS = {
    "causal": (),
    "masked": (
        "prior.kind=masked",
        "prior.positions=rotary",
        "prior.local=true",
        "domain_dropout=0.5",
        "embeddings=codebook",
    ),
}
GAME = (
    'game.augment=["color","translation","cutout"]',
    "game.r1=1",
    "game.r1_every=1",
    "recolor=1",
    # In flat areas the sign of a difference between neighbours, and so these terms' gradient, is
    # rounding noise.
    "weights.total_variation=0",
    "perceptual.kind=none",
    "weights.perceptual=0",
)


class Rank(LocalWorker):
    """One of several processes that Ray did not start."""

    def __init__(self, rank: int, world_size: int, folder: Path):
        super().__init__(Checkpoints(folder / "checkpoints", 1), RunJournal(folder, None))
        self.rank, self.world_size = rank, world_size


def state_after_one_step(job: Job, worker: LocalWorker) -> dict[str, Tensor]:
    """Gradients, and what the codebook keeps beside its weights."""
    stage = make_stage(job, worker)
    batches = stage.batches(0)
    stage.train_step(next(batches))  # type: ignore[arg-type]
    batches.close()
    if isinstance(stage, Baseline):
        networks = [player.network for player in stage.players.values()]
    elif isinstance(stage, Stage1):
        networks = [stage.generators.network, stage.discriminator]
    else:
        networks = [stage.prior]
    state = {}
    for number, network in enumerate(networks):
        state |= {
            f"{number}.{name}": p.grad
            for name, p in network.named_parameters()
            if p.grad is not None
        }
        state |= {
            f"{number}.{name}": buffer
            for name, buffer in network.named_buffers()
            if "codebook" in name
        }
    return state


def run_rank(rank: int, world_size: int, jobs: dict[str, str], folder: Path) -> None:
    torch.set_num_threads(1)
    meet = f"file://{folder / 'store'}"
    dist.init_process_group(
        "gloo", meet, rank=rank, world_size=world_size, timeout=timedelta(seconds=60)
    )
    worker = Rank(rank, world_size, folder)
    for name, job in jobs.items():
        state = state_after_one_step(Job.model_validate_json(job), worker)
        torch.save(state, folder / f"{name}-{rank}.pt")
    leave_out_together(Job.model_validate_json(jobs["ema_restart"]), worker)
    dist.destroy_process_group()


def leave_out_together(job: Job, worker: LocalWorker) -> None:
    """What is not finite for the last worker alone is left out by all, and ends the run of all."""
    stage = make_stage(
        job.model_copy(update={"config": override(job.config, ["max_nonfinite=1"])}), worker
    )
    assert isinstance(stage, Stage1)
    batches = stage.batches(0)
    spoil = torch.nan if worker.rank == 1 else 1.0
    assert stage.train_step(next(batches) * spoil) == {}
    with pytest.raises(DivergenceError, match=f"pixel.* on {stage.feed.names(4, 1)[0]}"):
        stage.train_step(next(batches) * spoil)
    batches.close()


@pytest.fixture(scope="module")
def jobs(shards: Path, tiny_bundle_without_prior: Path) -> dict[str, Job]:
    made = {
        name: make_job(
            "stage1",
            data=shards,
            model=None,
            recipe="laptop64",
            settings=[*STAGE1, *GAME, *RESTARTS, *QUANTIZERS[name]],
        )
        for name in KINDS
    }
    prior = [*STAGE2, "prior.dropout=0"]  # each worker drops units of its own
    for name, settings in PRIORS.items():
        made[name] = make_job(
            "stage2",
            data=shards,
            model=tiny_bundle_without_prior,
            recipe="laptop64",
            settings=[*prior, *settings],
        )
    for name in BASELINES:
        made[name] = make_job(
            "baseline", data=shards, model=None, recipe=name, settings=[*BASELINE]
        )
    return made


@pytest.fixture(scope="module")
def folder(jobs: dict[str, Job], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two ranks found, for every job."""
    root = tmp_path_factory.mktemp("ranks")
    prepare(jobs["causal"])
    texts = {name: job.model_dump_json() for name, job in jobs.items()}
    mp.start_processes(run_rank, (2, texts, root), nprocs=2, start_method=METHOD)  # type: ignore[attr-defined]
    return root


@pytest.mark.parametrize("name", [*KINDS, *PRIORS, *BASELINES])
def test_two_workers_take_the_step_of_one(
    name: str, jobs: dict[str, Job], folder: Path, worker: LocalWorker
) -> None:
    alone = state_after_one_step(jobs[name], worker)
    ranks = [torch.load(folder / f"{name}-{rank}.pt") for rank in range(2)]
    assert alone.keys() == ranks[0].keys() == ranks[1].keys()
    for key, value in alone.items():
        assert torch.equal(ranks[0][key], ranks[1][key]), key
        assert (ranks[0][key] - value).float().norm() <= 1e-3 * value.float().norm() + 1e-5, key
