"""Reports and comparisons fit the screen, narrow and wide, and show all their pictures."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from evaluation.comparison import compare
from evaluation.reports.comparison_report import write_comparison
from evaluation.reports.evaluation_report import write_report
from tests.browser import Browser, browser, needs_browser
from tests.evaluation.evaluations import make_evaluation

pytestmark = [pytest.mark.slow, needs_browser]
DOMAINS = ("summer", "winter", "a-domain-with-a-name-that-is-longer-than-any-column-of-a-table")


@pytest.fixture(scope="module")
def running() -> Iterator[Browser]:
    with browser() as page:
        yield page


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    first = make_evaluation(folder / "paper", domains=DOMAINS, size=96)
    make_evaluation(folder / "plus", name="plus", distance=0.1, domains=DOMAINS, size=96)
    folders = [folder / "paper", folder / "plus"]
    return {
        "report": write_report(folders[0], first),
        "comparison": write_comparison(folder / "both", folders, compare(folders)),
    }


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("page", ["report", "comparison"])
def test_nothing_reaches_beyond_the_screen(
    page: str, width: int, running: Browser, pages: dict[str, Path]
) -> None:
    running.screen(width, 900)
    running.open(pages[page].as_uri())
    assert running.run("document.documentElement.scrollWidth") <= width
    unseen = "[...document.images].filter(image => !image.naturalWidth).length"
    assert running.run(unseen) == 0
    assert running.run("document.images.length") > 3
    assert running.errors == []
