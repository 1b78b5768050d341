"""What makes a function a verb of the command line: what users have named, and the disk denies,
ends in a sentence.
"""

import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike
from typing import Any

import typer
from typer.core import TyperCommand
from typer.models import CommandFunctionType

from errors import named

# the exit code of what is piped into `head`, once that has read enough
PIPE_CLOSED = 128 + signal.SIGPIPE


@contextmanager
def piped() -> Iterator[None]:
    """End quietly when nobody reads standard output any more; Typer would take any broken
    connection for that.
    """
    try:
        yield
    except BrokenPipeError as error:
        standard_output = select.poll()
        standard_output.register(1, 0)  # what is wrong with it is told unasked
        if standard_output.poll(0):
            raise typer.Exit(PIPE_CLOSED) from error
        raise ConnectionError(*error.args[1:]) from error


class Verb(TyperCommand):
    """A command whose arguments name files and folders."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take what was typed; a `~` stands for a home also where a shell leaves it as it is."""
        return super().parse_args(ctx, [_from_home(argument) for argument in args])

    def invoke(self, ctx: Any) -> Any:
        """Run it.

        Raises:
            UserError: a file or a folder that an argument names cannot be used.
        """
        with piped(), named(*_places(ctx.params.values())):
            return super().invoke(ctx)


class Verbs(typer.Typer):
    """A family of verbs."""

    def command(
        self, name: str | None = None, **settings: Any
    ) -> Callable[[CommandFunctionType], CommandFunctionType]:
        """Add a function as a verb; see `typer.Typer.command`."""
        return super().command(name, cls=Verb, **settings)


def _from_home(argument: str) -> str:
    """What `~/x`, `NAME=~/x` and `--option=~/x` stand for."""
    from vqi2i.checking.typed import at_home

    name, is_given, path = argument.partition("=~")
    if is_given:
        return f"{name}={at_home(f'~{path}')}"
    return str(at_home(argument)) if argument.startswith("~") else argument


def _places(values: Any) -> Iterator[str | PathLike[str]]:
    """Paths among the values of a command's arguments; NAME=PATH counts too, an address elsewhere
    does not.
    """
    for value in values:
        if isinstance(value, PathLike):
            yield value
        elif isinstance(value, str) and value and "://" not in value:
            yield value.rpartition("=")[2] or value
        elif isinstance(value, list | tuple):
            yield from _places(value)
