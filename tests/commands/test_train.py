"""vqi2i train and tune: what they say before they begin."""

import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from commands import train, tune
from run import app
from training.job import make_job
from training.recipes import BASELINES, STAGE1, STAGE2
from tuning.spaces import SPACES

TABLES = {"stage1": STAGE1, "stage2": STAGE2, "baseline": BASELINES}


@pytest.mark.parametrize(
    ("family", "stage"),
    [("train", stage) for stage in TABLES] + [("tune", "stage1"), ("tune", "stage2")],
)
def test_each_stage_lists_its_own_recipes(family: str, stage: str) -> None:
    assert train.RECIPES[stage] == tuple(TABLES[stage])
    shown = CliRunner().invoke(app, [family, stage, "--help"], env={"COLUMNS": "300"})
    assert f"One of {', '.join(TABLES[stage])}." in shown.stdout


def test_spaces_are_listed_as_they_are() -> None:
    listed = tune.SpaceOption.__metadata__[0].help
    *first, last = SPACES["stage1"]
    stage1, stage2 = f"{', '.join(first)} or {last}", ", ".join(SPACES["stage2"])
    assert listed == f"Named space: {stage1} (stage 1), {stage2} (stage 2)."


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (
            "train stage1 --recipe laptop46",
            r"no stage1 recipe 'laptop46' \(did you mean 'laptop64'\?\): choose one of",
        ),
        (
            "train stage2 --model BUNDLE --recipe plus-64",
            r"no stage2 recipe 'plus-64' \(did you mean 'plus64'\?\)",
        ),
        (
            "train baseline --recipe cut",
            r"no baseline recipe 'cut' \(did you mean 'cut64'\?\): choose one of cyclegan64, cut64",
        ),
        ("tune stage1 --space metod", r"no stage1 space 'metod' \(did you mean 'method'\?\)"),
        (
            "tune stage2 --model BUNDLE --metric held_out_nl",
            r"ranked by 'held_out_nl' \(did you mean 'held_out_nll'\?\)",
        ),
        (
            "train stage1 --set networks.patch=2",
            r"no setting 'networks.patch' \(did you mean 'network.patch'\?\)",
        ),
    ],
)
def test_a_misspelt_name_is_told_with_the_one_that_was_meant(
    command: str,
    sentence: str,
    shards: Path,
    tiny_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [*shlex.split(command.replace("BUNDLE", str(tiny_bundle))), "--data", str(shards)]
    with pytest.raises(ValueError, match=sentence):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("--set crop=16", "are 32 px, and training sees crops of 16 px of them"),
        ("--set crop=20", None),
    ],
)
def test_crops_of_a_small_part_of_the_pictures_are_told_with_the_remedy(
    settings: str, words: str | None, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object, **how: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("training.launch.train", refuse)
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(
        app, [*shlex.split(f"train stage1 --local {settings}"), "--data", str(shards)]
    )
    if words is None:
        assert shown.stderr == ""
    else:
        assert words in shown.stderr
        assert shown.stderr.endswith("build them with `vqi2i data shard --size 16`\n")


def test_stage_2_knows_what_it_sees_by_its_model(
    shards: Path, tiny_bundle_without_prior: Path
) -> None:
    job = make_job(
        "stage2",
        data=shards,
        model=tiny_bundle_without_prior,
        recipe="laptop64",
        settings=["prior.window=[4,4]"],
    )
    assert "crops of 16 px" in job.remark()  # 4 tokens of 4 px
    wide = job.model_copy(update={"config": job.config.model_copy(update={"crop": 32})})
    assert wide.remark() == ""
