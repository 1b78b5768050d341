"""The demo, made small: every step runs and the report holds what it promises."""

import json
import shlex
from pathlib import Path

import pytest

from pipelines.schema import Manifest
from tests.documents import SHORT, vqi2i
from tests.processes import command

pytestmark = pytest.mark.slow


def small(stage: str) -> str:
    return SHORT[stage].replace("--set", f"--{stage}")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    folder = tmp_path_factory.mktemp("demo")
    done = vqi2i(
        f"demo --pairs 40 --tests 8 --local --json {small('stage1')} {small('stage2')}",
        folder,
        code=3,
    )
    assert "criteria met" in done.stderr.splitlines()[-1]
    return folder, json.loads(done.stdout.splitlines()[-1])


def test_the_demo_judges_itself_by_every_criterion(demo: tuple[Path, dict[str, object]]) -> None:
    _, result = demo
    criteria = result["criteria"]
    assert isinstance(criteria, list)
    assert len(criteria) == 13
    judged = [verdict["met"] for verdict in criteria if verdict["threshold"] is not None]
    assert (sum(judged), len(judged)) == (result["met"], result["asked"])
    assert result["asked"] == 9


def test_a_demo_that_misses_criteria_says_why_and_what_to_do(
    demo: tuple[Path, dict[str, object]],
) -> None:
    _, result = demo
    assert "40 images" in str(result["reason"])


def test_weights_are_chosen_by_images_that_nothing_is_reported_on(
    demo: tuple[Path, dict[str, object]],
) -> None:
    manifest = Manifest.load(demo[0] / "demo" / "shards")
    for season in manifest.domains:
        assert manifest.count("validation", season) > 0
        assert manifest.count("train", season) + manifest.count("validation", season) == 40


def test_the_report_shows_every_application(demo: tuple[Path, dict[str, object]]) -> None:
    page = (demo[0] / "demo" / "report.html").read_text()
    for section in (
        "by example",
        "sampled styles",
        "Restyling within",
        "Generation",
        "Extension",
        "Completion",
        "Transition",
    ):
        assert section in page


def test_the_model_is_published_and_can_be_used_by_its_name(
    demo: tuple[Path, dict[str, object]],
) -> None:
    folder, result = demo
    assert (
        command(
            shlex.split(f"generate {result['uri']} --domain winter --count 2 --out made"), folder
        ).returncode
        == 0
    )
    assert sorted(path.name for path in (folder / "made").iterdir()) == [
        "winter_00000.png",
        "winter_00001.png",
    ]


def test_a_mistake_ends_with_one_sentence_and_code_2(demo: tuple[Path, dict[str, object]]) -> None:
    for arguments, word in (
        ("translate demo/model demo/report.html --to winter --out x", "not an image"),
        ("translate demo/nothing picture.png --to winter --out x", "no model"),
        ("train stage1 --data demo/shards --recipe nosuch", "laptop64"),
        ("train stage1 --data demo/shards --local --set optim.rate=1", "learning_rate"),
        ("extend demo/model demo/seasons/train/summer/00000.png --out x", "--from"),
    ):
        done = command(shlex.split(arguments), demo[0])
        assert done.returncode == 2, done.stderr
        assert word in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
