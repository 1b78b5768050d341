"""The synthetic data set: reproducible, paired where it says so, and hard enough to be worth
translating.
"""

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from imaging import read
from pipelines.synthetic.dataset import (
    DOMAINS,
    Content,
    Style,
    draw_content,
    draw_style,
    read_triples,
    render,
    synthesize,
)
from pipelines.synthetic.scene import LIGHTS, PALETTES

DIRECTIONS = (DOMAINS, DOMAINS[::-1])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("landscapes")
    synthesize(out, pairs=3, tests=32, wide=2)
    return out


def files(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def truth_of(root: Path, path: str) -> tuple[Content, Style]:
    truth = json.loads((root / "truth" / f"{path}.json").read_text())
    return Content.model_validate(truth["content"]), Style.model_validate(truth["style"])


def mean_psnr(images: np.ndarray, truth: np.ndarray) -> float:
    errors = ((images.astype(np.float64) - truth) ** 2).mean(axis=(1, 2, 3))
    return float((10 * np.log10(255**2 / errors)).mean())


def style_of(domain: str, **changes: object) -> Style:
    drawn = draw_style(np.random.default_rng(0), domain).model_dump()
    return Style.model_validate(drawn | changes)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("one", 5), ("same", 5), ("other", 6)):
        synthesize(tmp_path / name, pairs=2, tests=1, wide=1, size=32, seed=seed)
    assert files(tmp_path / "one") == files(tmp_path / "same")
    image = "train/summer/00000.png"
    assert (tmp_path / "one" / image).read_bytes() != (tmp_path / "other" / image).read_bytes()


def test_another_count_leaves_the_images_as_they_are(tmp_path: Path) -> None:
    synthesize(tmp_path / "few", pairs=1, tests=1, wide=1, size=32)
    synthesize(tmp_path / "many", pairs=3, tests=2, wide=2, size=32)
    few, many = files(tmp_path / "few"), files(tmp_path / "many")
    del few["synthetic.json"]
    assert few.items() <= many.items()


