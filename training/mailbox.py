"""Reports on their way from the first worker of a Ray Train run to the driver's journal.

Ray Train's own reports are throttled to one in two seconds and dropped unless they carry a checkpoint.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from training.gauges import Gauges
from training.worker import Journal

_PATIENCE = 10.0  # seconds given to the last reports


class Mailbox:
    """The actor that holds reports until the driver takes them."""

    def __init__(self, run: str) -> None:
        self._gauges = Gauges(run)
        self._letters: list[tuple[str, tuple[Any, ...]]] = []
        self._stopping = False
        self._verdict = ""

    def stop(self) -> None:
        """Ask the workers for an end."""
        self._stopping = True

    def stopping(self) -> bool:
        """Whether the driver wants an end."""
        return self._stopping

    def give_up(self, sentence: str) -> None:
        """Say why no retry helps; the first one counts."""
        self._verdict = self._verdict or sentence

    def verdict(self) -> str:
        """Why no retry helps; empty while one may."""
        return self._verdict

    def put(self, kind: str, content: tuple[Any, ...]) -> None:
        """Leave a report: a method of the journal and its arguments; Prometheus sees figures at once."""
        if kind == "log":
            self._gauges.set(*content)
        self._letters.append((kind, content))

    def empty(self) -> list[tuple[str, tuple[Any, ...]]]:
        """Take all reports out."""
        letters, self._letters = self._letters, []
        return letters


@contextmanager
def mailbox(journal: Journal, run: str) -> Iterator[Any]:
    """A mailbox actor for a run of this name; a thread passes what arrives on to the journal."""
    here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}  # other nodes may die
    actor: Any = ray.remote(num_cpus=0, label_selector=here)(Mailbox).remote(run)
    finished = threading.Event()

    def deliver() -> None:
        last_round = False
        while not last_round:
            last_round = finished.wait(0.5)
            for kind, content in ray.get(actor.empty.remote()):
                getattr(journal, kind)(*content)

    thread = threading.Thread(target=deliver, daemon=True)
    thread.start()
    try:
        yield actor
    finally:
        finished.set()
        thread.join(timeout=_PATIENCE)
        ray.kill(actor)
