"""vqi2i evaluate: any shards are measured, and what does not fit is told in a sentence."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from baselines.config import GeneratorConfig
from baselines.networks import Generators
from baselines.translator import BaselineTranslator
from commands.evaluation.test_sets import load_test_set
from errors import UserError
from evaluation.results import Evaluation, Settings
from pipelines.images_to_shards import build_shards
from pipelines.reading.origin import origin
from pipelines.storage.folder_lock import alone_in
from pipelines.storage.shard_cache import CacheSettings
from pipelines.storage.shard_files import read_manifest
from pipelines.synthetic.dataset import DOMAINS, synthesize
from run import app
from tests.conftest import untrained
from training.tracking.evaluations import TAG
from training.tracking.mlflow_client import connect
from training.tracking.publication import publish
from vqi2i import Translator

FEW = ("--images", "6", "--training-images", "6")


@pytest.fixture(autouse=True)
def quick(no_extra: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pretrained networks, whose features other tests measure by; a cache of its own."""
    monkeypatch.setenv("VQI2I_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def seasons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("painted") / "seasons"
    synthesize(folder, pairs=24, size=32, tests=24, wide=0)
    return folder


@pytest.fixture(scope="module")
def many(seasons: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards with eight test images of each season or so."""
    out = tmp_path_factory.mktemp("many") / "shards"
    folders = {domain: seasons / "train" / domain for domain in DOMAINS}
    build_shards(folders, out=out, size=32, test_fraction=0.4)
    return out


def model(path: Path, provenance: dict[str, object], *, prior: bool = False) -> Path:
    translator = untrained(prior=prior)
    Translator(translator.autoencoder, translator.style_prior, translator.prior, provenance).save(
        path
    )
    return path


def evaluate(bundle: Path, data: Path, out: Path, *more: str) -> str:
    arguments = ["evaluate", str(bundle), "--data", str(data), "--out", str(out), *FEW, *more]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_figures_and_a_report_are_made_of_any_shards(many: Path, tmp_path: Path) -> None:
    bundle = model(tmp_path / "ours", origin(read_manifest(many)))
    said = evaluate(bundle, many, tmp_path / "out")
    assert said.splitlines()[-1].endswith(f"measurements; open {tmp_path / 'out' / 'report.html'}")
    figures = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert figures["data"]["facts"]["the model was trained on these shards"] is True
    assert figures["data"]["facts"]["test images"] == {"summer": 6, "winter": 6}
    page = (tmp_path / "out" / "report.html").read_text()
    assert "KID on random convolutions" in page
    assert "pip install &#39;vqi2i[metrics]&#39;" in page


def test_a_model_of_other_images_is_told_apart(many: Path, tmp_path: Path) -> None:
    said = evaluate(model(tmp_path / "other", {"data": "0123456789ab"}), many, tmp_path / "out")
    assert "its training images may be among the test images" in " ".join(said.split())


def test_painted_seasons_are_measured_against_their_truth(seasons: Path, tmp_path: Path) -> None:
    bundle = model(tmp_path / "ours", {})
    found = json.loads(evaluate(bundle, seasons, tmp_path / "out", "--json").splitlines()[-1])
    translation = next(
        each
        for each in found["measurements"]
        if (each["task"], each["style"]) == ("translation", "exemplar")
    )
    measures = {estimate["measure"] for estimate in translation["estimates"]}
    assert {"psnr", "ssim", "edges"} <= measures
    # what a comparison with other data tells
    assert re.fullmatch("[0-9a-f]{64}", found["data"]["fingerprint"])


def test_the_same_command_again_measures_nothing_anew(many: Path, tmp_path: Path) -> None:
    bundle = model(tmp_path / "ours", {})
    evaluate(bundle, many, tmp_path / "out")
    parts = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "parts").iterdir()}
    report = (tmp_path / "out" / "report.html").read_bytes()
    evaluate(bundle, many, tmp_path / "out")
    assert {path: path.stat().st_mtime_ns for path in parts} == parts
    assert (tmp_path / "out" / "report.html").read_bytes() == report


def test_a_broken_test_image_is_left_out_and_named(many: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(many, damaged)
    manifest = read_manifest(damaged)
    (shard,) = manifest.of("test", "summer")
    path = damaged / shard.name
    data = bytearray(path.read_bytes())
    data[600:640] = bytes(40)  # in the pixels of the first image
    path.write_bytes(data)
    bundle, whole = model(tmp_path / "m", {}), manifest.count("test", "summer")
    said = " ".join(evaluate(bundle, damaged, tmp_path / "out", "--images", "99").split())
    assert f"left out: {damaged}/{shard.name}" in said
    figures = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert figures["data"]["facts"]["test images"]["summer"] == whole - 1


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--headline", "kid_lite0"), "kid_lite0 needs EfficientNet-Lite0, which is not installed"),
        (("--headline", "fid"), "'fid' cannot lead a report"),
        (("--only", "translations"), r"no task 'translations' .*mean 'translation'"),
        (("--plug-in", "nowhere.pt,sha256=" + "0" * 64), "nowhere.pt"),
    ],
)
def test_what_cannot_be_asked_is_told(
    many: Path, tmp_path: Path, more: tuple[str, ...], sentence: str
) -> None:
    arguments = ["evaluate", str(model(tmp_path / "m", {})), "--data", str(many)]
    with pytest.raises(UserError, match=sentence):
        CliRunner().invoke(
            app, [*arguments, "--out", str(tmp_path / "out"), *FEW, *more], catch_exceptions=False
        )


def test_other_domains_are_told(tmp_path: Path, seasons: Path) -> None:
    folders = {"summer": seasons / "train" / "summer", "autumn": seasons / "train" / "winter"}
    build_shards(folders, out=tmp_path / "shards", size=32)
    with pytest.raises(UserError, match="holds summer, autumn: give shards with winter"):
        evaluate(model(tmp_path / "m", {}), tmp_path / "shards", tmp_path / "out")


def test_a_domain_with_too_few_images_is_told(seasons: Path, tmp_path: Path) -> None:
    folders = {domain: seasons / "train" / domain for domain in DOMAINS}
    build_shards(folders, out=tmp_path / "few", size=32, test_fraction=0.05)
    with pytest.raises(UserError, match=r"domain \w+ has \d test images in .*: figures need"):
        evaluate(model(tmp_path / "m", {}), tmp_path / "few", tmp_path / "out")


def test_pairs_are_their_own_truth(seasons: Path, tmp_path: Path) -> None:
    folder = seasons / "test" / "summer_to_winter"
    folders = {"summer": folder / "source", "winter": folder / "truth"}
    build_shards(folders, out=tmp_path / "pairs", size=32, test_fraction=0.5, paired=True)
    few = Settings(images=99, training_images=6)
    found = load_test_set(str(tmp_path / "pairs"), DOMAINS, 32, few, {}, CacheSettings())
    there = found.direction("summer", "winter", seed=0)
    assert there.truth is not None
    back = found.direction("winter", "summer", seed=0)
    assert np.array_equal(there.truth, back.source)
    assert there.keys == back.keys
    # nobody is shown the truth: the exemplar is another pair's
    assert not any(map(np.array_equal, there.exemplar, there.truth))
    assert not found.truth_has_exemplars_style


def test_figures_of_a_published_model_are_on_its_version(
    many: Path, tmp_path: Path, new_store: str
) -> None:
    publish(model(tmp_path / "m", {}), name="seasons", alias="champion")
    evaluate(Path("models:/seasons@champion"), many, tmp_path / "out")
    client = connect(new_store)
    version = client.get_model_version("seasons", "1")
    metrics = client.get_run(version.run_id).data.metrics
    found = Evaluation.model_validate_json((tmp_path / "out" / "metrics.json").read_text())
    assert metrics == {f"evaluation/{name}": value for name, value in found.figures().items()}
    assert "KID on random convolutions" in version.tags[TAG]


def test_a_baseline_is_measured_by_the_same_command(many: Path, tmp_path: Path) -> None:
    config = GeneratorConfig(domains=DOMAINS, resolution=32, base_channels=4)
    BaselineTranslator(Generators(config), "cut").save(tmp_path / "cut")
    evaluate(tmp_path / "cut", many, tmp_path / "out")
    found = Evaluation.model_validate_json((tmp_path / "out" / "metrics.json").read_text())
    assert [each.name for each in found.measurements] == [
        "translation-summer-winter-none",
        "translation-winter-summer-none",
    ]


def test_two_evaluations_do_not_fill_one_folder(many: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with alone_in(out, "is mine"), pytest.raises(UserError, match="by another evaluation"):
        evaluate(model(tmp_path / "m", {}), many, out)
    assert list(out.iterdir()) == []


@pytest.mark.ray
def test_workers_of_ray_find_the_same(
    many: Path, tmp_path: Path, ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # workers see the extra where it is installed, and so do we
    monkeypatch.setenv("VQI2I_CACHE", str(tmp_path / "cache"))
    bundle = model(tmp_path / "m", {})
    only = ("--only", "reconstruction,codebook")
    evaluate(bundle, many, tmp_path / "here", *only)
    evaluate(bundle, many, tmp_path / "there", *only, "--workers", "2")
    here, there = (
        Evaluation.model_validate_json((tmp_path / name / "metrics.json").read_text())
        for name in ("here", "there")
    )
    assert there == here


def test_some_tasks_alone_are_measured_and_the_rest_is_added_later(
    many: Path, tmp_path: Path
) -> None:
    bundle, out = model(tmp_path / "ours", {}), tmp_path / "out"
    said = evaluate(bundle, many, out, "--only", "reconstruction, codebook")
    assert "not asked for: translation, restyling, diversity" in " ".join(said.split())
    figures = json.loads((out / "metrics.json").read_text())
    assert {each["task"] for each in figures["measurements"]} == {"reconstruction", "codebook"}
    kept = {path: path.stat().st_mtime_ns for path in (out / "parts").iterdir()}
    evaluate(bundle, many, out)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    figures = json.loads((out / "metrics.json").read_text())
    assert "translation" in {each["task"] for each in figures["measurements"]}
