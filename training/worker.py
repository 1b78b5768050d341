"""Where a stage runs: the only training code that knows of ranks, devices and Ray Train."""

import ctypes
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from imaging.codec import Pixels
from training import checkpoint
from training.checkpoint import Checkpointed, CheckpointFolder

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of mallopt, from malloc.h


class Saved(Checkpointed, Protocol):
    """A stage as a worker sees it."""

    position: int


class Journal(Protocol):
    """Who is told how training goes; lives beside the person who watches."""

    def log(self, position: int, total: int, metrics: Mapping[str, float], seconds: float) -> None:
        """Take a report."""
        ...

    def show(self, position: int, pictures: Mapping[str, Pixels]) -> None:
        """Take sample pictures."""
        ...


class Worker(ABC):
    """One of `world_size` equal processes, with the sums they take together."""

    def __init__(self, *, rank: int, world_size: int, device: torch.device):
        self.rank = rank
        self.world_size = world_size
        self.device = device

    def average_gradients(self, module: nn.Module) -> None:
        """Replace every gradient by its mean over the workers, in one exchange."""
        if self.world_size == 1:
            return
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.world_size
        for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def sum(self, *tensors: Tensor) -> None:
        """Add up each tensor over the workers, in place."""
        if self.world_size > 1:
            for tensor in tensors:
                dist.all_reduce(tensor)

    def gather(self, rows: Tensor) -> Tensor:
        """Rows of all workers, in the order of their ranks: (n, ...) to (world_size * n, ...)."""
        if self.world_size == 1:
            return rows
        gathered = [torch.empty_like(rows) for _ in range(self.world_size)]
        dist.all_gather(gathered, rows.contiguous())
        return torch.cat(gathered)

    @abstractmethod
    def log(self, position: int, total: int, metrics: Mapping[str, float], seconds: float) -> None:
        """Report figures; only the first worker's are passed on."""

    @abstractmethod
    def show(self, position: int, pictures: Mapping[str, Pixels]) -> None:
        """Report sample pictures; only the first worker's are passed on."""

    @abstractmethod
    def save(self, stage: Saved, seconds: float) -> None:
        """Save a checkpoint; every worker must call it."""

    @abstractmethod
    def restore(self, stage: Saved) -> float:
        """Continue from the last checkpoint; return the seconds trained before it, 0 without one."""


def keep_freed_memory() -> None:
    """Let glibc keep what tensors give back: returning and fetching it costs a tenth to half of a step on CPUs."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_MAX, 0)  # mappings of their own go back at once
        libc.mallopt(_M_TRIM_THRESHOLD, -1)  # never
    except (OSError, AttributeError):  # not glibc
        return


class LocalWorker(Worker):
    """The only process: no Ray, checkpoints in a folder of the run."""

    def __init__(self, checkpoints: CheckpointFolder, journal: Journal, *, accept_other_data: bool = False):
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        super().__init__(rank=0, world_size=1, device=device)
        self.checkpoints = checkpoints
        self.accept_other_data = accept_other_data
        self.journal = journal

    def log(self, position: int, total: int, metrics: Mapping[str, float], seconds: float) -> None:
        """Report figures to the journal."""
        self.journal.log(position, total, metrics, seconds)

    def show(self, position: int, pictures: Mapping[str, Pixels]) -> None:
        """Report sample pictures to the journal."""
        self.journal.show(position, pictures)

    def save(self, stage: Saved, seconds: float) -> None:
        """Save a checkpoint into the run's folder."""
        self.checkpoints.save(stage, stage.position, seconds)

    def restore(self, stage: Saved) -> float:
        """Continue from the newest checkpoint in the run's folder."""
        found = self.checkpoints.all()
        return checkpoint.read(found[-1], stage, accept_other_data=self.accept_other_data) if found else 0.0


class RayWorker(Worker):
    """One worker of a Ray Train run; its journal is an actor that the driver empties."""

    def __init__(self, mailbox: Any, *, accept_other_data: bool = False):
        import ray.train
        import ray.train.torch

        context = ray.train.get_context()
        super().__init__(
            rank=context.get_world_rank(),
            world_size=context.get_world_size(),
            device=ray.train.torch.get_device(),
        )
        self.mailbox = mailbox
        self.accept_other_data = accept_other_data

    def log(self, position: int, total: int, metrics: Mapping[str, float], seconds: float) -> None:
        """Put figures into the driver's mailbox."""
        if self.rank == 0:
            self.mailbox.put.remote("log", (position, total, dict(metrics), seconds))

    def show(self, position: int, pictures: Mapping[str, Pixels]) -> None:
        """Put pictures into the driver's mailbox."""
        if self.rank == 0:
            self.mailbox.put.remote("show", (position, dict(pictures)))

    def save(self, stage: Saved, seconds: float) -> None:
        """Report a checkpoint to Ray Train, which moves it to the run's storage."""
        from ray.train import Checkpoint, report

        saved = None
        if self.rank == 0:
            directory = Path(tempfile.mkdtemp())
            checkpoint.write(directory, stage, seconds)
            saved = Checkpoint.from_directory(directory)
        report(
            {"position": stage.position},
            checkpoint=saved,
            checkpoint_dir_name=f"{stage.position:010d}",
            delete_local_checkpoint_after_upload=True,
        )

    def restore(self, stage: Saved) -> float:
        """Continue from the checkpoint that Ray Train holds for this run."""
        from ray.train import get_checkpoint

        saved = get_checkpoint()
        if saved is None:
            return 0.0
        with saved.as_directory() as directory:
            return checkpoint.read(Path(directory), stage, accept_other_data=self.accept_other_data)