def test_every_image_is_written_with_its_truth_and_counted(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    summary = synthesize(
        tmp_path,
        pairs=3,
        tests=2,
        wide=1,
        size=32,
        progress=lambda done, total: calls.append((done, total)),
    )
    images = {str(path.relative_to(tmp_path).with_suffix("")) for path in tmp_path.rglob("*.png")}
    truths = {
        str(path.relative_to(tmp_path / "truth").with_suffix(""))
        for path in tmp_path.rglob("truth/**/*.json")
    }
    assert images == truths
    assert summary.images == len(images) == 2 * (3 + 3 * 2 + 1)
    assert calls == [(done, summary.images) for done in range(1, summary.images + 1)]
    assert json.loads((tmp_path / "synthetic.json").read_text()) == summary.model_dump()


@pytest.mark.parametrize(("source", "target"), DIRECTIONS)
def test_truth_is_the_content_of_the_source_in_the_style_of_the_exemplar(
    dataset: Path, source: str, target: str
) -> None:
    folder = f"test/{source}_to_{target}"
    content, before = truth_of(dataset, f"{folder}/source/00003")
    other, after = truth_of(dataset, f"{folder}/exemplar/00003")
    assert (before.domain, after.domain) == (source, target)
    assert content != other
    assert truth_of(dataset, f"{folder}/truth/00003") == (content, after)
    repainted = render(content, after, height=64, width=64)
    assert np.array_equal(repainted, read(dataset / folder / "truth" / "00003.png"))


def test_training_images_are_unpaired(dataset: Path) -> None:
    contents = [
        truth_of(dataset, f"train/{domain}/{index:05d}")[0]
        for domain in DOMAINS
        for index in range(3)
    ]
    assert all(one != other for place, one in enumerate(contents) for other in contents[:place])


def test_every_palette_and_light_gives_its_own_picture() -> None:
    content = draw_content(np.random.default_rng(1))
    modes = [(domain, *mode) for domain in DOMAINS for mode in product(PALETTES[domain], LIGHTS)]
    pictures = [
        render(
            content,
            style_of(domain, palette=palette, light=light, haze=0.2, snowfall=0),
            height=32,
            width=32,
        )
        for domain, palette, light in modes
    ]
    distances = [
        np.abs(one.astype(float) - other).mean()
        for place, one in enumerate(pictures)
        for other in pictures[:place]
    ]
    assert min(distances) > 5


def test_weather_changes_the_picture_and_snow_falls_in_winter_only() -> None:
    content = draw_content(np.random.default_rng(1))
    clear, hazy, snowy = (
        render(
            content, style_of("winter", haze=haze, snowfall=snowfall), height=32, width=32
        ).astype(float)
        for haze, snowfall in ((0, 0), (1, 0), (0, 1))
    )
    assert np.abs(hazy - clear).mean() > 3
    assert 0 < np.abs(snowy - clear).mean() < 3
    styles = [draw_style(np.random.default_rng(seed), "summer") for seed in range(20)]
    assert all(style.snowfall == 0 for style in styles)


@pytest.mark.parametrize("domain", DOMAINS)
def test_sun_stands_out_of_the_sky_whatever_the_style(domain: str) -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        content, style = draw_content(rng), draw_style(rng, domain)
        with_sun = render(content, style, height=64, width=64).astype(float)
        gone = content.model_copy(update={"sun": content.sun.model_copy(update={"y": -9.0})})
        without = render(gone, style, height=64, width=64).astype(float)
        row, column = int(content.sun.y * 64), int(content.sun.x * 64)
        assert np.abs(with_sun - without)[row, column].max() > 15, (seed, style)


def test_wide_canvas_is_three_times_as_wide_and_filled(dataset: Path) -> None:
    content, style = truth_of(dataset, "wide/winter/00001")
    image = read(dataset / "wide" / "winter" / "00001.png")
    assert image.shape == (64, 192, 3)
    assert np.array_equal(image, render(content, style, height=64, width=192))
    assert len({int(tree.x) for tree in content.trees}) > 1


def test_a_wider_canvas_continues_the_picture() -> None:
    rng = np.random.default_rng(4)
    content, style = draw_content(rng, 3.0), style_of("summer")
    square, wide = (render(content, style, height=48, width=width) for width in (48, 144))
    assert np.abs(square[:, :-2].astype(int) - wide[:, :46]).max() <= 1


def test_finished_data_set_is_left_alone(dataset: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in dataset.rglob("*")}
    again = synthesize(dataset, pairs=3, tests=32, wide=2)
    assert again.images == 2 * (3 + 96 + 2)
    assert {path: path.stat().st_mtime_ns for path in dataset.rglob("*")} == before


def test_interrupted_run_is_redone_by_the_same_call_only(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    def build(
        name: str, pairs: int = 3, progress: Callable[[int, int], None] | None = None
    ) -> None:
        synthesize(tmp_path / name, pairs=pairs, tests=1, wide=1, size=32, progress=progress)

    with pytest.raises(KeyboardInterrupt):
        build("broken", progress=stop)
    assert not (tmp_path / "broken" / "synthetic.json").exists()
    with pytest.raises(ValueError, match="other settings"):
        build("broken", pairs=4)
    build("broken")
    build("whole")
    assert files(tmp_path / "broken") == files(tmp_path / "whole")


def test_a_folder_in_use_is_refused_with_the_remedy(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"made with other settings: choose another folder"):
        synthesize(dataset, pairs=4, tests=32, wide=2)
    (tmp_path / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"holds other files: choose an empty folder"):
        synthesize(tmp_path)
    with pytest.raises(ValueError, match=r"is a file: choose a folder"):
        synthesize(tmp_path / "holiday.jpg")
    assert files(tmp_path) == {"holiday.jpg": b"mine"}


def test_wrong_arguments_are_named(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pairs=0"):
        synthesize(tmp_path, pairs=0)
    with pytest.raises(ValueError, match="no domain 'autumn'"):
        draw_style(np.random.default_rng(0), "autumn")
    with pytest.raises(ValidationError, match="summer has no palette 'frost'"):
        style_of("summer", palette="frost")
    with pytest.raises(ValueError, match="no complete test triples"):
        read_triples(dataset, "summer", "summer")


@pytest.mark.parametrize(("source", "target"), DIRECTIONS)
def test_returning_the_source_or_the_exemplar_is_a_poor_translation(
    dataset: Path, source: str, target: str
) -> None:
    triples = read_triples(dataset, source, target)
    assert triples.truth.shape == (32, 64, 64, 3)
    assert 9 < mean_psnr(triples.source, triples.truth) < 13.5
    assert mean_psnr(triples.exemplar, triples.truth) < 18.5
