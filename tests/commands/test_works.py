"""Nothing that a command reads or makes is lost by another of its results; whoever waits hears how
long it takes.
"""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import imaging
from commands import works
from commands.works import Work, plan
from errors import UserError
from pipelines.progress import Pulse
from run import app
from vqi2i import Translator
from vqi2i.editing import forecast


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a command, which is also somebody's home, with pictures of the same names in
    two folders.
    """
    for name in ("a/0.png", "b/0.png", "b/1.jpg", "0_winter.png"):
        imaging.write(
            tmp_path / name,
            np.random.default_rng(len(name)).integers(0, 256, (32, 32, 3), np.uint8),
        )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(*arguments: object) -> str:
    with pytest.raises(UserError) as raised:
        CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    return str(raised.value)


VERBS = {
    "translate": ("--to", "winter"),
    "extend": ("--from", "summer", "--right", "8"),
    "complete": ("--from", "summer", "--keep", "left"),
    "compose": ("--steps", "steps.yaml"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_two_images_of_one_name_are_refused_before_the_model_is_looked_at(
    verb: str, folder: Path
) -> None:
    (folder / "steps.yaml").write_text("from: summer\nsteps:\n  - extend: {right: 8}\n")
    said = refusal(verb, "no model", "a/0.png", "b/0.png", *VERBS[verb], "--out", "out")
    assert said.startswith("a/0.png and b/0.png: both results would be out/0_")
    assert "two --out" in said
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("image", "other", "said"),
    [
        (
            "a/0.png",
            "a/../a/0.png",
            "a/0.png and a/../a/0.png: both results would be out/0_winter.png",
        ),
        ("b/0.png", "b/0.png", "b/0.png is given twice: both results would be out/0_winter.png"),
        ("b/1.jpg", "a/1.png", "b/1.jpg and a/1.png: both results would be out/1_winter.png"),
    ],
)
def test_the_same_image_and_other_kinds_of_file_are_told_apart_by_their_stems(
    image: str, other: str, said: str, folder: Path
) -> None:
    assert refusal(
        "translate", "no model", image, other, "--to", "winter", "--out", "out"
    ).startswith(said)


def test_a_picture_that_is_read_is_not_replaced(folder: Path) -> None:
    said = "0_winter.png is read, and the result of a/0.png would replace it: choose another --out"
    given = ("translate", "no model", "a/0.png", "--to", "winter", "--out", ".")
    assert refusal(*given, "--style", "0_winter.png") == said
    assert (
        refusal("translate", "no model", "a/0.png", "0_winter.png", "--to", "winter", "--out", ".")
        == said
    )
    (folder / "steps.yaml").write_text(
        "from: summer\nsteps:\n  - translate: {to: winter, style: a/0_composed.png}\n"
    )
    said = refusal("compose", "no model", "a/0.png", "--steps", "steps.yaml", "--out", "a")
    assert said.startswith("a/0_composed.png is read, and the result of a/0.png would replace it")


def test_samples_of_one_image_do_not_meet() -> None:
    several = [Work(Path("a.png"), number, Path(f"out/a_{number}.png")) for number in range(3)]
    assert plan(several) == several


def test_results_of_an_earlier_command_are_replaced_and_that_is_said(
    folder: Path, tiny_bundle: Path
) -> None:
    arguments = [
        "extend",
        str(tiny_bundle),
        "a/0.png",
        "b/1.jpg",
        "--from",
        "summer",
        "--right",
        "8",
        "--out",
        "out",
    ]
    first = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert (first.exit_code, first.stderr) == (0, "")
    again = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert again.stdout == first.stdout
    assert again.stderr == "replaced what was there: out/0_extended.png and 1 more\n"


def test_a_tilde_is_a_home_wherever_it_stands(folder: Path, tiny_bundle: Path) -> None:
    (folder / "model").symlink_to(tiny_bundle)
    (folder / "steps.yaml").write_text(
        "from: summer\nsteps:\n  - translate: {to: winter, style: ~/b/1.jpg}\n"
    )
    for arguments in (
        ["translate", "~/model", "~/a/0.png", "--to=winter", "--style=~/b/1.jpg", "--out=~/out"],
        ["compose", "~/model", "~/a/0.png", "--steps", "~/steps.yaml", "--out", "~/out"],
    ):
        done = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert (done.exit_code, done.stdout.startswith(f"{folder}/out/0_")) == (0, True)
    assert "there is no model at ~nobody-of-this-name/x" in refusal(
        "translate", "~nobody-of-this-name/x", "a/0.png", "--to=winter", "--out=out"
    )


def test_many_pictures_from_nothing_are_those_of_one_command(
    folder: Path, tiny_bundle: Path
) -> None:
    done = CliRunner().invoke(
        app,
        ["generate", str(tiny_bundle), "--domain", "winter", "--count", "10", "--out", "out"],
        catch_exceptions=False,
    )
    made = Translator.load(tiny_bundle).generate(10, domain="winter")
    for line, image in zip(done.stdout.splitlines(), imaging.to_pixels(made), strict=True):
        assert np.array_equal(imaging.read(Path(line)), image)


def test_a_large_picture_is_announced_with_the_time_it_will_take(
    folder: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast, "_LARGE", 1)
    monkeypatch.setattr(forecast, "_COPIES", (32, 40))
    monkeypatch.setattr(works, "_LONG", 0.0)
    monkeypatch.setattr(works, "_VERY_LONG", 0.0)
    arguments = [
        "extend",
        str(tiny_bundle),
        "a/0.png",
        "--from",
        "summer",
        "--right",
        "8",
        "--out",
        "out",
    ]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.stderr.startswith("0.png: 40x32 px will take about ")
    assert "; a copy of half the size would take " in done.stderr


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        (None, "x.png: 60 s so far"),
        (300.0, "x.png: 60 s of about 5.0 min"),
        (20.0, "x.png: 60 s, longer than the expected 20 s"),
    ],
)
def test_meanwhile_there_are_signs_of_life(
    expected: float | None,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Pulse, "FIRST", -1.0)
    done = threading.Event()
    teller = threading.Thread(
        target=works._tell, args=("x.png", time.monotonic() - 60, expected, done)
    )
    monkeypatch.setattr(works, "_TICK", 0.01)
    teller.start()
    time.sleep(0.2)
    done.set()
    teller.join()
    assert capsys.readouterr().err.startswith(words)
