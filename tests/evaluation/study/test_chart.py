"""The chart of preferences: bars as long as the figures say, on a page that needs nothing else."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from evaluation.study.chart import render
from evaluation.study.preferences import Preference, Preferences, wilson
from tests.browser import browser, needs_browser


def preference(question: str, first: str, second: str, chosen: int, of: int) -> Preference:
    share, low, high = wilson(chosen, of)
    return Preference.model_validate(
        {
            "question": question,
            "first": first,
            "second": second,
            "answers": of,
            "chosen": chosen,
            "share": share,
            "low": low,
            "high": high,
        }
    )


@pytest.fixture(scope="module")
def outcome() -> Preferences:
    return Preferences(
        to="<winter>",
        participants=12,
        missed=2,
        unchecked=1,
        answers=1234,
        left=0.51,
        torn=0,
        preferences=(
            preference("realism", "ours", "rival", 90, 120),
            preference("realism", "ours", "real", 9, 120),
            preference("realism", "rival", "real", 0, 5),
            preference("content", "ours", "rival", 62, 120),
        ),
    )


def charts(page: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]


def test_bars_and_intervals_are_as_long_as_the_figures(outcome: Preferences) -> None:
    realism, content = charts(render(outcome))
    space = "{http://www.w3.org/2000/svg}"
    for chart, question in ((realism, "realism"), (content, "content")):
        shown = [each for each in outcome.preferences if each.question == question]
        bars = [bar for bar in chart.iter(f"{space}rect") if bar.get("class") == "first"]
        assert [bar.get("width") for bar in bars] == [f"{100 * each.share:.2f}%" for each in shown]
        groups = [each for each in chart.iter(f"{space}g") if each.get("class") == "interval"]
        for group, each in zip(groups, shown, strict=True):
            ends = (f"{100 * each.low:.2f}%", f"{100 * each.high:.2f}%")
            assert (group[0].get("x1"), group[0].get("x2")) == ends
        (half,) = (each for each in chart.iter(f"{space}line") if each.get("class") == "half")
        assert half.get("x1") == half.get("x2") == "50%"


def test_the_page_says_what_it_counts(outcome: Preferences) -> None:
    page = render(outcome)
    text = " ".join(re.sub(r"<[^>]*>", " ", page).split())
    assert "1,234 answers of 12 participants" in text
    assert "2 who missed an attention check, 1 who saw none" in text
    assert "ours over rival 120 75.0 % 66.6 to 81.9 % stands" in text
    assert "ours over rival 120 51.7 % 42.8 to 60.4 % within chance" in text
    assert "real &lt;winter&gt; picture?" in page
    assert not re.search(r"<script|https?://(?!www.w3.org/2000/svg)|@import|<link", page)


@needs_browser
@pytest.mark.parametrize("width", [1280, 375])
def test_the_chart_fits_the_screen(outcome: Preferences, tmp_path: Path, width: int) -> None:
    (tmp_path / "preferences.html").write_text(render(outcome))
    with browser() as page:
        page.screen(width, 800)
        page.open((tmp_path / "preferences.html").as_uri())
        assert page.run("document.documentElement.scrollWidth") <= width
        assert page.errors == []
        bars = page.run("[...document.querySelectorAll('.first')].map(b => b.getBBox().width)")
        full = page.run("document.querySelector('.second').getBBox().width")
    assert [bar / full for bar in bars] == pytest.approx([0.75, 0.075, 0, 62 / 120], abs=1e-3)
