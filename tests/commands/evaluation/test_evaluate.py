"""vqi2i evaluate: whom the criteria are meant for is said, and of whom they are asked."""

import functools
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evaluation.seasons.domain_classifier import train_classifier
from pipelines.images_to_shards import build_shards
from pipelines.reading.origin import origin
from pipelines.synthetic.dataset import DOMAINS, synthesize
from run import app
from tests.conftest import untrained
from vqi2i import Translator


@pytest.fixture(scope="module")
def seasons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("painted") / "seasons"
    synthesize(folder, pairs=4, size=32, tests=4, wide=0)
    return folder


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A classifier that has learned little: it decides nothing here."""
    monkeypatch.setattr(
        "evaluation.seasons.domain_classifier.train_classifier",
        functools.partial(train_classifier, steps=2),
    )


def model(path: Path, provenance: dict[str, object]) -> Path:
    translator = untrained(prior=False)
    Translator(translator.autoencoder, translator.style_prior, None, provenance).save(path)
    return path


def evaluate(bundle: Path, data: Path, out: Path, *more: str) -> str:
    arguments = ["evaluate", str(bundle), "--data", str(data), "--out", str(out), *more]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()[-1]


def test_a_model_of_these_seasons_is_judged_without_a_remark(seasons: Path, tmp_path: Path) -> None:
    folders = {domain: seasons / "train" / domain for domain in DOMAINS}
    manifest = build_shards(folders, out=tmp_path / "shards", size=24).manifest
    bundle = model(tmp_path / "ours", origin(manifest))
    said = evaluate(bundle, seasons, tmp_path / "report")
    assert said.endswith(f"of 9 criteria met; open {tmp_path / 'report' / 'report.html'}")
    assert (
        "was trained on these painted seasons" in (tmp_path / "report" / "report.html").read_text()
    )


def test_a_model_that_merely_has_the_same_names_is_told_apart(
    shards: Path, seasons: Path, tmp_path: Path
) -> None:
    from pipelines.storage.shard_files import read_manifest

    photographs = model(tmp_path / "photographs", origin(read_manifest(shards)))
    said = evaluate(photographs, seasons, tmp_path / "report")
    assert "meant for models of these painted seasons, this one was trained on other images" in said
    assert "was trained on other images" in (tmp_path / "report" / "report.html").read_text()
    assert (
        json.loads(evaluate(photographs, seasons, tmp_path / "report", "--json"))[
            "trained_on_this_data"
        ]
        is False
    )


def test_a_model_that_does_not_say_is_told_apart(seasons: Path, tmp_path: Path) -> None:
    said = evaluate(model(tmp_path / "old", {"data": "0123456789ab"}), seasons, tmp_path / "report")
    assert "this one does not say what it was trained on" in said
