"""Where the time of training goes: every moment belongs to one phase, the innermost that is
open.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from time import perf_counter
from typing import Literal, get_args

import torch

Phase = Literal["data", "forward", "backward", "optimiser", "communication", "report", "save"]
IN_A_STEP: tuple[Phase, ...] = ("data", "forward", "backward", "optimiser", "communication")
_MOST_MOMENTS = 4096  # events of a GPU that wait to be read


class Stopwatch:
    """Time by phase, with the device's clock, so that nothing has to wait for a GPU while it works.

    On a GPU, a moment is an event in the stream of work: time that the host spends while the device
    is still busy costs nothing and is not counted, time in which the device waits for data is.
    """

    def __init__(self, device: torch.device):
        self._on_gpu = device.type == "cuda"
        self._open: list[Phase] = []
        self._moments: list[tuple[Phase | None, float | torch.cuda.Event]] = []  # what began when
        self._milliseconds = dict.fromkeys(get_args(Phase), 0.0)

    @contextmanager
    def phase(self, name: Phase) -> Iterator[None]:
        """Count what happens inside to `name`, except what an inner phase counts to its own."""
        self._open.append(name)
        self._note()
        try:
            yield
        finally:
            self._open.pop()
            self._note()

    def read(self, steps: int) -> dict[str, float]:
        """Means per step in ms since the last reading as `time/PHASE`; `time/step` adds up those of
        a step itself.

        `time/report` and `time/save` are what reports, pictures and checkpoints add to a step on
        average.
        """
        self._fold(len(self._moments))
        means: dict[str, float] = {
            f"time/{name}": total / steps for name, total in self._milliseconds.items()
        }
        self._milliseconds = dict.fromkeys(get_args(Phase), 0.0)
        return means | {"time/step": sum(means[f"time/{name}"] for name in IN_A_STEP)}

    def _note(self) -> None:
        now: float | torch.cuda.Event = perf_counter()
        if self._on_gpu:
            now = torch.cuda.Event(enable_timing=True)
            now.record()
        self._moments.append((self._open[-1] if self._open else None, now))
        if len(self._moments) > _MOST_MOMENTS:
            self._fold(_MOST_MOMENTS // 2)  # the older ones, which the GPU has passed long ago

    def _fold(self, count: int) -> None:
        """Turn the first `count` moments into sums; the last of them stays as the beginning of what
        follows.
        """
        folded = self._moments[:count]
        for (name, begin), (_, end) in pairwise(folded):
            if name is not None:
                self._milliseconds[name] += _between(begin, end)
        self._moments = self._moments[max(count - 1, 0) :]


def _between(begin: float | torch.cuda.Event, end: float | torch.cuda.Event) -> float:
    """Milliseconds from one moment to the next."""
    if isinstance(begin, torch.cuda.Event):
        assert isinstance(end, torch.cuda.Event)
        end.synchronize()
        return begin.elapsed_time(end)
    assert isinstance(end, float)
    return 1000 * (end - begin)
