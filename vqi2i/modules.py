"""Which top-level modules are this project's, and how a process finds them where others bear the
same names.

A user's own `run.py`, `imaging.py` or folder `training` may lie on Python's path, and Ray puts the
folder in which a command is given on the path of its workers, before everything else.
"""

import functools
import sys
from collections.abc import Callable
from pathlib import Path

HOME = Path(__file__).parents[1]
MODULES = (
    "baselines",
    "commands",
    "errors",
    "evaluation",
    "imaging",
    "pipelines",
    "platforms",
    "run",
    "serving",
    "training",
    "tuning",
    "vqi2i",
)


@functools.cache
def ours_first() -> None:
    """From here on, our names mean our modules in this process."""
    finding_ours()()
    # a folder of that name lies on the path: the next import finds ours
    if sys.modules["vqi2i"].__file__ is None:
        del sys.modules["vqi2i"]


def finding_ours(*, shipped: bool = False) -> Callable[[], None]:
    """What a process does so that our names mean our modules.

    It travels by value and needs nothing of ours: it is what a worker of Ray does before it can
    find this module.

    Args:
        shipped: our code is sent along; what lies at our place on the other machine may be another
            version.
    """
    home, names = str(HOME), frozenset(MODULES)

    def find_ours() -> None:
        import os
        import sys
        from importlib.machinery import ModuleSpec, PathFinder

        sent = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
        places = [*sent, home] if shipped else [home, *sent]

        class Ours:
            """Asked before Python looks along its path."""

            @staticmethod
            def find_spec(
                name: str, path: object = None, target: object = None
            ) -> ModuleSpec | None:
                return (
                    PathFinder.find_spec(name, places) if path is None and name in names else None
                )

        sys.meta_path.insert(0, Ours)

    return find_ours
