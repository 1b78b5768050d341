"""Stopping a computation from outside: between two of its parts, of which none takes long."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_check: ContextVar[Callable[[], None] | None] = ContextVar("check", default=None)


@contextmanager
def stoppable(check: Callable[[], None]) -> Iterator[None]:
    """Call `check` between the parts of this thread's computing; what it raises ends it."""
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)


def may_stop() -> None:
    """A place between two parts of a computation."""
    # The compiler cannot look into context variables; only training is compiled, and nobody waits.
    check = None if torch.compiler.is_compiling() else _check.get()
    if check is not None:
        check()
