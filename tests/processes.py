"""Processes of their own that begin in a moment: they are forked by a server that has imported what
they need.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory
from typing import Any

METHOD = "forkserver"
_CONTEXT = multiprocessing.get_context(METHOD)
_CONTEXT.set_forkserver_preload(["training.launch", "pipelines.images_to_shards", "mlflow"])


def begin(
    target: Callable[..., object], *args: Any, folder: Path | None = None, said: Path | None = None
) -> BaseProcess:
    """Start a process that calls a function of a module, in the environment of this one.

    Args:
        target: what is called.
        args: with what; they are pickled.
        folder: where the process works; here if None.
        said: file for what it writes to standard error; None: nobody reads that. Standard output
            goes beside it, into a file of the same name that ends with `.out`.
    """
    where = (str(folder or Path.cwd()), str(said or os.devnull), dict(os.environ))
    # it ends with the tests
    process = _CONTEXT.Process(target=_run, args=(*where, target, args), daemon=True)
    process.start()
    return process


def kill_once(process: BaseProcess, condition: Callable[[], object]) -> None:
    """Kill a process as soon as something holds, which must be while it lives and within a
    minute.
    """
    deadline = time.monotonic() + 60
    while not condition() and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.001)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def command(arguments: list[str], folder: Path) -> CompletedProcess[str]:
    """Run a command line to its end, as `python run.py` would."""
    with TemporaryDirectory() as here:
        said = Path(here) / "said"
        process = begin(_command, arguments, folder=folder, said=said)
        process.join()
        return CompletedProcess(
            arguments, process.exitcode or 0, Path(f"{said}.out").read_text(), said.read_text()
        )


def _command(arguments: list[str]) -> None:
    import run

    sys.argv = ["vqi2i", *arguments]
    run.main()


def _run(
    folder: str,
    said: str,
    environment: Mapping[str, str],
    target: Callable[..., object],
    args: tuple[Any, ...],
) -> None:
    out = said if said == os.devnull else f"{said}.out"
    for number, path in ((1, out), (2, said)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    target(*args)
