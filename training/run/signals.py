"""Ctrl-C and SIGTERM: the first asks for a checkpoint and an end, the second ends at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from rich.console import Console

Result = TypeVar("Result")
_LOOK_EVERY = 0.2  # seconds
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """Whether a person or a machine has asked for an end."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def asked(self) -> bool:
        """Whether there was a signal."""
        return self._asked.is_set()

    def ask(self) -> None:
        """As a first signal does."""
        self._asked.set()


@contextmanager
def listening(console: Console | None = None) -> Iterator[Interrupt]:
    """Take signals as a wish, for as long as the block runs; outside of the main thread there are
    none to take.

    Args:
        console: where the first is answered; standard error if None.

    Raises:
        KeyboardInterrupt: at the second signal.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return

    def take(number: int, frame: FrameType | None) -> None:
        if interrupt.asked():
            raise KeyboardInterrupt
        interrupt.ask()
        shown = console or Console(stderr=True)
        shown.print(
            "saving, then stopping; once more stops at once and loses what is not saved",
            highlight=False,
        )

    before = {number: signal.signal(number, take) for number in _SIGNALS}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def run_in_thread(
    work: Callable[[], Result], interrupt: Interrupt, tell: Callable[[], object]
) -> Result:
    """Do something that does not listen to signals, in a thread; a signal is passed on once.

    Args:
        work: what is done; its exceptions are raised here.
        interrupt: the signals.
        tell: called at the first of them.
    """
    answer: Future[Result] = Future()

    def do() -> None:
        try:
            answer.set_result(work())
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=do, daemon=True).start()  # a second signal does not wait for it
    told = False
    while not answer.done():
        if interrupt.asked() and not told:
            tell()
            told = True
        wait([answer], timeout=_LOOK_EVERY)
    return answer.result()
