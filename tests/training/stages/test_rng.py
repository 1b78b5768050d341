"""A step's random numbers: the same for any number of workers."""

import torch

from training.distributed.worker import LocalWorker
from training.stages.rng import StepRandom, seed_of


def draws(rank: int, world_size: int, position: int = 8) -> StepRandom:
    worker = LocalWorker(None, None)  # type: ignore[arg-type]
    worker.rank, worker.world_size = rank, world_size
    return StepRandom(worker, "stage1", 0, position, num_domains=3)


def test_workers_share_the_rows_of_one() -> None:
    alone = draws(0, 1).uniform("colour", 2, 12, 5)
    parts = [draws(rank, 2).uniform("colour", 2, 6, 5).unflatten(1, (3, 2)) for rank in range(2)]
    assert torch.equal(torch.cat(parts, dim=2).flatten(1, 2), alone)


def test_every_worker_draws_the_same_stream_and_every_purpose_another() -> None:
    first, second = (draws(rank, 2).generator("patches") for rank in range(2))
    assert torch.equal(torch.rand(4, generator=first), torch.rand(4, generator=second))
    assert (
        draws(0, 1).generator("patches").initial_seed()
        != draws(0, 1).generator("codebook").initial_seed()
    )
    assert (
        draws(0, 1).generator("patches").initial_seed()
        != draws(0, 1, 12).generator("patches").initial_seed()
    )
    assert {draws(0, 1, position).integer("shift", 1, 3) for position in range(40)} == {1, 2}


def test_seeds_are_what_they_were() -> None:
    """Otherwise runs could not be resumed by a newer version."""
    assert seed_of("stage1", 0, 8, "shift") == 7305445697474043192
