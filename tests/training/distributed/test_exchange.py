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

import training.distributed.exchange
from tests.processes import METHOD
from tests.training.company import Company, company
from training.distributed.exchange import Exchange, SharedMemory

WORKERS = 3


def laid_out(rank: int, length: int = 7) -> list[Tensor]:
    """What one worker brings: of different shapes and layouts, and one of them empty."""
    generator = torch.Generator().manual_seed(rank)
    weights = torch.randn(4, 3, 2, length, generator=generator).contiguous(
        memory_format=torch.channels_last
    )
    return [
        torch.randn(length, 5, generator=generator),
        torch.zeros(0),
        weights,
        torch.full((), float(rank)),
    ]


def reduced(exchange: Exchange, tensors: list[Tensor]) -> list[Tensor]:
    """All but the last one averaged, that one summed."""
    exchange.reduce(tensors[:-1], tensors[-1:])
    return tensors


def refuse(*_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def run_rank(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    meet = f"file://{folder / 'store'}"
    dist.init_process_group(
        "gloo", meet, rank=rank, world_size=WORKERS, timeout=timedelta(seconds=60)
    )
    shared = training.distributed.exchange.SHARED
    for name, where in {"memory": shared, "nowhere": folder / "nowhere", "no room": shared}.items():
        training.distributed.exchange.SHARED = where
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
    before = (
        set(training.distributed.exchange.SHARED.glob("vqi2i-*"))
        if training.distributed.exchange.SHARED.is_dir()
        else set()
    )
    mp.start_processes(run_rank, (folder,), nprocs=WORKERS, start_method=METHOD)  # pyright: ignore[reportPrivateImportUsage]
    after = (
        set(training.distributed.exchange.SHARED.glob("vqi2i-*"))
        if training.distributed.exchange.SHARED.is_dir()
        else set()
    )
    assert after == before
    return folder


@pytest.mark.parametrize("way", ["memory", "nowhere", "no room"])
def test_every_worker_has_the_means_and_sums_of_all_whatever_their_size(
    found: Path, way: str
) -> None:
    for rank in range(WORKERS):
        answers, is_shared = torch.load(found / f"{way}-{rank}.pt")
        assert is_shared == (way == "memory" and training.distributed.exchange.SHARED.is_dir())
        for length, tensors in zip((7, 2, 400), answers, strict=True):
            brought = zip(*(laid_out(r, length) for r in range(WORKERS)), strict=True)
            *means, last = [torch.stack(parts).sum(0) for parts in brought]
            torch.testing.assert_close(tensors, [*(each / WORKERS for each in means), last])


def test_all_workers_have_the_same_bits(found: Path) -> None:
    for way in ("memory", "nowhere", "no room"):
        first, _ = torch.load(found / f"{way}-0.pt")
        for rank in range(1, WORKERS):
            others, _ = torch.load(found / f"{way}-{rank}.pt")
            assert all(
                torch.equal(a, b)
                for x, y in zip(first, others, strict=True)
                for a, b in zip(x, y, strict=True)
            )


@pytest.fixture(params=[2, 3])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Company:
    """Workers that are threads."""
    return company(request.param, monkeypatch)


def check(answers: list[list[Tensor]], length: int = 7) -> None:
    """Every worker has the means of all but the last tensor, and the sum of the last."""
    brought = zip(*(laid_out(rank, length) for rank in range(len(answers))), strict=True)
    *means, last = [torch.stack(parts).sum(0) for parts in brought]
    for tensors in answers:
        torch.testing.assert_close(tensors, [*(each / len(answers) for each in means), last])
        assert all(torch.equal(one, other) for one, other in zip(tensors, answers[0], strict=True))


@pytest.mark.parametrize("way", ["memory", "network"])
def test_threads_have_the_means_and_sums_of_all(
    threads: Company, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        training.distributed.exchange, "SHARED", tmp_path / ("" if way == "memory" else "nowhere")
    )
    exchanges = [
        Exchange(rank, threads.workers, torch.device("cpu")) for rank in range(threads.workers)
    ]
    for length in (7, 2, 400, 7):
        check(
            threads.ask(
                lambda rank, length=length: reduced(exchanges[rank], laid_out(rank, length))
            ),
            length,
        )
        assert list(tmp_path.iterdir()) == []  # the memory has no name, and nothing stays
    assert {exchange._memory is not None for exchange in exchanges} == {way == "memory"}


def test_memory_is_taken_anew_only_for_more(
    threads: Company, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.distributed.exchange, "SHARED", tmp_path)
    exchanges = [
        Exchange(rank, threads.workers, torch.device("cpu")) for rank in range(threads.workers)
    ]
    sizes = []
    for count in (50, 50, 20, 51):
        threads.ask(lambda rank, count=count: exchanges[rank].reduce([torch.ones(count)], []))
        sizes.append(
            [exchange._memory.size for exchange in exchanges if exchange._memory is not None]
        )
    assert sizes == [[50] * threads.workers] * 3 + [[51] * threads.workers]


def test_gpus_have_their_own_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(training.distributed.exchange, "SHARED", tmp_path)
    threads = company(2, monkeypatch)
    exchanges = [Exchange(rank, 2, torch.device("cuda")) for rank in range(2)]
    check(threads.ask(lambda rank: reduced(exchanges[rank], laid_out(rank))))
    assert [exchange._memory for exchange in exchanges] == [None, None]


class Elsewhere(SharedMemory):
    """The last worker is on another machine."""

    def __init__(self, file: Path, rank: int, world_size: int, group: object = None):
        if rank == world_size - 1:
            raise FileNotFoundError(file)
        super().__init__(file, rank, world_size, group)


def test_memory_is_shared_by_all_or_by_none(
    threads: Company, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.distributed.exchange, "SHARED", tmp_path)
    assert all(threads.ask(lambda rank: SharedMemory.of(rank, threads.workers, 9) is not None))
    assert (
        threads.ask(lambda rank: Elsewhere.of(rank, threads.workers, 9)) == [None] * threads.workers
    )
    assert list(tmp_path.iterdir()) == []


def test_room_is_made_for_every_worker_and_the_totals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.distributed.exchange, "SHARED", tmp_path)
    file = Path(training.distributed.exchange._made(4 * 3 * 10))
    assert file.parent == tmp_path
    assert file.name.startswith("vqi2i-")
    assert file.stat().st_size == 120
    assert [SharedMemory(file, rank, 2).size for rank in range(2)] == [10, 10]
    with pytest.raises(FileNotFoundError):
        SharedMemory(tmp_path / "absent", 0, 2)
    assert not (tmp_path / "absent").exists()


def test_workers_add_up_about_as_much_as_each_other() -> None:
    adders = training.distributed.exchange._adders([5, 5, 5, 5, 20, 0], 2)
    assert adders == [0, 0, 0, 0, 1, 1]
    sizes = [(7 * number) % 13 + 1 for number in range(200)]
    shares = [
        sum(
            size
            for size, adder in zip(
                sizes, training.distributed.exchange._adders(sizes, 4), strict=True
            )
            if adder == worker
        )
        for worker in range(4)
    ]
    assert max(shares) - min(shares) <= 2 * max(sizes)
    assert training.distributed.exchange._adders([0, 0], 3) == [0, 0]
