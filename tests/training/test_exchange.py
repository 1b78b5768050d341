"""Means and sums over workers are the same whichever way they go, and leave nothing behind."""

import errno
import os
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

import training.exchange
from training.exchange import Exchange, SharedMemory

WORKERS = 3


def laid_out(rank: int, length: int = 7) -> list[Tensor]:
    """What one worker brings: of different shapes and layouts, and one of them empty."""
    generator = torch.Generator().manual_seed(rank)
    weights = torch.randn(4, 3, 2, length, generator=generator).contiguous(memory_format=torch.channels_last)
    return [torch.randn(length, 5, generator=generator), torch.zeros(0), weights, torch.full((), float(rank))]


def reduced(exchange: Exchange, tensors: list[Tensor]) -> list[Tensor]:
    """All but the last one averaged, that one summed."""
    exchange.reduce(tensors[:-1], tensors[-1:])
    return tensors


def refuse(*_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def run_rank(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    meet = f"file://{folder / 'store'}"
    dist.init_process_group("gloo", meet, rank=rank, world_size=WORKERS, timeout=timedelta(seconds=60))
    shared = training.exchange.SHARED
    for name, where in {"memory": shared, "nowhere": folder / "nowhere", "no room": shared}.items():
        training.exchange.SHARED = where
        if name == "no room":
            os.posix_fallocate = refuse
        exchange = Exchange(rank, WORKERS, torch.device("cpu"))
        answers = [reduced(exchange, laid_out(rank, length)) for length in (7, 2, 400)]
        memory = SharedMemory.of(rank, WORKERS, 10)
        torch.save((answers, memory is not None), folder / f"{name}-{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exchange")
    before = set(training.exchange.SHARED.glob("vqi2i-*")) if training.exchange.SHARED.is_dir() else set()
    mp.spawn(run_rank, (folder,), nprocs=WORKERS)  # pyright: ignore[reportPrivateImportUsage]
    after = set(training.exchange.SHARED.glob("vqi2i-*")) if training.exchange.SHARED.is_dir() else set()
    assert after == before
    return folder


@pytest.mark.parametrize("way", ["memory", "nowhere", "no room"])
def test_every_worker_has_the_means_and_sums_of_all_whatever_their_size(found: Path, way: str) -> None:
    for rank in range(WORKERS):
        answers, is_shared = torch.load(found / f"{way}-{rank}.pt")
        assert is_shared == (way == "memory" and training.exchange.SHARED.is_dir())
        for length, tensors in zip((7, 2, 400), answers, strict=True):
            brought = zip(*(laid_out(r, length) for r in range(WORKERS)), strict=True)
            *means, last = [torch.stack(parts).sum(0) for parts in brought]
            torch.testing.assert_close(tensors, [*(each / WORKERS for each in means), last])


def test_all_workers_have_the_same_bits(found: Path) -> None:
    for way in ("memory", "nowhere", "no room"):
        first, _ = torch.load(found / f"{way}-0.pt")
        for rank in range(1, WORKERS):
            others, _ = torch.load(found / f"{way}-{rank}.pt")
            assert all(torch.equal(a, b) for x, y in zip(first, others, strict=True) for a, b in zip(x, y, strict=True))
