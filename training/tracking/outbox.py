"""Calls to a store that may be away: written down first, then carried there in order, if need be by
a later process.
"""

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from filelock import FileLock, Timeout
from pydantic import Field

from errors import UserError
from pipelines.storage.atomic_files import atomic, whole_lines
from vqi2i.checking.frozen import Frozen
from vqi2i.checking.validation import parsed

_CALLS, _STATE, _LOCK = "calls.jsonl", "delivered.json", ".lock"
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds between attempts
_log = logging.getLogger(__name__)


class Call(NamedTuple):
    """Something that the store is to do."""

    kind: str
    content: Mapping[str, Any]  # JSON


class Refused(Exception):  # noqa: N818
    """The store answers that it will never do this."""


class NotYet(Exception):  # noqa: N818
    """The store answers, but waits for somebody else."""


class Blocked(Exception):  # noqa: N818
    """The store answers, but takes nothing before somebody has mended something there; the message
    says what.
    """


class Forgotten(Exception):  # noqa: N818
    """The store knows nothing of what it was told before."""


class Courier(Protocol):
    """Carries calls to one store."""

    address: str

    def carry(self, call: Call, notes: dict[str, str]) -> None:
        """Have the store do something.

        Args:
            call: what; it may have been carried before by a process that was killed before it could
                note so.
            notes: what is to be remembered about the store; kept with the count of calls.

        Raises:
            Refused: the store will never do it.
            NotYet: the same call comes again, and nobody is told.
            Blocked: the same call comes again.
            Forgotten: all calls come again from the beginning.
            Exception: the store is away; the same call comes again.
        """
        ...


class Delivered(Frozen):
    """How far the store at `address` is."""

    address: str
    count: int = 0
    notes: dict[str, str] = Field(default_factory=dict)


class Outbox:
    """What is put in is delivered in order; another address gets everything from the beginning.

    Args:
        folder: `calls.jsonl` and `delivered.json`; made if absent.
        courier: carries the calls.
        what: the store, for messages.
    """

    def __init__(self, folder: Path, courier: Courier, *, what: str):
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._courier = courier
        self._address = courier.address
        self._what = what
        self._calls = read_calls(folder)
        self._delivered = read_delivered(folder, courier.address)
        self._changed = threading.Condition()
        self._closing = self._warned = self._in_hurry = False
        self._failures = 0
        self._thread: threading.Thread | None = None
        if self.pending:
            self._start()

    @property
    def calls(self) -> Sequence[Call]:
        """All that was ever put in, by earlier processes too."""
        return self._calls

    @property
    def pending(self) -> int:
        """Calls that are still to be delivered."""
        return len(self._calls) - self._delivered.count

    def put(self, kind: str, **content: Any) -> None:
        """Write a call down; a thread delivers it."""
        with self._changed:
            assert not self._closing, "closed"
            with (self._folder / _CALLS).open("a") as file:
                file.write(json.dumps([kind, content]) + "\n")
            self._calls.append(Call(kind, content))
            self._changed.notify_all()
        self._start()

    def close(self, patience: float) -> int:
        """Wait until all is delivered, the store is away, or `patience` seconds are over; return
        what is pending.
        """
        with self._changed:
            failures, self._in_hurry = self._failures, True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self.pending or self._failures > failures, patience)
            self._closing = True
            self._changed.notify_all()
            return self.pending

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        lock = FileLock(self._folder / _LOCK)
        while not self._closing:
            try:
                lock.acquire(timeout=0.5)
            except Timeout:  # another process, or an outbox of this one that still ends, delivers
                continue
            try:
                with self._changed:
                    self._delivered = read_delivered(self._folder, self._address)
                    # another outbox may have delivered what somebody waits for
                    self._changed.notify_all()
                self._deliver()
            finally:
                lock.release()
            return

    def _deliver(self) -> None:
        pause = _FIRST_PAUSE
        while (call := self._next()) is not None:
            notes = dict(self._delivered.notes)
            try:
                self._carry(call, notes)
                self._note(
                    Delivered(address=self._address, count=self._delivered.count + 1, notes=notes)
                )
            except NotYet:
                self._rest(_FIRST_PAUSE)
            except Forgotten:
                _log.warning(
                    "%s at %s has forgotten what it was told: it is told again",
                    self._what,
                    self._address,
                )
                self._note(Delivered(address=self._address))
                self._rest(_FIRST_PAUSE)
            except Exception as error:
                self._fail(error)
                self._rest(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                pause = _FIRST_PAUSE

    def _carry(self, call: Call, notes: dict[str, str]) -> None:
        try:
            self._courier.carry(call, notes)
        except Refused as error:
            _log.warning("%s refuses %s: %s", self._what, call.kind, error)

    def _next(self) -> Call | None:
        """The oldest call, once there is one; None in the end."""
        with self._changed:
            self._changed.wait_for(lambda: self.pending or self._closing)
            return None if self._closing else self._calls[self._delivered.count]

    def _note(self, delivered: Delivered) -> None:
        """Write down how far the store is."""
        with self._changed:
            with atomic(self._folder / _STATE) as stream:
                stream.write(delivered.model_dump_json().encode())
            self._delivered = delivered
            self._changed.notify_all()

    def _fail(self, error: Exception) -> None:
        """Count that the store takes nothing now; say so once."""
        if not self._warned:
            self._warned = True
            reason = " ".join(str(error).split())[:200]
            trouble = "takes nothing" if isinstance(error, Blocked) else "does not answer"
            _log.warning(
                "%s at %s %s (%s): training goes on, reports wait in %s and are sent later",
                self._what,
                self._address,
                trouble,
                reason,
                self._folder,
            )
        with self._changed:
            self._failures += 1
            self._changed.notify_all()

    def _rest(self, pause: float) -> None:
        """Wait for the next attempt."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._in_hurry, pause)
            self._in_hurry = False


def read_calls(folder: Path) -> list[Call]:
    """All that was ever put into the outbox in a folder.

    Raises:
        UserError: its file holds something else.
    """
    file = folder / _CALLS
    return [_call(line, file) for line in whole_lines(file)]


def _call(line: bytes, file: Path) -> Call:
    try:
        kind, content = json.loads(line)
        return Call(kind, dict(content))
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{file} holds other lines than what was to be told: move it away"
        ) from error


def read_delivered(folder: Path, address: str) -> Delivered:
    """How far the store at `address` is with the calls in `folder`.

    Raises:
        UserError: the file that says so holds something else.
    """
    file = folder / _STATE
    if not file.exists():
        return Delivered(address=address)
    delivered = parsed(
        Delivered, file.read_bytes(), str(file), "delete it, and everything is told anew"
    )
    return delivered if delivered.address == address else Delivered(address=address)
