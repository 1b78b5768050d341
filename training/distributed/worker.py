"""Where a stage runs: with `exchange`, the only training code that knows of ranks, devices and Ray Train."""

import ctypes
import functools
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from imaging.codec import Pixels
from training.checkpointing.checkpoints import Checkpointed, Checkpoints
from training.distributed.exchange import Exchange
from training.checkpointing.async_writer import Saver
from training.stopwatch import Stopwatch

if TYPE_CHECKING:
    from training.tracking.report_actor import Sender

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of mallopt, from malloc.h
_ASK_EVERY = 1.0  # seconds between two questions to the driver


class Start(NamedTuple):
    """Where an attempt of a training begins."""

    position: int  # images of each domain seen before
    total: int
    seconds: float  # trained before
    seconds_allowed: float | None  # after which the clock ends the run


ReportKind = Literal["begin", "pace", "log", "show", "keep"]  # methods of a journal


class Journal(Protocol):
    """Who is told how training goes; lives beside the person who watches."""

    def begin(self, start: Start, facts: Mapping[str, str]) -> None:
        """Hear that an attempt begins, and with what."""
        ...

    def pace(self, position: int, images_per_second: float, seconds: float) -> None:
        """Hear how far training is and how fast, between two reports."""
        ...

    def log(self, position: int, total: int, metrics: Mapping[str, float], seconds: float) -> None:
        """Take a report."""
        ...

    def show(self, position: int, pictures: Mapping[str, Pixels]) -> None:
        """Take sample pictures."""
        ...

    def keep(self, name: str, content: bytes) -> None:
        """Take a file for the run's folder."""
        ...


class Worker(ABC):
    """One of `world_size` equal processes, with the sums they take together; the first one saves for all."""

    def __init__(
        self, checkpoints: Checkpoints, *, rank: int, world_size: int, device: torch.device, accept_other_data: bool
    ):
        self.rank = rank
        self.world_size = world_size
        self.device = device
        self.stopwatch = Stopwatch(device)
        self.checkpoints = checkpoints
        self.accept_other_data = accept_other_data
        self._group: Any = None  # of the workers that take sums together; None: all processes
        self._saver = Saver(checkpoints, self._settle)
        self._saved: int | None = None  # position of the newest checkpoint

    def exchange(self, networks: Iterable[nn.Module], *totals: Tensor) -> None:
        """Replace gradients by their means and `totals` (float32) by their sums over the workers, all in one go.

        Once per step: whenever workers meet, one waits for the other.
        """
        if self.world_size == 1:
            return
        with self.stopwatch.phase("communication"):
            self._exchange.reduce([p.grad for net in networks for p in net.parameters() if p.grad is not None], totals)

    @functools.cached_property
    def _exchange(self) -> Exchange:
        return Exchange(self.rank, self.world_size, self.device, self._group)

    def sum(self, tensor: Tensor) -> None:
        """Add up a tensor over the workers, in place."""
        self.sum_meanwhile(tensor)()

    def sum_meanwhile(self, tensor: Tensor) -> Callable[[], Tensor]:
        """Begin to add up a tensor over the workers, in place; to be called for it when it is needed."""
        if self.world_size == 1:
            return lambda: tensor
        work = dist.all_reduce(tensor, group=self._group, async_op=True)
        assert work is not None

        def summed() -> Tensor:
            with self.stopwatch.phase("communication"):
                work.wait()
            return tensor

        return summed

    def begin(self, start: Start, facts: Mapping[str, str]) -> None:
        """Report where an attempt begins, and with what."""
        self._tell("begin", start, facts)

    def pace(self, position: int, images_per_second: float, seconds: float) -> None:
        """Tell how far training is and how fast: nothing that is written down."""
        self._tell("pace", position, images_per_second, seconds)

    def log(self, position: int, total: int, metrics: Mapping[str, float], seconds: float) -> None:
        """Report figures."""
        self._tell("log", position, total, metrics, seconds)

    def show(self, position: int, pictures: Mapping[str, Pixels]) -> None:
        """Report sample pictures."""
        self._tell("show", position, pictures)

    def keep(self, name: str, content: bytes) -> None:
        """Report a file that belongs into the run's folder."""
        self._tell("keep", name, content)

    def _tell(self, kind: ReportKind, *report: Any) -> None:
        if self.rank == 0:
            self._pass_on(kind, *report)

    @abstractmethod
    def _pass_on(self, kind: ReportKind, *report: Any) -> None:
        """Bring the first worker's report to the journal's method `kind`."""

    @abstractmethod
    def _settle(self) -> None:
        """Wait until the journal has written down what it was told: a checkpoint of later steps would hide the rest."""

    @abstractmethod
    def stop_asked(self) -> bool:
        """Whether somebody wants training to save and stop; only the first worker knows."""

    def save(self, stage: Checkpointed, seconds: float, figures: Mapping[str, float]) -> None:
        """Begin a checkpoint, unless there is one of this position; see `Saver.save`."""
        if self.rank == 0 and self._saved != stage.position:
            self._saver.save(stage, seconds, figures)
            self._saved = stage.position

    def wants_to_save(self, every: float | None, figures: Mapping[str, float]) -> bool:
        """Whether a checkpoint is due by the clock, or `figures` are the best so far; only the first worker knows."""
        return self.rank == 0 and (self._saver.is_due(every) or self.checkpoints.would_be_best(figures))

    def restore(self, stage: Checkpointed) -> float:
        """Continue from the newest whole checkpoint, the same on all workers.

        Returns:
            Seconds trained before it, 0 without one.

        Raises:
            UserError: it was made on other data, and that is not accepted; or it cannot be read.
        """
        snapshot = self.checkpoints.newest() if self.rank == 0 else None
        found = torch.tensor(snapshot.head.position if snapshot else -1, device=self.device)
        self.sum(found.mul_(self.rank == 0))
        if found < 0:
            return 0.0
        snapshot = snapshot or self.checkpoints.read(int(found))
        snapshot.restore(stage, accept_other_data=self.accept_other_data)
        self._saved = snapshot.head.position
        return snapshot.head.seconds

    def close(self) -> None:
        """Wait until the last checkpoint and report are written; raises what hindered the checkpoint."""
        self._saver.wait()
        if self.rank == 0:  # nobody else has reported
            self._settle()


