"""Stopping a computation from outside: between two of its parts, of which none takes long."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_check: ContextVar[Callable[[], None] | None] = ContextVar("check", default=None)


@contextmanager
def stoppable(check: Callable[[], None]) -> Iterator[None]:
    """Let `check` be called between the parts of what this thread computes: what it raises ends the
    computation.
    """
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)


def may_stop() -> None:
    """A place between two parts of a computation."""
    # The compiler cannot look into a context variable, and nobody waits for what is compiled: that
    # is training.
    check = None if torch.compiler.is_compiling() else _check.get()
    if check is not None:
        check()
