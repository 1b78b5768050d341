"""Which tests try a mutant, and in which order: a pytest plugin of `make mutants`.

mutmut gives the tests that call the mutated function. Those of the file that mirrors the mutated
one come first, then the fastest; a mutant that lives through so many seconds of tests lives.
"""

import json
import os
from itertools import accumulate
from pathlib import Path

import pytest

SECONDS = 60.0  # of tests as fast as they were without mutants
_STATS = Path("mutmut-stats.json")  # in the folder where mutmut runs tests


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the tests of a mutant, and leave out the slowest."""
    mutant = os.environ.get("MUTANT_UNDER_TEST", "")
    if "__mutmut_" not in mutant:
        return
    seconds = json.loads(_STATS.read_text())["duration_by_test"]
    *package, module, _ = mutant.split(".")
    own = "/".join(("tests", *package, f"test_{module}.py::"))
    items.sort(key=lambda item: (not item.nodeid.startswith(own), seconds.get(item.nodeid, 0.0)))
    ends = accumulate(seconds.get(item.nodeid, 0.0) for item in items)
    kept = max(1, sum(end <= SECONDS for end in ends))
    config.hook.pytest_deselected(items=items[kept:])
    del items[kept:]
