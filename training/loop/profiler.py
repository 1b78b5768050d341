"""Some steps of a training, operation by operation, for chrome://tracing or ui.perfetto.dev."""

import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from training.distributed.worker import Worker

_NOT_YET = 2  # the first steps make memory and optimiser states, and are nobody's concern


class StepProfiler:
    """Writes what the first worker does in `steps` steps as a Chrome trace into the run's folder
    `profile`.

    Args:
        steps: how many, after three that warm up; 0 for none.
        worker: whose steps.
    """

    def __init__(self, steps: int, worker: Worker):
        self._worker = worker
        self._position = 0
        self._profile: profile | None = None
        if steps and worker.rank == 0:
            on_gpu = [ProfilerActivity.CUDA] if worker.device.type == "cuda" else []
            self._profile = profile(
                activities=[ProfilerActivity.CPU, *on_gpu],
                schedule=schedule(skip_first=_NOT_YET, wait=0, warmup=1, active=steps, repeat=1),
                on_trace_ready=self._keep,
            )

    def __enter__(self) -> Self:
        if self._profile is not None:
            self._profile.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._profile is not None:
            self._profile.stop()  # a run that ends earlier leaves a shorter trace

    def step(self, position: int) -> None:
        """Say that a step has ended at `position`."""
        self._position = position
        if self._profile is not None:
            self._profile.step()

    def _keep(self, finished: torch.profiler.profile) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "trace.json.gz"
            finished.export_chrome_trace(str(file))
            self._worker.keep(f"profile/trace_{self._position:010d}.json.gz", file.read_bytes())
