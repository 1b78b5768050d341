"""Reports on their way from the first worker of a Ray Train run to the driver's journal.

Ray Train's own reports are throttled to one in two seconds and dropped unless they carry a
checkpoint.
"""

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, cast

import ray
from ray.util.metrics import Gauge

from training.tracking.reports import Journal, ReportKind

_PATIENCE = 10.0  # seconds given to the last reports
_DRIVERS_PATIENCE = 60.0  # seconds given to a driver to write reports down


class Gauges:
    """`ray_vqi2i_NAME{run="..."}` for the position, the seconds trained and every figure that is
    reported.

    Must live in a process of Ray's, which exports them.
    """

    def __init__(self, run: str):
        self._run = run
        self._gauges: dict[str, Gauge] = {}

    def set(self, position: int, total: int, metrics: Mapping[str, float], seconds: float) -> None:
        """Show a report."""
        figures = {
            "position": position,
            "images_planned": total,
            "seconds_trained": seconds,
            **metrics,
        }
        for name, value in figures.items():
            if name not in self._gauges:
                plain = name.replace("/", "_")
                self._gauges[name] = Gauge(
                    f"vqi2i_{plain}", description=f"training: {name}", tag_keys=("run",)
                )
            self._gauges[name].set(value, tags={"run": self._run})


class Verdict(NamedTuple):
    """Why no retry helps a training."""

    why: str  # empty while one may
    fault: bool = False  # of this project, rather than something that whoever trains can mend


class ReportActor:
    """The actor that holds reports until the driver takes them, and what driver and workers tell
    each other.
    """

    def __init__(self, run: str) -> None:
        self._gauges = Gauges(run)
        self._reports: list[tuple[str, tuple[Any, ...]]] = []
        self._news = asyncio.Event()
        self._arrived = self._taken = 0
        self._stopping = self._abandoned = self._closing = False
        self._verdict = Verdict("")

    def stop(self) -> None:
        """Ask the workers for an end."""
        self._stopping = True

    def stopping(self) -> bool:
        """Whether the driver wants an end."""
        return self._stopping

    def give_up(self, why: str, fault: bool = False) -> None:
        """Say why no retry helps, and whether that is a fault of ours; the first one counts."""
        if not self._verdict.why:
            self._verdict = Verdict(why, fault)

    def verdict(self) -> "Verdict":
        """Why no retry helps; empty while one may."""
        return self._verdict

    def put(self, kind: str, content: tuple[Any, ...]) -> None:
        """Leave a report: a method of the journal and its arguments; Prometheus sees figures at
        once.
        """
        if kind == "log":
            self._gauges.set(*content)
        self._reports.append((kind, content))
        self._arrived += 1
        self._news.set()

    async def take(self, taken: int) -> list[tuple[str, tuple[Any, ...]]]:
        """Wait for reports and take them out; none at all means the end. `taken` before are written
        down by now.
        """
        self._taken = taken
        await self._news.wait()
        if not self._closing:
            self._news.clear()
        reports, self._reports = self._reports, []
        return reports

    def close(self) -> None:
        """Let nobody wait for reports any more."""
        self._closing = True
        self._news.set()

    def settled(self) -> bool:
        """Whether all reports that have arrived are written down, or nobody will."""
        return self._abandoned or self._taken == self._arrived

    def abandon(self) -> None:
        """Ask the workers for an end, since the driver can write nothing down any more."""
        self._stopping = self._abandoned = True


class ReportClient:
    """A worker's end of a report actor: one report after the other, in the order of their sending.

    Each report waits for the actor's word that it has the one before: an actor with a method that
    awaits takes calls of one caller in any order, and a question can overtake a report that was
    sent before it.

    Args:
        actor: the report actor.
    """

    def __init__(self, actor: Any):
        self._actor = actor
        self._last: Any = None  # the actor's answer to the newest report

    def send(self, kind: ReportKind, content: tuple[Any, ...]) -> None:
        """Leave a report: a method of the journal and its arguments."""
        self._await_last()
        self._last = self._actor.put.remote(kind, content)

    def settle(self) -> None:
        """Wait until the driver has written down all that was sent, or has had a minute for it."""
        self._await_last()
        deadline = time.monotonic() + _DRIVERS_PATIENCE
        while not ray.get(self._actor.settled.remote()) and time.monotonic() < deadline:
            time.sleep(0.05)

    def stop_asked(self) -> bool:
        """Whether the driver wants an end."""
        return ray.get(self._actor.stopping.remote())

    def _await_last(self) -> None:
        if self._last is not None:
            ray.get(self._last)


@contextmanager
def report_actor(journal: Journal, run: str) -> Iterator[Any]:
    """An actor for a run of this name; a thread passes what arrives on to the journal.

    Raises:
        Exception: whatever the journal has raised; the workers were asked for an end then.
    """
    here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}  # other nodes may die
    actor: Any = ray.remote(num_cpus=0, label_selector=here)(ReportActor).remote(run)
    delivery: Future[None] = Future()

    def deliver() -> None:
        taken = 0
        while reports := cast(list[Any], ray.get(actor.take.remote(taken))):
            for kind, content in reports:
                getattr(journal, kind)(*content)
            taken += len(reports)

    def work() -> None:
        try:
            delivery.set_result(deliver())
        except BaseException as error:
            actor.abandon.remote()
            delivery.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        yield actor
    finally:
        actor.close.remote()
        with suppress(TimeoutError):
            delivery.result(timeout=_PATIENCE)
        ray.kill(actor)