def keep_freed_memory() -> None:
    """Let glibc keep what tensors give back: returning and fetching it costs a tenth to half of a step on CPUs."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_MAX, 0)  # mappings of their own go back at once
        libc.mallopt(_M_TRIM_THRESHOLD, -1)  # never
    except (OSError, AttributeError):  # not glibc
        return


class LocalWorker(Worker):
    """The only process: no Ray."""

    def __init__(
        self, checkpoints: Checkpoints, journal: Journal, *, accept_other_data: bool = False,
        stop_asked: Callable[[], bool] = lambda: False,
    ):  # fmt: skip
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        super().__init__(checkpoints, rank=0, world_size=1, device=device, accept_other_data=accept_other_data)
        self.journal = journal
        self._stop_asked = stop_asked

    def _pass_on(self, kind: ReportKind, *report: Any) -> None:
        getattr(self.journal, kind)(*report)

    def _settle(self) -> None:
        return  # it writes while it is told

    def stop_asked(self) -> bool:
        """Whether somebody in this process wants an end."""
        return self._stop_asked()


class RayWorker(Worker):
    """One worker of a Ray Train run; its journal is with the driver.

    Args:
        checkpoints: in a place that all workers see.
        driver: takes reports.
        active: so many of Ray Train's workers, the first ones, train.
        group: those, for torch.distributed; None: all there are.
        accept_other_data: see `restore`.
    """

    def __init__(
        self, checkpoints: Checkpoints, driver: "Sender", active: int, group: Any = None, *,
        accept_other_data: bool = False,
    ):  # fmt: skip
        import ray.train
        import ray.train.torch

        context = ray.train.get_context()
        super().__init__(
            checkpoints,
            rank=context.get_world_rank(),
            world_size=active,
            device=ray.train.torch.get_device(),
            accept_other_data=accept_other_data,
        )
        self._group = group
        self._driver = driver
        self._ask_at = 0.0

    def _pass_on(self, kind: ReportKind, *report: Any) -> None:
        self._driver.send(kind, report)

    def _settle(self) -> None:
        self._driver.settle()

    def stop_asked(self) -> bool:
        """Whether the driver wants an end; it is asked now and then."""
        if self.rank or time.monotonic() < self._ask_at:
            return False
        self._ask_at = time.monotonic() + _ASK_EVERY
        return self._driver.stop_asked()
