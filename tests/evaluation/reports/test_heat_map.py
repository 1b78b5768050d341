"""Grids of codebooks: a cell for every combination, one scale of colour, numbers inside."""

from itertools import product
from pathlib import Path

import pytest

from evaluation.reports.heat_map import MOST, heat_maps
from evaluation.reports.protocol_report import write_reproduction
from evaluation.reports.reproduction import Column, FloorAt, Outcome, Place, Reproduction, tables
from evaluation.results import Estimate, Measurement, Settings, Subject
from tests.browser import browser, needs_browser
from tests.evaluation.reports.page import Page, assert_links_lead_somewhere, assert_self_contained

CODES, DIMS = (64, 512), (64, 256, 512)


def outcome(quantizer: str, codes: int, dim: int) -> Outcome:
    used = 1.0 if quantizer == "ema_restart" else 35 / codes
    controls = {"all codes alike": codes / 64, "real against real": 0.001}
    measurements = [Measurement(task="codebook", estimates=(_estimate("codes_used", used, {}),))]
    for number, domain in enumerate(("summer", "winter")):
        figures = (_estimate("kid_lite0", 0.2 + number * 0.2, controls),)
        rebuilt = Measurement(task="reconstruction", source=domain, estimates=figures)
        measurements.append(rebuilt)
    return Outcome(
        name=f"{quantizer}-{codes}x{dim}",
        stage="stage1",
        recipe="paper64",
        settings=(),
        prior=None,
        place=Place(quantizer=quantizer, codes=codes, dim=dim),
        fingerprint="0" * 64,
        images=40,
        planned=400,
        measurements=tuple(measurements),
        against=None,
        differences=(),
        gaps=("<b>a gap</b>",),
    )


def _estimate(measure: str, value: float, controls: dict[str, float]) -> Estimate:
    return Estimate(
        measure=measure,
        value=value,
        low=value * 0.9,
        high=value * 1.1,
        images=80,
        controls=controls,
    )


@pytest.fixture(scope="module")
def found() -> Reproduction:
    places = [*product(("vq", "ema_restart"), CODES, DIMS)][:-1]  # the last one is not there
    return Reproduction(
        protocol="table4",
        title="Table 4: codebooks",
        shows="How much is used?",
        scale=64,
        minutes=2,
        given=("network.base_channels=8",),
        data=Subject(name="shards", fingerprint="0" * 64),
        settings=Settings(),
        headline="kid_lite0",
        columns=(
            Column(task="codebook", measure="codes_used"),
            Column(task="reconstruction", measure="kid_lite0"),
        ),
        variants=tuple(outcome(*place) for place in places),
        floors=(FloorAt(domain="summer", measure="kid_lite0", images=20, mean=0.1, deviation=0.2),),
        published=("about 35 of 512 codes are used",),
    )


@pytest.fixture(scope="module")
def page(found: Reproduction, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reproduction(tmp_path_factory.mktemp("page"), found)


def test_every_combination_has_a_cell_and_what_is_missing_is_empty(found: Reproduction) -> None:
    maps = [*heat_maps(found)]
    assert [(each.quantizer, each.about.title) for each in maps] == [
        ("vq", "codes used"),
        ("ema_restart", "codes used"),
        ("vq", "KID-Lite0"),
        ("ema_restart", "KID-Lite0"),
    ]
    for each in maps:
        assert [codes for codes, _ in each.rows] == [*CODES]
        missing = [cell is None for _, cells in each.rows for cell in cells]
        assert len(missing) == len(CODES) * len(DIMS)
        assert missing == [False] * 5 + [each.quantizer == "ema_restart"]


def test_quantizers_share_one_scale_of_colour(found: Reproduction) -> None:
    vq, restarted = [*heat_maps(found)][:2]
    warmth = {cell.value: cell.warmth for _, cells in vq.rows for cell in cells if cell}
    assert warmth["0.068"] == 0
    assert 0 < warmth["0.547"] < MOST
    assert {cell.warmth for _, cells in restarted.rows for cell in cells if cell} == {MOST}


def test_figures_of_several_domains_are_means_without_an_interval(found: Reproduction) -> None:
    of_codes, of_domains = ([*heat_maps(found)][number].rows[0][1][0] for number in (0, 2))
    assert of_codes
    assert of_codes.interval == "0.492 to 0.602"
    assert of_domains
    assert (of_domains.value, of_domains.interval) == ("0.300", "")


def test_a_control_that_is_not_the_same_for_all_has_a_row_for_each_kind(
    found: Reproduction,
) -> None:
    table = next(each for each in tables(found) if each.title == "Reconstruction, summer")
    beside = [row.label for row in table.rows if row.kind == "control"]
    assert beside[0].startswith("all codes alike, of vq-64x64; vq-64x256")
    assert beside[1].startswith("all codes alike, of vq-512x64")
    assert beside[2] == "real against real"


def test_the_page_is_whole_and_says_how_many_images(page: Path, found: Reproduction) -> None:
    html = page.read_text()
    assert_self_contained(html)
    assert_links_lead_somewhere(html)
    assert not Page(html).all("b")
    assert html.count("N = 80") == len([*heat_maps(found)])
    assert "about 35 of 512 codes are used" in html


@needs_browser
def test_numbers_are_legible_in_every_cell_by_day_and_by_night(page: Path) -> None:
    contrast = """(() => {
        const canvas = document.createElement("canvas").getContext("2d");
        const light = color => {
            canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
            const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map(v => v / 255)
                .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
            return .2126 * r + .7152 * g + .0722 * b + .05;
        };
        return Math.min(...[...document.querySelectorAll(".heat td:not(.none)")].map(cell => {
            const style = getComputedStyle(cell);
            const [a, b] = [light(style.color), light(style.backgroundColor)];
            return Math.max(a, b) / Math.min(a, b);
        }));
    })()"""
    with browser() as screen:
        for width, dark in ((1280, False), (400, True)):
            screen.screen(width, 900, dark=dark)
            screen.open(page.as_uri())
            assert screen.run(contrast) >= 4.5
            assert screen.run("document.documentElement.scrollWidth <= innerWidth")
