"""vqi2i data: the verbs on real folders, as a user would type them."""

import errno
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from errors import UserError
from pipelines.schema import Manifest
from run import app
from tests.pipelines.building.test_interrupted_builds import write

ROOT = Path(__file__).parents[2]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write(tmp_path / "photos" / "summer", range(12))
    write(tmp_path / "photos" / "winter", range(50, 60))
    (tmp_path / "photos" / "winter" / "page.jpg").write_text("<html>")
    monkeypatch.chdir(tmp_path)
    return tmp_path


SHARD = (
    "data shard --domain summer=photos/summer --domain winter=photos/winter --out shards --size 32"
)


def run(arguments: str) -> dict[str, object]:
    result = CliRunner().invoke(app, [*shlex.split(arguments), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


def test_shard_inspect_and_verify_tell_the_same_story(photos: Path) -> None:
    made = run(SHARD)
    assert made["rejects"] == {"not_an_image": 1}
    shown = run("data inspect shards")
    assert shown["fingerprint"] == made["fingerprint"] == run("data verify shards")["fingerprint"]
    assert shown["rejects"] == made["rejects"]
    assert (photos / "shards" / "contact_sheet.png").exists()
    assert run(SHARD) == made


def test_some_images_are_held_out_to_choose_by_unless_the_data_set_is_older(photos: Path) -> None:
    made = run(SHARD)
    splits = [
        f"{split}/{domain}"
        for split in ("train", "validation", "test")
        for domain in ("summer", "winter")
    ]
    assert list(made["images"]) == splits  # type: ignore[call-overload]
    assert sum(made["images"].values()) == 22  # type: ignore[attr-defined]
    assert min(made["images"].values()) > 0  # type: ignore[attr-defined]
    without = run(f"{SHARD.replace('--out shards', '--out older')} --validation 0")
    assert list(without["images"]) == [name for name in splits if "validation" not in name]  # type: ignore[call-overload]
    assert run(SHARD.replace("--out shards", "--out older")) == without
    with pytest.raises(ValueError, match="holds a data set of other images or options"):
        run(f"{SHARD} --validation 0.2")
    assert "validation" in CliRunner().invoke(app, ["data", "inspect", "shards"]).output


def test_inspect_prints_counts_rejects_and_statistics(photos: Path) -> None:
    run(SHARD)
    result = CliRunner().invoke(app, ["data", "inspect", "shards"], env={"COLUMNS": "200"})
    for word in ("summer", "winter", "1 not_an_image", "32-63 px", "shrunk", "opencv"):
        assert word in result.output


def test_data_that_cannot_be_written_to_are_described_all_the_same(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, pixels: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    run(SHARD)
    monkeypatch.setattr("imaging.write", refuse)
    shown = CliRunner().invoke(app, ["data", "inspect", "shards"], catch_exceptions=False)
    assert shown.exit_code == 0
    assert "train" in shown.stderr
    assert shown.stdout.startswith(
        "no contact sheet: shards/contact_sheet.png cannot be written (Read-only file system)"
    )
    with pytest.raises(UserError, match=r"there\.png cannot be used"):
        CliRunner().invoke(
            app, ["data", "inspect", "shards", "--sheet", "there.png"], catch_exceptions=False
        )


def test_a_seed_that_no_generator_takes_is_told_before_anything_is_made(photos: Path) -> None:
    for verb in (
        "data synthesize made",
        "generate model --domain winter --out made",
        "demo --out made",
    ):
        with pytest.raises(
            UserError, match="the seed 18446744073709551616 is out of range: give a whole number"
        ):
            run(f"{verb} --seed {2**64}")
    assert not (photos / "made").exists()


def test_folders_of_domains_may_begin_with_a_tilde(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(photos / "photos"))
    made = run(
        "data shard --domain 'summer=~/summer' '--domain=winter=~/winter' --out shards --size 32"
    )
    assert made == run(SHARD)
    assert (
        run("data shard --split-halves 'a,b=~/summer' '--out=~/halves' --size 24")["out"]
        == f"{photos}/photos/halves"
    )


def test_shards_are_of_the_size_that_the_first_recipe_sees(photos: Path) -> None:
    from training.recipes import STAGE1

    run(SHARD.removesuffix(" --size 32"))
    assert Manifest.load(photos / "shards").size == STAGE1["laptop64"](["summer", "winter"]).crop


def test_damage_ends_with_exit_code_2_and_one_sentence(photos: Path) -> None:
    run(SHARD)
    shard = photos / "shards/train/summer/000000.tar"
    data = bytearray(shard.read_bytes())
    data[600] ^= 4
    shard.write_bytes(data)
    done = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), "data", "verify", "shards"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(
        "vqi2i: shards is damaged: train/summer/000000.tar: sample 00000000"
    )
    assert len(done.stderr.splitlines()) == 1


def test_halves_and_domains_are_two_ways_to_name_folders(photos: Path) -> None:
    from commands.data import parse_domains, parse_halves

    assert parse_halves("photo,label=a/b") == {"photo": Path("a/b"), "label": Path("a/b")}
    for wrong in ("photo=a", "photo,label", "photo,photo=a"):
        with pytest.raises(ValueError, match="LEFT,RIGHT=FOLDER"):
            parse_halves(wrong)
    with pytest.raises(ValueError, match="two domains or more"):
        parse_domains(["summer=photos"])
    with pytest.raises(ValueError, match="give either --domain"):
        run("data shard --out shards")
    assert (
        run("data shard --split-halves left,right=photos/summer --out halves --size 24")["rejects"]
        == {}
    )
