"""An evaluation that was interrupted goes on, and ends with the same bytes."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from evaluation.images import TestSet
from evaluation.networks.sight import Networks
from evaluation.parts import Part
from evaluation.results import Evaluation, Settings, Subject
from evaluation.run import evaluate
from evaluation.tasks.context import Context
from evaluation.tasks.plan import tasks
from tests.conftest import untrained
from tests.evaluation.tasks.conftest import Returns, pictures
from vqi2i import Translator

MODEL = Subject(name="model", fingerprint="m")
SETTINGS = Settings(images=8, training_images=12, samples=2, diverse=2, shown=1)


@pytest.fixture
def context(no_extra: None) -> Context:
    """Without the pretrained networks: fast."""
    images = TestSet(Subject(name="landscapes", fingerprint="d"), pictures())
    return Context(images, Networks(), SETTINGS)


@pytest.fixture(scope="module")
def model() -> Translator:
    return untrained()


def measured(context: Context, model: Translator, out: Path, about: Subject = MODEL) -> Evaluation:
    out.mkdir(exist_ok=True)
    return evaluate(context, model, about, out, headline="kid_random")


def digests(out: Path) -> dict[str, str]:
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


class Killed(BaseException):
    """What no code of ours catches."""


def test_an_interrupted_evaluation_goes_on_to_the_same_bytes(
    context: Context, model: Translator, tmp_path: Path
) -> None:
    measured(context, model, tmp_path / "whole")
    told: list[int] = []

    def kill(done: int, total: int) -> None:
        told.append(done)
        if done == 5:
            raise Killed

    (tmp_path / "killed").mkdir()
    with pytest.raises(Killed):
        evaluate(context, model, MODEL, tmp_path / "killed", headline="kid_random", progress=kill)
    assert not (tmp_path / "killed" / "metrics.json").exists()
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "killed" / "parts").iterdir()}
    measured(context, model, tmp_path / "killed")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert digests(tmp_path / "killed") == digests(tmp_path / "whole")


def test_another_model_in_the_same_folder_is_measured_anew(
    context: Context, model: Translator, tmp_path: Path
) -> None:
    measured(context, model, tmp_path / "out")
    part = tmp_path / "out" / "parts" / "codebook.json"
    held = json.loads(part.read_text())["key"]
    measured(context, model, tmp_path / "out", Subject(name="model", fingerprint="other"))
    assert json.loads(part.read_text())["key"] != held


def test_parts_are_measured_elsewhere_if_somebody_takes_them(
    context: Context, model: Translator, tmp_path: Path
) -> None:
    here = measured(context, model, tmp_path / "here")
    asked: list[str] = []

    def spread(names: list[str]) -> Iterator[Part]:
        asked.extend(names)
        measures = {task.name: task.measure for task in tasks(context, model)}
        yield from (measures[name]() for name in reversed(names))

    (tmp_path / "there").mkdir()
    there = evaluate(
        context, model, MODEL, tmp_path / "there", headline="kid_random", spread=spread
    )
    assert there == here
    assert asked[:2] == ["real-summer", "real-winter"]


def test_without_the_extra_all_else_is_measured_and_the_gap_is_named(
    context: Context, model: Translator, tmp_path: Path
) -> None:
    found = measured(context, model, tmp_path / "out")
    names = {measurement.name: measurement for measurement in found.measurements}
    translation = names["translation-summer-winter-exemplar"]
    assert translation.get("kid_random") is not None
    assert translation.get("kid_lite0") is None
    assert any("pip install 'vqi2i[metrics]'" in gap for gap in found.gaps)
    assert "needs the weights of ST-LPIPS" in names["diversity-summer-winter-sampled"].gaps[0]


def test_whoever_has_no_styles_and_no_codes_is_not_asked_for_them(context: Context) -> None:
    names = [task.name for task in tasks(context, Returns())]
    assert names == [
        "real-summer",
        "real-winter",
        "translation-summer-winter-none",
        "translation-winter-summer-none",
    ]


def test_a_model_without_prior_is_measured_but_for_what_needs_one(context: Context) -> None:
    tasks_of = {task.name.partition("-")[0] for task in tasks(context, untrained(prior=False))}
    assert tasks_of == {
        "real",
        "translation",
        "diversity",
        "restyling",
        "reconstruction",
        "codebook",
    }


def test_every_task_makes_the_part_of_its_name(context: Context, model: Translator) -> None:
    for task in tasks(context, model):
        assert task.measure().measurement.name == task.name
