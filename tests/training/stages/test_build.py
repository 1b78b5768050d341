"""A stage is made from its job, and says of what; what is said before it begins."""

import hashlib
import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.reading.reader import ShardReader
from training.distributed.worker import LocalWorker
from training.job import Job
from training.launch import train
from training.settings import override
from training.stages.build import caution, make_stage, prepare
from training.stages.stage2 import Stage2
from vqi2i import Translator


def test_a_model_of_stage_1_says_from_what_it_was_made(
    stage1_job: Job, worker: LocalWorker
) -> None:
    provenance = make_stage(stage1_job, worker).provenance
    manifest = ShardReader(stage1_job.data).manifest
    assert provenance == {
        "recipe": "laptop64",
        "seed": 0,
        "data": manifest.fingerprint[:12],
        "perceptual": "multiscale",
        "trained_with": [],
        "plan": manifest.plan,
        "options": {"size": 32},
    }


def test_a_perceptual_distance_of_files_is_told_by_their_content(
    stage1_job: Job, worker: LocalWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # these are no weights
    monkeypatch.setattr("training.stages.stage1._perceptual", lambda config, device: None)
    for name in ("vgg", "heads"):
        (tmp_path / name).write_text(name)
    settings = [
        "perceptual.kind=lpips",
        *(f"perceptual.{name}.source={tmp_path / name}" for name in ("vgg", "heads")),
    ]
    job = stage1_job.model_copy(update={"config": override(stage1_job.config, settings)})
    provenance = make_stage(job, worker).provenance
    assert provenance["trained_with"] == ["vgg16-lpips"]
    assert provenance["perceptual"] == {
        f"lpips_{name}": hashlib.sha256(name.encode()).hexdigest() for name in ("vgg", "heads")
    }


def test_stage_1_needs_no_preparation(stage1_job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.stages.build.shards_to_tokens", None)
    prepare(stage1_job)


def test_stage_2_reads_the_tokens_of_its_model_which_are_made_once(
    stage2_job: Job, worker: LocalWorker, tmp_path: Path
) -> None:
    job = stage2_job.model_copy(update={"tokens": tmp_path})
    prepare(job)
    stage = make_stage(job, worker)
    assert isinstance(stage, Stage2)
    identity = stage.tokens.identity
    assert (identity.crop, identity.variants) == (32, stage.config.variants)
    assert [folder.name for folder in tmp_path.iterdir()] == [identity.sha256[:12]]
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tar")}
    prepare(job)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tar")} == made
    assert stage.provenance == {"prior_recipe": "laptop64"}
    assert job.model is not None
    assert stage.stage1.provenance == Translator.load(job.model).provenance


def test_who_watches_a_terminal_sees_how_far_preparation_is(
    stage2_job: Job, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    printed = {True: io.StringIO(), False: io.StringIO()}
    for is_terminal, file in printed.items():
        console = Console(file=file, force_terminal=is_terminal, width=200, color_system=None)
        prepare(
            stage2_job.model_copy(update={"tokens": tmp_path / f"{is_terminal}"}), console=console
        )
    shown = printed[True].getvalue()
    assert re.search(r"images to tokens .* (\d+)/\1 ", shown)  # all of so many
    assert shown.endswith("\x1b[2K")  # nothing stays
    assert printed[False].getvalue() == ""
    prepare(stage2_job.model_copy(update={"tokens": tmp_path / "unseen"}))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("built", "times"), [("shards", 1), ("validated", 0)])
def test_choosing_by_test_images_is_said_once_with_the_remedy(
    built: str,
    times: int,
    stage1_job: Job,
    shards: Path,
    validated: Path,
    tmp_path: Path,
    mlflow_store: str,
) -> None:
    data = {"shards": shards, "validated": validated}[built]
    job = stage1_job.model_copy(
        update={"data": str(data), "config": override(stage1_job.config, ["schedule.images=4"])}
    )
    printed = io.StringIO()
    train(job, tmp_path / "run", console=Console(file=printed, width=1000))
    sentence = "has no validation images of summer, winter: weights are chosen by its test images"
    assert printed.getvalue().count(f"{data} {sentence}") == times
    assert (caution(job) == "") == (times == 0)
