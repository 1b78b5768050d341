"""A worker inside Ray Train: its journal is with the driver."""

import time
from typing import TYPE_CHECKING, Any

from training.checkpointing.checkpoints import Checkpoints
from training.distributed.worker import Worker
from training.tracking.reports import ReportKind

if TYPE_CHECKING:
    from training.tracking.report_actor import ReportClient

_ASK_EVERY = 1.0  # seconds between two questions to the driver


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
        self,
        checkpoints: Checkpoints,
        driver: "ReportClient",
        active: int,
        group: Any = None,
        *,
        accept_other_data: bool = False,
    ):
        import ray.train
        import ray.train.torch

        context = ray.train.get_context()
        super().__init__(
            checkpoints,
            rank=context.get_world_rank(),
            world_size=active,
            device=ray.train.torch.get_device(),
            group=group,
            accept_other_data=accept_other_data,
        )
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
