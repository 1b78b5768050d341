"""Small mistakes are put into the code, one at a time, and the tests must see them: `make mutants`.

mutmut makes the mutants and tries them (its settings are in pyproject.toml); here some of them are
drawn, and what came of them is told. `tests/mutant_tests.py` says which tests try a mutant,
`tests/mutants.toml` which may live, and why.
"""

import argparse
import contextlib
import io
import math
import os
import random
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from mutmut.__main__ import create_mutants
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.utils.file_utils import copy_also_copy_files, copy_src_dir, walk_mutatable_files

ACCEPTED = Path("tests/mutants.toml")
WANTED = 0.85  # share of the mutants that tests must see
CHILDREN = os.cpu_count() or 1
_VERDICTS = {
    0: "survived",
    1: "killed",
    3: "killed",
    5: "not reached",
    33: "not reached",
    None: "not tried",
}
_TIME = {-9, -24, 24, 152}  # exit codes of what had to be ended


class Mutant(NamedTuple):
    """One mistake."""

    file: str
    name: str

    @property
    def change(self) -> tuple[str, str]:
        """The lines as they were and as they are."""
        lines = get_diff_for_mutant(self.name, path=self.file).splitlines()[2:]
        was, now = ([line[1:].strip() for line in lines if line.startswith(sign)] for sign in "-+")
        return "\n".join(was), "\n".join(now)


def all_mutants(files: Sequence[str]) -> list[Mutant]:
    """Every mutant of some files, of all if none is named."""
    with contextlib.redirect_stdout(io.StringIO()):
        copy_src_dir()
        copy_also_copy_files()
        create_mutants(CHILDREN)
    named = [str(path) for path in walk_mutatable_files() if not files or str(path) in files]
    return [Mutant(file, name) for file in named for name in _codes(file)]


def drawn(mutants: Sequence[Mutant], count: int, seed: int) -> list[Mutant]:
    """About so many mutants, of every file its share and at least one."""
    share, generator = count / len(mutants), random.Random(seed)
    of_files: dict[str, list[Mutant]] = {}
    for mutant in mutants:
        of_files.setdefault(mutant.file, []).append(mutant)
    return [
        one
        for own in of_files.values()
        for one in generator.sample(own, math.ceil(share * len(own)))
    ]


def try_out(mutants: Iterable[Mutant]) -> None:
    """Let mutmut try mutants, also those that it has tried before."""
    command = [
        str(Path(sys.executable).with_name("mutmut")),
        "run",
        "--max-children",
        str(CHILDREN),
    ]
    subprocess.run(
        [*command, *(mutant.name for mutant in mutants)],
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


class Accepted(NamedTuple):
    """Mutants that may live."""

    single: set[tuple[str, str, str]]  # file, lines as they were, lines as they are
    parts: list[re.Pattern[str]]  # of a line, in which they may differ

    def holds(self, mutant: Mutant) -> bool:
        """Whether a mutant is one of them."""
        was, now = mutant.change
        return (mutant.file, was, now) in self.single or any(
            part.sub("", was) == part.sub("", now) for part in self.parts
        )


def verdict(mutant: Mutant, code: int | None, accepted: Accepted) -> str:
    """What came of a mutant."""
    if code in _TIME:
        return "out of time"
    found = _VERDICTS.get(code, "killed" if code is not None and code < 0 else "broken")
    is_alive = found in ("survived", "not reached")
    return "accepted" if is_alive and accepted.holds(mutant) else found


def read_accepted() -> Accepted:
    """The mutants that may live."""
    known = tomllib.loads(ACCEPTED.read_text())
    single = {(it["file"], it["was"], now) for it in known["mutants"] for now in it["is"]}
    return Accepted(single, [re.compile(it["part"]) for it in known["kinds"]])


def report(verdicts: dict[Mutant, str]) -> float:
    """Print what came of mutants; the share of those that tests saw."""
    for mutant, found in verdicts.items():
        if found not in ("killed", "out of time", "accepted"):
            was, now = mutant.change
            print(f"\n{mutant.name}: {found}\n    - {was}\n    + {now}")
    print()
    for file in dict.fromkeys(mutant.file for mutant in verdicts):
        print(
            _line(file, Counter(found for mutant, found in verdicts.items() if mutant.file == file))
        )
    total = Counter(verdicts.values())
    print(_line("all", total))
    return _share(total)


def _line(what: str, counts: Counter[str]) -> str:
    rest = ", ".join(
        f"{number} {found}" for found, number in sorted(counts.items()) if found != "killed"
    )
    seen = counts["killed"] + counts["out of time"]
    return (
        f"{what:24} {seen:5} of {counts.total() - counts['accepted']:5} "
        f"{100 * _share(counts):5.1f} %   {rest}"
    )


def _share(counts: Counter[str]) -> float:
    return (counts["killed"] + counts["out of time"]) / max(1, counts.total() - counts["accepted"])


def _codes(file: str) -> dict[str, int | None]:
    """How the tests of each mutant of a file ended; None: they were not run."""
    data = SourceFileMutationData(path=file)
    data.load()
    return data.exit_code_by_key


def main() -> None:
    """Draw mutants, try them and say what came of them."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "--sample", type=int, help="about so many mutants, spread over the files; all if not given"
    )
    options.add_argument("--seed", type=int, default=0, help="of the draw")
    options.add_argument(
        "--file", action="append", default=[], help="mutants of this file only; may be repeated"
    )
    options.add_argument(
        "--again", action="store_true", help="try those only that were not killed the last time"
    )
    given = options.parse_args()
    mutants = all_mutants(given.file)
    if given.sample and given.sample < len(mutants):
        mutants = drawn(mutants, given.sample, given.seed)
    codes = {
        name: code
        for file in {mutant.file for mutant in mutants}
        for name, code in _codes(file).items()
    }
    chosen = [
        mutant
        for mutant in mutants
        if not given.again or _VERDICTS.get(codes[mutant.name]) != "killed"
    ]
    if chosen:
        try_out(chosen)
    codes = {
        name: code
        for file in {mutant.file for mutant in mutants}
        for name, code in _codes(file).items()
    }
    accepted = read_accepted()
    if (
        report({mutant: verdict(mutant, codes[mutant.name], accepted) for mutant in mutants})
        < WANTED
    ):
        sys.exit(f"less than {100 * WANTED:g} % of the mutants were seen by tests")


if __name__ == "__main__":
    main()
