"""The report: one file that needs nothing else, and holds all that it was given."""

import base64
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.reports.curves import MAX_POINTS, curve_svg
from evaluation.reports.season_report import Figure, Row, write_report
from evaluation.seasons.domain_classifier import DomainClassifier
from evaluation.seasons.protocol import PairEvaluation, Tally, evaluate_pairs, verdicts
from imaging import decode
from tests.evaluation.reports.page import Page, assert_self_contained
from vqi2i import Translator

FACTS = {"Seed": "7", "Steps reached": "1940 of 2000 <early>"}
CURVES = {
    "stage1/reconstruction": [(8 * i, 1 / i) for i in range(1, 50)],
    "stage1/codes_used": [(8.0 * i, i / 50) for i in range(1, 50)],
}


@pytest.fixture(scope="module")
def evaluation(
    tiny_translator: Translator, triples: Any, classifier: DomainClassifier
) -> PairEvaluation:
    """Of an untrained model, but with one criterion met, so that both verdicts are to be seen."""
    measured = evaluate_pairs(tiny_translator, triples, classifier)
    good = measured.directions[0].model_copy(update={"psnr_over_identity": 7.125})
    return measured.model_copy(update={"directions": (good, *measured.directions[1:])})


@pytest.fixture(scope="module")
def figures(triples: Any) -> list[Figure]:
    paired = triples["summer", "winter"]
    rows = [Row("source", list(paired.source)), Row("truth", list(paired.truth))]
    return [
        Figure("Summer to winter", "The same place in another season.", rows),
        Figure(
            "Wide", "Three times as wide.", [Row("canvas", [np.tile(paired.source[0], (1, 3, 1))])]
        ),
    ]


@pytest.fixture(scope="module")
def html(
    evaluation: PairEvaluation, figures: list[Figure], tmp_path_factory: pytest.TempPathFactory
) -> str:
    path = tmp_path_factory.mktemp("report") / "folder" / "report.html"
    write_report(
        path,
        title="Two seasons",
        verdicts=verdicts(evaluation),
        evaluation=evaluation,
        figures=figures,
        facts=FACTS,
        curves=CURVES,
    )
    return path.read_text(encoding="utf-8")


def test_it_is_well_formed_and_holds_title_captions_and_facts(html: str, figures: list[Figure]):
    page = Page(html)
    for text in (
        "Two seasons",
        *(f.title for f in figures),
        *(f.caption for f in figures),
        *CURVES,
    ):
        assert text in page.text
    for name, value in FACTS.items():
        assert name in page.text
        assert value in page.text  # "<early>" comes back as text: it was escaped


def test_every_verdict_is_a_row_that_says_met_or_not(html: str, evaluation: PairEvaluation):
    judged = verdicts(evaluation)
    rows = re.findall(
        r"<tr><th scope=\"row\">(.*?)</tr>",
        html.split('class="verdicts"')[1].split("</table>")[0],
        re.S,
    )
    assert [" not met<" in row for row in rows] == [verdict.met is False for verdict in judged]
    assert ["shown only" in row for row in rows] == [verdict.met is None for verdict in judged]
    assert {verdict.met for verdict in judged} == {True, False, None}
    for row, verdict in zip(rows, judged, strict=True):
        share = verdict.name in {"domain_accuracy", "codes_used"}
        assert (
            f">{verdict.value:.2%}<" if share else f">{verdict.value:.2f}"
        ) in row or f">{verdict.value:+.3f}<" in row
        assert verdict.direction is None or verdict.direction.replace("_to_", " → ") in row
    met, asked = Tally.of(judged)
    assert f"{met} of {asked} criteria met" in html


def test_controls_stand_beside_the_figures(html: str, evaluation: PairEvaluation):
    for direction in evaluation.directions:
        assert f"input itself {direction.identity.psnr:.1f} dB" in html
        assert f"exemplar itself {direction.exemplar.psnr:.1f} dB" in html
        assert f"Reinhard transfer {direction.reinhard.psnr:.1f} dB" in html
    assert f"perplexity {evaluation.perplexity:.0f} of {evaluation.codebook_size} codes" in html


def test_every_picture_is_embedded_pixel_for_pixel_in_order_and_described(
    html: str, figures: list[Figure]
):
    given = [
        (row.label, pixels) for figure in figures for row in figure.rows for pixels in row.images
    ]
    shown = Page(html).all("img")
    assert len(shown) == len(given)
    for image, (label, pixels) in zip(shown, given, strict=True):
        prefix, data = str(image["src"]).split(",")
        assert prefix == "data:image/png;base64"
        assert np.array_equal(decode(base64.b64decode(data)), pixels)
        assert label in str(image["alt"])
        assert int(str(image["width"])) == 3 * pixels.shape[1]
        assert int(str(image["height"])) == 3 * pixels.shape[0]
    assert "image-rendering: pixelated" in html


def test_nothing_is_loaded_from_anywhere_and_nothing_runs(html: str):
    assert_self_contained(html)


def test_links_lead_to_sections_and_ids_are_unique(html: str):
    page = Page(html)
    ids = [attributes["id"] for _, attributes in page.elements if attributes.get("id")]
    assert len(ids) == len(set(ids))
    links = [attributes["href"] for attributes in page.all("a")]
    assert len(links) == 5
    assert {str(link)[1:] for link in links} <= set(ids)


def test_curves_are_drawn_in_the_colours_of_the_page(html: str):
    page = Page(html)
    assert len(page.all("svg")) == len(CURVES)
    svg = curve_svg("loss", [(0, 2.0), (8, 1.0)])
    assert "var(--accent)" in svg
    assert "var(--muted)" in svg
    assert svg == curve_svg("loss", [(0, 2.0), (8, 1.0)])


def test_long_curves_are_thinned_and_a_single_point_is_seen():
    long = curve_svg("loss", [(i, i % 7) for i in range(20 * MAX_POINTS)])
    assert len(long) < 40_000
    marker = re.compile(r"<use [^>]*var\(--accent\)")  # a line of one point would be invisible
    assert marker.search(curve_svg("loss", [(8, 1.0)]))
    assert not marker.search(long)


def test_real_photographs_without_a_truth_have_a_report_too(figures: list[Figure], tmp_path: Path):
    write_report(
        tmp_path / "report.html", title="Photographs", figures=figures, facts=FACTS, curves={}
    )
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "criteria" not in page.text.split("Photographs", 1)[1].lower()
    assert not page.all("svg")


def test_what_would_show_nothing_is_refused(evaluation: PairEvaluation, tmp_path: Path):
    path = tmp_path / "report.html"
    with pytest.raises(ValueError, match="'Empty' has no images"):
        write_report(
            path, title="t", figures=[Figure("Empty", "Nothing.", [])], facts={}, curves={}
        )
    with pytest.raises(ValueError, match="'loss' has no points"):
        write_report(path, title="t", facts={}, curves={"loss": []})
    with pytest.raises(ValueError, match="pass both or neither"):
        write_report(path, title="t", verdicts=verdicts(evaluation), facts={}, curves={})
    assert not path.exists()
