"""The verbs that use a model: files in, files out, the same pixels as from Python with the same
seed.
"""

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import imaging
from commands import apply
from run import app
from vqi2i import Sampling, Translator
from vqi2i.editing import steps


@pytest.fixture(scope="module")
def translator(tiny_bundle: Path) -> Translator:
    return Translator.load(tiny_bundle)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A picture of 33x30 pixels."""
    return picture(tmp_path / "photo.png", 33, 30)


def picture(path: Path, width: int, height: int) -> Path:
    imaging.write(path, np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8))
    return path


def tensor(path: Path) -> torch.Tensor:
    return imaging.to_tensor([imaging.read(path)])


def vqi2i(*arguments: object) -> list[Path]:
    """Run a verb; the files it wrote."""
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return [Path(name) for name in json.loads(done.stdout.splitlines()[-1])["written"]]


def same(written: list[Path], expected: torch.Tensor) -> bool:
    return np.array_equal(imaging.read(written[0]), imaging.to_pixels(expected)[0])


def test_translations(
    tiny_bundle: Path, translator: Translator, photo: Path, tmp_path: Path
) -> None:
    snow = picture(tmp_path / "snow.png", 40, 40)
    style = translator.encode(tensor(snow), "winter").style
    written = vqi2i(
        "translate",
        tiny_bundle,
        photo,
        "--to",
        "winter",
        "--style",
        snow,
        "--out",
        tmp_path / "out",
    )
    assert same(
        written, translator.translate(tensor(photo), source="summer", target="winter", style=style)
    )
    written = vqi2i(
        "translate", tiny_bundle, photo, "--to", "winter", "--samples", 2, "--out", tmp_path / "out"
    )
    assert len(written) == 2
    assert same(
        written[1:], translator.translate(tensor(photo), source="summer", target="winter", seed=1)
    )


def test_extensions(tiny_bundle: Path, translator: Translator, photo: Path, tmp_path: Path) -> None:
    written = vqi2i(
        "extend",
        tiny_bundle,
        photo,
        "--from",
        "summer",
        "--left",
        5,
        "--right",
        7,
        "--top",
        3,
        "--bottom",
        9,
        "--paste",
        2,
        "--seed",
        4,
        "--draw",
        "temperature=0.8",
        "--draw",
        "top_k=5",
        "--out",
        tmp_path,
    )
    sampling = Sampling(temperature=0.8, top_k=5)
    assert same(
        written,
        translator.extend(
            tensor(photo),
            domain="summer",
            left=5,
            right=7,
            top=3,
            bottom=9,
            feather=2,
            seed=4,
            sampling=sampling,
        ),
    )
    written = vqi2i(
        "extend", tiny_bundle, photo, "--right", 7, "--to", "winter", "--seed", 4, "--out", tmp_path
    )
    assert same(
        written, translator.extend(tensor(photo), domain="summer", right=7, target="winter", seed=4)
    )


def test_completions(
    tiny_bundle: Path, translator: Translator, photo: Path, tmp_path: Path
) -> None:
    mask = np.zeros((30, 33, 3), np.uint8)
    mask[5:25, :20] = 255
    imaging.write(tmp_path / "mask.png", mask)
    written = vqi2i(
        "complete",
        tiny_bundle,
        photo,
        "--from",
        "summer",
        "--mask",
        tmp_path / "mask.png",
        "--paste",
        0,
        "--out",
        tmp_path,
    )
    kept = torch.from_numpy(mask[..., 0] > 0)
    assert same(written, translator.complete(tensor(photo), mask=kept, domain="summer", feather=0))
    assert np.array_equal(imaging.read(written[0])[kept.numpy()], imaging.read(photo)[kept.numpy()])
    written = vqi2i(
        "complete", tiny_bundle, photo, "--from", "summer", "--keep", "top", "--out", tmp_path
    )
    kept = (torch.arange(30) < 15)[:, None].expand(30, 33)
    assert same(written, translator.complete(tensor(photo), mask=kept, domain="summer"))


def test_generation(tiny_bundle: Path, translator: Translator, tmp_path: Path) -> None:
    written = vqi2i(
        "generate",
        tiny_bundle,
        "--domain",
        "winter",
        "--count",
        2,
        "--width",
        40,
        "--out",
        tmp_path,
    )
    made = translator.generate(2, domain="winter", width=40)
    assert same(written[:1], made[:1])
    assert same(written[1:], made[1:])


def test_transitions(
    tiny_bundle: Path, translator: Translator, photo: Path, tmp_path: Path
) -> None:
    snow, dusk = picture(tmp_path / "snow.png", 40, 40), picture(tmp_path / "dusk.png", 48, 40)
    written = vqi2i(
        "transition",
        tiny_bundle,
        photo,
        "--to",
        "winter",
        "--style",
        snow,
        "--style",
        dusk,
        "--direction",
        "radial",
        "--out",
        tmp_path,
    )
    styles = torch.cat([translator.encode(tensor(path), "winter").style for path in (snow, dusk)])
    assert same(
        written,
        translator.transition(
            tensor(photo), domain="summer", target="winter", styles=styles, direction="radial"
        ),
    )


def test_a_chain_from_a_file_takes_the_pictures_beside_it(
    tiny_bundle: Path, translator: Translator, photo: Path, tmp_path: Path
) -> None:
    snow = picture(tmp_path / "snow.png", 40, 40)
    steps = tmp_path / "steps.yaml"
    steps.write_text(
        "from: summer\nsteps:\n  - extend: {right: 8}\n  - translate: {to: winter, style: "
        "snow.png}\n"
    )
    written = vqi2i(
        "compose", tiny_bundle, photo, "--steps", steps, "--seed", 3, "--out", tmp_path / "out"
    )
    style = translator.encode(tensor(snow), "winter").style
    expected = translator.extend(
        tensor(photo), domain="summer", right=8, target="winter", style=style, seed=3
    )
    assert same(written, expected)
    steps.write_text("steps:\n  - generate: {domain: winter}\n")
    written = vqi2i(
        "compose", tiny_bundle, "--steps", steps, "--seed", 3, "--out", tmp_path / "out"
    )
    assert same(written, translator.generate(1, domain="winter", seed=3))


def test_every_part_that_a_step_can_keep_can_be_asked_for() -> None:
    assert get_args(apply.Keep) == get_args(steps.Keep)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("extend", "--right", "8", "--draw", "heat=1"), "draw: .*it can hold temperature"),
        (("extend", "--right", "8", "--draw", "heat"), "not of the form name=value"),
        (("extend", "--right", "8", "--paste", "2", "--to", "winter"), "only pixels of a picture"),
        (("extend",), "say how many pixels"),
        (("complete",), "say what stays"),
        (("transition", "--style", "photo.png"), "at least two --style"),
    ],
)
def test_mistakes_are_named(
    tiny_bundle: Path, photo: Path, tmp_path: Path, arguments, complaint: str
) -> None:
    verb, *options = arguments
    with pytest.raises(ValueError, match=complaint):
        CliRunner().invoke(
            app,
            [
                verb,
                str(tiny_bundle),
                str(photo),
                "--from",
                "summer",
                *options,
                "--out",
                str(tmp_path),
            ],
            catch_exceptions=False,
        )


def test_a_bad_chain_is_named_with_its_file(tiny_bundle: Path, photo: Path, tmp_path: Path) -> None:
    steps = tmp_path / "steps.yaml"
    steps.write_text("from: summer\nsteps:\n  - extend: {rigth: 8}\n")
    with pytest.raises(ValueError, match=r"steps\.yaml: step 1 \(extend\): rigth"):
        CliRunner().invoke(
            app,
            [
                "compose",
                str(tiny_bundle),
                str(photo),
                "--steps",
                str(steps),
                "--out",
                str(tmp_path),
            ],
            catch_exceptions=False,
        )
