"""The page of an evaluation: the answer first, every figure with what stands beside it, and safe
to open whatever domains are called.
"""

import base64
import re
from pathlib import Path

import numpy as np
import pytest

from errors import UserError
from evaluation.measures import MEASURES
from evaluation.parts import FOLDER, read_part
from evaluation.reports import evaluation_report, words
from evaluation.reports.evaluation_report import write_report
from evaluation.results import Estimate, Evaluation
from evaluation.tasks import controls
from imaging import decode
from tests.evaluation.evaluations import make_evaluation
from tests.evaluation.reports.page import Page, assert_links_lead_somewhere, assert_self_contained

HOSTILE = ("<b>sum&mer", "win\"ter'></title>")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluated")


@pytest.fixture(scope="module")
def evaluation(out: Path) -> Evaluation:
    return make_evaluation(out)


@pytest.fixture(scope="module")
def html(out: Path, evaluation: Evaluation) -> str:
    return write_report(out, evaluation).read_text(encoding="utf-8")


def section(html: str, anchor: str) -> str:
    """The words of one section."""
    inside = html.split(f'<section id="{anchor}">')[1].split("</section>")[0]
    return " ".join(Page(inside).text.split())


def test_it_is_whole_in_one_file_and_its_links_lead_somewhere(html: str):
    assert_self_contained(html)
    assert_links_lead_somewhere(html)


def test_the_same_evaluation_gives_the_same_bytes(out: Path, evaluation: Evaluation, html: str):
    assert write_report(out, evaluation).read_text(encoding="utf-8") == html


def test_the_summary_comes_first_and_holds_the_headline_beside_its_controls(
    html: str, evaluation: Evaluation
):
    assert html.index('id="summary"') < html.index('id="task-1"')
    told = section(html, "summary")
    for measurement in evaluation.measurements[:2]:
        kid = measurement.get("kid_lite0")
        assert kid is not None
        for value in (kid.value, kid.low, kid.high, *kid.controls.values()):
            assert value is not None
            assert words.figure(kid.about, value) in told
        assert f"{measurement.source} → {measurement.target}" in told
        floor, deviation = (kid.controls[f"{of}real against real"] for of in ("", "deviation of "))
        assert f"the result lies {(kid.value - floor) / deviation:,.1f} of its deviations" in told
    assert "On 60 images a side" in told


def test_every_figure_stands_in_a_table_with_interval_images_and_controls(
    html: str, evaluation: Evaluation
):
    rows = [" ".join(Page(row).text.split()) for row in re.findall(r"<tr>.*?</tr>", html, re.S)]
    for measurement in evaluation.measurements:
        for estimate in measurement.estimates:
            about = estimate.about
            begin = f"{about.title} {words.arrow(about)} {words.figure(about, estimate.value)}"
            (row,) = {row for row in rows if row.startswith(begin)}
            assert words.interval(about, estimate.low, estimate.high) in row
            assert f" {estimate.images}" in row
            for name, value in estimate.controls.items():
                assert name == controls.FLOOR_DEVIATION or words.figure(about, value) in row


def test_every_measure_that_occurs_is_explained(html: str, evaluation: Evaluation):
    told = section(html, "legend")
    occurring = {e.measure for m in evaluation.measurements for e in m.estimates}
    for name, about in MEASURES.items():
        assert (about.meaning in told) == (name in occurring)
    assert words.CONTROLS[controls.REINHARD] in told


def test_cases_are_shown_pixel_for_pixel_with_words_for_those_who_do_not_see_them(
    html: str, out: Path, evaluation: Evaluation
):
    shown = Page(html).all("img")
    translations = [m for m in evaluation.measurements if m.task == "translation"]
    cases = [read_part(out, measurement).cases for measurement in translations]
    given = [
        (column, label, pixels)
        for each in cases
        if each
        for column, images in each.columns.items()
        for label, pixels in zip(("best", "median", "worst", "as it comes"), images, strict=True)
    ]
    assert len(shown) == len(given)
    for image, (column, label, pixels) in zip(shown, given, strict=True):
        assert np.array_equal(decode(base64.b64decode(str(image["src"]).split(",")[1])), pixels)
        assert f"style of an exemplar: {column}, {label}: " in str(image["alt"])


