"""vqi2i reproduce: variants are trained and measured once, and the grid ends up the same however
often it was interrupted.
"""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from commands.evaluation import protocol_run
from commands.evaluation.protocols import PROTOCOLS, Options, make_protocol
from errors import UserError
from evaluation.reports.heat_map import heat_maps
from evaluation.reports.reproduction import Reproduction, tables
from pipelines.images_to_shards import build_shards
from pipelines.synthetic.dataset import DOMAINS, synthesize
from run import app
from tests.evaluation.reports.page import Page, assert_links_lead_somewhere, assert_self_contained
from training.recipes import STAGE1, STAGE2

TINY = (
    "crop=16",
    "precision=float32",
    "batch_size=4",
    "network.resolution=16",
    "network.base_channels=8",
    "network.z_channels=8",
    "network.style_channels=4",
    "network.num_style_blocks=1",
    "discriminator.base_channels=4",
    "schedule.images=8",
    "schedule.minutes=null",
)
TINY_PRIOR = (
    "precision=float32",
    "batch_size=4",
    "prior.num_layers=1",
    "prior.width=16",
    "prior.window=[4,4]",
    "schedule.images=8",
    "schedule.minutes=null",
)
GRID = ("--codes", "4,8", "--dims", "4")


@pytest.fixture(autouse=True)
def quick(no_extra: None, new_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pretrained networks; a store and a cache of the test's own."""
    monkeypatch.setenv("VQI2I_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("painted") / "seasons"
    synthesize(folder, pairs=24, size=16, tests=24, wide=0)
    return folder


@pytest.fixture(scope="module")
def many(photos: Path) -> Path:
    """Shards with six test images of each season or more."""
    folders = {domain: photos / "train" / domain for domain in DOMAINS}
    build_shards(folders, out=photos.parent / "shards", size=16, test_fraction=0.4)
    return photos.parent / "shards"


@pytest.fixture(scope="module")
def pairs(photos: Path) -> Path:
    there = photos / "test" / "summer_to_winter"
    folders = {"summer": there / "source", "winter": there / "truth"}
    build_shards(folders, out=photos.parent / "pairs", size=16, test_fraction=0.5, paired=True)
    return photos.parent / "pairs"


def arguments(protocol: str, data: Path, out: Path, *more: str) -> list[str]:
    tiny = [part for each in TINY for part in ("--set", each)]
    tiny += [part for each in TINY_PRIOR for part in ("--set-prior", each)]
    words = ["reproduce", protocol, "--data", str(data), "--out", str(out), "--images", "6"]
    return [*words, *tiny, *more]


def reproduced(protocol: str, data: Path, out: Path, *more: str) -> Reproduction:
    done = CliRunner().invoke(
        app, [*arguments(protocol, data, out, *more), "--json"], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    return Reproduction.model_validate_json((out / "results.json").read_bytes())


def test_the_grid_goes_on_after_a_kill_to_the_same_bytes(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    found = reproduced("table4", many, whole, *GRID)
    measure = protocol_run.measure
    measured: list[Path] = []

    def until_the_third(asked: protocol_run.Asked, out: Path) -> object:
        measured.append(out)
        if len(measured) == 3:
            raise KeyboardInterrupt
        return measure(asked, out)

    monkeypatch.setattr(protocol_run, "measure", until_the_third)
    ended = CliRunner().invoke(app, arguments("table4", many, broken, *GRID))
    assert ended.exit_code == 130
    assert "the same command goes on" in " ".join(ended.output.split())
    assert not (broken / "results.json").exists()
    weights = {path: path.stat().st_mtime_ns for path in broken.glob("runs/*/bundle/config.json")}
    kept = {path: path.stat().st_mtime_ns for path in broken.glob("evaluations/*/parts/*")}
    assert len(weights) == 3
    assert kept
    monkeypatch.setattr(protocol_run, "measure", measure)
    reproduced("table4", many, broken, *GRID)
    assert (broken / "results.json").read_bytes() == (whole / "results.json").read_bytes()
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    page = (whole / "report.html").read_text()
    assert page == (broken / "report.html").read_text()
    assert_self_contained(page)
    assert_links_lead_somewhere(page)
    every_combination_has_a_cell(found, page)


def every_combination_has_a_cell(found: Reproduction, page: str) -> None:
    maps = [*heat_maps(found)]
    assert {each.quantizer for each in maps} == {"vq", "ema_restart"}
    measures = {(column.task, column.measure) for column in found.columns}
    assert len(maps) == 2 * len(measures)
    for each in maps:
        assert [codes for codes, _ in each.rows] == [4, 8]
        assert list(each.dims) == [4]
        assert all(cell is not None for _, cells in each.rows for cell in cells)
        assert each.images
    cells = [a for a in Page(page).all("td") if str(a.get("style", "")).startswith("--warmth")]
    assert len(cells) == 2 * len(maps)
    assert "about 35 codes are used" in page
    restarted = next(each for each in found.variants if each.name == "ema_restart-8x4")
    assert restarted.against == "vq-8x4"
    assert [each.against for each in found.variants].count(None) == 1


def test_figures_stand_beside_controls_and_floors(many: Path, tmp_path: Path) -> None:
    found = reproduced("figure8", many, tmp_path / "out")
    assert [each.name for each in found.variants] == ["paper", "patch-nce"]
    table = next(each for each in tables(found) if each.title == "Translation, summer → winter")
    labels = [row.label for row in table.rows]
    assert "patch-nce, style of an exemplar" in labels
    assert {"real against real", "input as it is"} <= {*labels}
    assert all(row.images == "6" for row in table.rows)
    compared = [cell for row in table.rows[2:4] for cell in row.cells if cell and cell.compared]
    assert compared
    assert {(floor.domain, floor.images) for floor in found.floors} == {
        (domain, images) for domain in DOMAINS for images in (3, 6)
    }
    assert {each.task for each in found.columns} == {"translation", "diversity"}
    evaluated = json.loads((tmp_path / "out/evaluations/paper/metrics.json").read_text())
    assert {each["task"] for each in evaluated["measurements"]} == {"translation", "diversity"}


def test_models_without_style_are_compared_with_those_that_have_one(
    many: Path, tmp_path: Path
) -> None:
    found = reproduced("uni", many, tmp_path / "out")
    uni = found.variants[1]
    assert {each.style for each in uni.measurements if each.task == "translation"} == {"none"}
    names = [each.name for each in uni.differences]
    assert len({(each.name, each.measure) for each in uni.differences}) == len(names)
    assert {"translation-summer-winter-none", "reconstruction-summer"} <= {*names}


def test_generation_and_extension_are_measured_with_a_prior_each(
    many: Path, tmp_path: Path
) -> None:
    found = reproduced("table2", many, tmp_path / "out")
    assert [each.prior for each in found.variants] == ["laptop64", "plus64"]
    tasks = {each.task for variant in found.variants for each in variant.measurements}
    assert tasks == {"generation", "extension", "prior"}


def test_a_terminal_shows_every_figure_with_its_control(many: Path, tmp_path: Path) -> None:
    words = arguments("figure8", many, tmp_path / "out")
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    lines = done.stdout.splitlines()
    *told, last = [line.rstrip() for line in lines]
    assert max(map(len, told)) <= 80
    table = told[told.index("Translation, summer → winter") :]
    for label in ("KID on random", "  real against real", "  patch-nce, sampled"):
        assert any(line.startswith(label) for line in table)
    assert done.stdout.count("real against real, winter: ") == 1
    assert last == f"2 variants; open {tmp_path / 'out' / 'report.html'}"


def test_pairs_are_the_truth_of_table_3(pairs: Path, many: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"table3 is about pairs, and .*shards holds none: build"):
        reproduced("table3", many, tmp_path / "none")
    assert not (tmp_path / "none").exists()
    found = reproduced("table3", pairs, tmp_path / "out")
    measures = {each.measure for m in found.variants[0].measurements for each in m.estimates}
    assert {"psnr", "ssim"} <= measures


@pytest.mark.parametrize(
    ("protocol", "more", "sentence"),
    [
        ("tabel4", (), r"no protocol 'tabel4' \(did you mean 'table4'\?\): choose one of table1"),
        ("table1", ("--scale", "128"), "no recipes for 128 px: choose --scale 64"),
        ("table4", ("--codes", "64,many"), "--codes 64,many are no sizes"),
        ("table1", ("--set", "network.patches=2"), r"mean 'network.patch'"),
        ("table2", ("--set-prior", "prior.widht=2"), r"mean 'prior.width'"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_trained(
    protocol: str, more: tuple[str, ...], sentence: str, many: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=sentence):
        reproduced(protocol, many, tmp_path / "out", *more)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("scale", [64, 256])
@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocols_name_recipes_that_there_are(name: str, scale: int) -> None:
    protocol = make_protocol(name, Options(scale=scale, prior=True))
    names = [variant.name for variant in protocol.variants]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9_-]+", name) for name in names)
    for variant in protocol.variants:
        assert variant.stage == "baseline" or variant.recipe in STAGE1
        assert variant.prior is None or variant.prior in STAGE2
        assert variant.against in (None, *names)
