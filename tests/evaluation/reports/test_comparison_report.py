"""The page of a comparison: what stands, and the same inputs under each model."""

import base64
from pathlib import Path

import numpy as np
import pytest

from evaluation.comparison import compare
from evaluation.parts import read_part, write_part
from evaluation.reports import words
from evaluation.reports.comparison_report import write_comparison
from evaluation.results import read
from imaging import decode
from tests.evaluation.evaluations import make_evaluation
from tests.evaluation.reports.page import Page, assert_links_lead_somewhere, assert_self_contained

MODELS = {"paper": 0.6, "plus": 0.3, "<i>uni & co": 0.35}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    made = tmp_path_factory.mktemp("evaluations")
    for number, (name, distance) in enumerate(MODELS.items()):
        make_evaluation(made / str(number), name=name, distance=distance)
    return [made / str(number) for number in range(len(MODELS))]


@pytest.fixture(scope="module")
def html(folders: list[Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("out") / "page"
    return write_comparison(out, folders, compare(folders)).read_text(encoding="utf-8")


def test_it_is_whole_in_one_file_and_its_links_lead_somewhere(html: str):
    assert_self_contained(html)
    assert_links_lead_somewhere(html)
    assert not Page(html).all("i")


def test_the_same_evaluations_give_the_same_bytes(html: str, folders: list[Path], tmp_path: Path):
    again = write_comparison(tmp_path, folders, compare(folders))
    assert again.read_text(encoding="utf-8") == html


def test_every_difference_stands_in_a_table_with_its_verdict(html: str, folders: list[Path]):
    comparison = compare(folders)
    text = Page(html).text
    for row in comparison.compared:
        about = row.estimates[0].about
        for difference in row.differences:
            assert words.change(about, difference) in text
    verdicts = [each for row in comparison.compared for each in row.differences]
    leading = [
        each
        for row in comparison.compared
        if row.measure == "kid_lite0"
        for each in row.differences
    ]
    for better, sign in ((True, "met"), (False, "not-met")):
        wanted = sum(each.better is better for each in (*verdicts, *leading))
        assert html.count(f'<span class="badge {sign}">') == wanted
    assert words.tally(comparison.made, comparison.standing, comparison.by_chance) in text


def test_the_summary_begins_with_the_headline_of_each_direction(html: str, folders: list[Path]):
    summary = Page(html.split('<section id="summary">')[1].split("</section>")[0]).text
    for row in compare(folders).compared:
        about = row.estimates[0].about
        for difference in row.differences:
            leads = row.measure == "kid_lite0"
            assert (words.change(about, difference) in summary) == leads


def test_the_same_inputs_stand_above_what_each_model_made_of_them(html: str, folders: list[Path]):
    images = [
        (str(each["alt"]), decode(base64.b64decode(str(each["src"]).split(",")[1])))
        for each in Page(html).all("img")
    ]
    measurement = read(folders[0]).measurements[0]
    for folder, label in zip(folders, MODELS, strict=True):
        cases = read_part(folder, measurement).cases
        assert cases is not None
        shown = [p for alt, p in images if alt.startswith(f"{words.title(measurement)}: {label},")]
        assert np.array_equal(shown, cases.columns["result"])


def test_inputs_that_only_one_model_shows_are_left_out(folders: list[Path], tmp_path: Path):
    make_evaluation(tmp_path, name="plus")
    for measurement in read(tmp_path).measurements[:2]:
        part = read_part(tmp_path, measurement)
        assert part.cases
        columns = dict(part.cases.columns)
        columns["input"] = columns["input"].copy()
        columns["input"][1:] += 1
        columns = {name: np.roll(images, -1, axis=0) for name, images in columns.items()}
        write_part(tmp_path, part._replace(cases=part.cases._replace(columns=columns)), "key")
    pair = [folders[0], tmp_path]
    page = write_comparison(tmp_path, pair, compare(pair)).read_text(encoding="utf-8")
    shown = Page(page).all("img")
    assert len(shown) == 2 * 5  # input, exemplar, truth and two results, twice
    cases = read_part(tmp_path, read(tmp_path).measurements[0]).cases
    assert cases is not None
    last = decode(base64.b64decode(str(shown[4]["src"]).split(",")[1]))
    assert np.array_equal(last, cases.columns["result"][-1])
