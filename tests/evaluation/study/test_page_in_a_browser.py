"""The page in a real browser: keys, touch, reloads, a server that goes away, narrow and wide
screens.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from evaluation.study.answers import FILE, Kept, read_answers
from evaluation.study.trials import Study
from tests.browser import Browser, browser, needs_browser
from tests.evaluation.study.conftest import participant, served

pytestmark = needs_browser
Built = tuple[Path, Study]


@pytest.fixture(scope="module")
def running() -> Iterator[Browser]:
    with browser() as page:
        yield page


@pytest.fixture
def page(running: Browser) -> Iterator[Browser]:
    """A browser with a wide screen; scripts of its pages must not fail."""
    running.screen(1280, 800)
    yield running
    assert running.errors == []


def at(number: int) -> str:
    """Whether the page shows the trial with this place in its order."""
    return f"document.querySelector('#place').textContent.startsWith('{number} of')"


def visible(part: str) -> str:
    return f"!document.querySelector('#{part}').hidden"


def shown(page: Browser) -> tuple[int, int]:
    """Numbers of the pictures on the left and on the right, by what is to be seen."""
    script = (
        "['left', 'right'].map(side => JSON.parse(document.querySelector('#pictures').textContent)"
        ".indexOf(document.querySelector(`#${side} img`).src))"
    )
    left, right = page.run(script)
    return left, right


def given(study: Built) -> list[Kept]:
    return list(read_answers(*study).kept)


def test_arrow_keys_choose_what_is_seen_on_their_side(page: Browser, study: Built) -> None:
    with served(*study) as url:
        page.open(url + "/")
        assert page.run("document.activeElement.id") == "begin"
        page.press("Enter")
        wanted = []
        count = len(study[1].trials)
        for number in range(1, count + 1):
            page.wait(at(number))
            side = number % 3 == 0
            wanted.append((shown(page)[side], "right" if side else "left"))
            assert page.run("document.activeElement.id") == "question"
            page.press("ArrowRight" if side else "ArrowLeft")
        page.wait(visible("end"))
        assert page.run("document.querySelector('#bar').max") == count
    answers = given(study)
    assert [(each.choice, each.side) for each in answers] == wanted
    assert sorted(each.trial for each in answers) == list(range(count))
    assert len({each.participant for each in answers}) == 1
    asked = [study[1].trials[each.trial].question for each in answers]
    assert asked == sorted(asked, reverse=True)  # one question after the other
    assert [each.trial for each in answers] != sorted(each.trial for each in answers)


def test_a_key_that_is_held_down_answers_nothing(page: Browser, study: Built) -> None:
    with served(*study) as url:
        page.open(url + "/")
        page.press("Enter")
        page.wait(at(1))
        for _ in range(5):
            page.press("ArrowLeft", held=True)
        page.press("ArrowLeft")
        page.wait(at(2))
    assert len(given(study)) == 1


def test_after_a_reload_the_page_goes_on_where_it_was(page: Browser, study: Built) -> None:
    with served(*study) as url:
        page.open(url + "/")
        page.press("Enter")
        page.wait(at(1))
        before = shown(page)
        page.reload()
        page.press("Enter")
        page.wait(at(1))
        assert shown(page) == before
        for number in range(1, 4):
            page.wait(at(number))
            page.press("ArrowRight")
        page.wait(at(4))
        before = shown(page)
        page.reload()
        page.wait(at(4))
        assert shown(page) == before
        page.press("ArrowRight")
        page.wait(at(5))
    answers = given(study)
    assert len({each.trial for each in answers}) == len(answers) == 4
    assert len({each.participant for each in answers}) == 1


def test_half_of_the_participants_see_pairs_the_other_way_round(
    page: Browser, study: Built
) -> None:
    trials = study[1].trials
    orders = []
    with served(*study) as url:
        for who in (2 << 120, 3 << 120, (2 << 120) + 1):
            page.open(url + "/")
            state = f'{{"participant": "{participant(who)}", "answered": []}}'
            page.run(f"localStorage.setItem('vqi2i-study-{study[1].identity}', '{state}')")
            page.reload()
            page.press("Enter")
            page.wait(at(1))
            left, right = shown(page)
            pairs = [(trial.left.picture, trial.right.picture) for trial in trials]
            assert ((right, left) if who % 2 else (left, right)) in pairs
            page.press("ArrowLeft")
            page.wait(at(2))
            orders.append(given(study)[-1].trial)
            page.run("localStorage.clear()")
    assert orders[0] == orders[2]  # of those whose numbers begin alike
    assert orders[0] != orders[1]


def test_an_answer_waits_for_a_server_that_is_away(page: Browser, study: Built) -> None:
    with served(*study) as url:
        page.open(url + "/")
        page.press("Enter")
        page.wait(at(1))
        seen = shown(page)
    page.press("ArrowLeft")
    page.wait(visible("problem"))
    assert "could not be saved: the server does not answer" in page.run(
        "document.querySelector('#problem').textContent"
    )
    assert page.run("document.activeElement.id") == "again"
    page.press("ArrowRight")  # too late to think again
    assert (study[0] / FILE).read_bytes() == b""
    with served(*study, port=int(url.rpartition(":")[2])):
        page.press("Enter")
        page.wait(at(2))
    assert [(each.choice, each.side) for each in given(study)] == [(seen[0], "left")]


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844), (844, 390)])
@pytest.mark.parametrize("question", ["realism", "content"])
def test_pictures_fit_the_screen_and_can_be_touched(
    page: Browser, study: Built, question: str, width: int, height: int
) -> None:
    page.screen(width, height, touch=True, dark=True)
    only = [number for number, trial in enumerate(study[1].trials) if trial.question == question]
    others = sorted({*range(len(study[1].trials))} - {*only})
    with served(*study) as url:
        page.open(url + "/")
        state = f'{{"participant": "{participant(5)}", "answered": {others}}}'
        page.run(f"localStorage.setItem('vqi2i-study-{study[1].identity}', '{state}')")
        page.reload()
        page.wait(at(len(others) + 1))
        assert page.run(visible("source")) == (question == "content")
        assert page.run("document.documentElement.scrollWidth") <= width
        images = "[...document.querySelectorAll('#pair figure:not([hidden]) img, .choice img')]"
        boxes = page.run(
            f"{images}.map(i => i.getBoundingClientRect()).map(b => [b.left, b.top, b.right, "
            "b.bottom])"
        )
        assert len(boxes) == (3 if question == "content" else 2)
        for left, top, right, bottom in boxes:
            assert left >= 0
            assert top >= 0
            assert right <= width
            assert bottom <= height
            assert right - left == pytest.approx(bottom - top)  # as square as the picture
            assert right - left >= 120
        seen = shown(page)[1]
        page.tap("#right")
        page.wait(at(len(others) + 2))
    (kept,) = given(study)
    assert (kept.choice, kept.side) == (seen, "right")


def test_readers_of_screens_are_told_what_there_is(page: Browser, study: Built) -> None:
    with served(*study) as url:
        page.open(url + "/")
        page.press("Enter")
        page.wait(at(1))
        nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    named = {
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node.get("ignored")
    }
    count = len(study[1].trials)
    assert ("button", "First picture this one") in named
    assert ("button", "Second picture this one") in named
    assert ("heading", f"Which one looks more like a real winter picture? 1 of {count}") in named
    assert ("progressbar", "Answered") in named