def test_many_pictures_are_compressed_and_the_page_says_so(
    out: Path, evaluation: Evaluation, html: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(evaluation_report, "LOSSLESS", 1000)
    smaller = write_report(out, evaluation).read_text(encoding="utf-8")
    assert "data:image/png" not in smaller
    assert "Pictures on this page are JPEG" in smaller
    assert "are JPEG" not in html


def test_the_plot_has_a_dot_and_a_whisker_for_each_direction(html: str):
    (plot,) = re.findall(r'<svg class="whiskers".*?</svg>\s*<ul', html, re.S)
    assert plot.count("<circle") == 2
    assert plot.count('class="floor"') == 2
    assert plot.count('class="control"') == 4


def test_gaps_are_named_where_they_are_and_all_together(html: str):
    assert "KID-Lite2: install vqi2i[metrics]" in section(html, "task-1")
    assert "KID-Lite2: install vqi2i[metrics]Translationall" in section(html, "gaps")


def test_facts_of_model_and_data_stand_at_the_end(html: str, evaluation: Evaluation):
    assert html.rindex("<section") == html.index('<section id="facts"')
    told = section(html, "facts")
    for text in (evaluation.model.fingerprint, "run: first", "summer, winter", "the last"):
        assert text in told


def warned(evaluation: Evaluation, out: Path, **changes: float) -> str:
    """The summary when the first headline is changed."""
    first = evaluation.measurements[0]
    kid = first.estimates[0].model_copy(update=changes)
    other = first.model_copy(update={"estimates": (kid, *first.estimates[1:])})
    changed = evaluation.model_copy(update={"measurements": (other, *evaluation.measurements[1:])})
    return section(write_report(out, changed).read_text(encoding="utf-8"), "summary")


def test_few_images_and_a_figure_at_the_floor_are_warned_of(
    out: Path, evaluation: Evaluation, html: str
):
    assert "⚠" not in section(html, "summary")
    assert "fewer than 50 images" in warned(evaluation, out, images=49)
    assert "fewer than 50 images" not in warned(evaluation, out, images=50)
    assert "includes the floor" in warned(evaluation, out, low=-1.0)


def test_being_no_better_than_a_control_is_said(out: Path, evaluation: Evaluation):
    kid = evaluation.measurements[0].estimates[0]
    transfer = kid.controls["Reinhard transfer"]
    worse = warned(evaluation, out, value=transfer + 2, low=transfer + 1, high=transfer + 3)
    assert "worse than Reinhard transfer" in worse
    same = warned(evaluation, out, value=transfer, low=transfer - 1, high=transfer + 1)
    assert re.search(r"not told apart from [^.]*Reinhard transfer", same)
    better = warned(evaluation, out, value=0.0, low=0.0, high=0.0)
    assert re.search(r"better than [^.]*Reinhard transfer", better)


def test_names_of_domains_are_text_whatever_they_hold(tmp_path: Path):
    html = write_report(tmp_path, make_evaluation(tmp_path, domains=HOSTILE)).read_text()
    page = Page(html)
    assert not page.all("b")
    assert not any(name in html for name in HOSTILE)
    assert f"{HOSTILE[0]} → {HOSTILE[1]}" in page.text
    assert_links_lead_somewhere(html)


def test_many_domains_are_folded_under_a_matrix_that_counts_its_images(tmp_path: Path):
    domains = ("autumn", "night", "spring", "summer", "winter")
    evaluation = make_evaluation(tmp_path, domains=domains, images=10)
    html = write_report(tmp_path, evaluation).read_text(encoding="utf-8")
    told = section(html, "summary")
    assert "autumn night spring summer winter N" in told
    assert "20 of 20: fewer than 50 images" in told
    folded = html.split('<section id="task-1">')[1].split("</section>")[0]
    assert folded.count("<details") == 21
    assert "<details open" not in folded
    assert not re.search(r"<details id=\S+ open", folded)


def test_a_missing_part_is_told_in_one_sentence(tmp_path: Path):
    evaluation = make_evaluation(tmp_path)
    path = tmp_path / FOLDER / "translation-summer-winter-exemplar.npz"
    path.unlink()
    with pytest.raises(UserError, match=rf"{path} is missing: `vqi2i evaluate`"):
        write_report(tmp_path, evaluation)
    path.write_bytes(b"PK half of a file")
    with pytest.raises(UserError, match="is not whole: remove it"):
        write_report(tmp_path, evaluation)


def test_an_evaluation_without_its_headline_says_so(tmp_path: Path):
    evaluation = make_evaluation(tmp_path).model_copy(update={"headline": "kid_random"})
    html = write_report(tmp_path, evaluation).read_text(encoding="utf-8")
    assert "KID on random convolutions, the headline, was measured of no" in html


@pytest.mark.parametrize(
    ("measure", "value", "shown"),
    [
        ("kid_lite0", 0.41249, "0.412"),
        ("kid_lite0", 0.00042, "0.0004"),
        ("kid_lite0", -0.0004, "-0.0004"),
        ("kid_lite0", 0.0, "0.000"),
        ("dead_codes", 12.0, "12"),
        ("psnr", 25.0, "25.00"),
    ],
)
def test_figures_have_the_digits_of_their_measure_and_none_looks_like_zero(
    measure: str, value: float, shown: str
):
    assert words.figure(Estimate(measure=measure, value=value, images=1).about, value) == shown
