"""What people type: names that are nearly right, names to be given, and numbers that a generator
can take.
"""

import difflib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from vqi2i.errors import UserError

LARGEST_SEED = 2**63 - 1
_SMALLEST_SEED = -(2**62)  # below it, PyTorch's generators do not go: two streams belong to a seed
_DOMAIN = re.compile(r"[a-z0-9][a-z0-9_-]*")


def meant(name: object, known: Iterable[str], *, least: float = 0.6) -> str:
    """A remark in brackets, to follow a name that is not known: which one was probably meant, or
    nothing.

    Args:
        name: what was typed.
        known: the names there are.
        least: share of what is alike in two names of which one may be meant by the other.
    """
    names = {each.casefold(): each for each in known}
    near = difflib.get_close_matches(str(name).casefold(), list(names), n=1, cutoff=least)
    return f" (did you mean {names[near[0]]!r}?)" if near else ""


def at_home(path: str | os.PathLike[str]) -> Path:
    """A path whose first part may be `~` or `~user`: no shell has seen to it where it follows a
    `=`, or is quoted.
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111 -- Path.expanduser fails where there is no such user


def domain_name(name: str) -> str:
    """`name`, if it can be the name of a domain: it becomes a part of the names of files and of
    options.

    Raises:
        UserError: it cannot; the message says what can, and a name that is near.
    """
    if _DOMAIN.fullmatch(name):
        return name
    near = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_")
    remedy = f"call it {near!r}" if near else "choose such a name"
    raise UserError(
        f"a domain cannot be called {name!r}: names are made of small letters, digits, - and _ "
        f"and begin with a letter or a digit, {remedy}"
    )


def seed_number(seed: int) -> int:
    """`seed`, if generators can take it.

    Raises:
        UserError: it is out of range.
    """
    if not _SMALLEST_SEED <= seed <= LARGEST_SEED:
        raise UserError(
            f"the seed {seed} is out of range: give a whole number from 0 to {LARGEST_SEED}"
        )
    return seed


def check_domain(domain: str, known: Sequence[str]) -> None:
    """See that a model knows a domain.

    Raises:
        UserError: it does not; the message lists those that it knows.
    """
    if domain not in known:
        near = meant(domain, known)
        raise UserError(f"unknown domain {domain!r}{near}: this model knows {', '.join(known)}")
