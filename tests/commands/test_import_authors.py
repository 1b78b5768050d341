"""The published checkpoints become bundles, and a user's slip becomes a sentence."""

import sys
from pathlib import Path

import pytest
import torch

import run
from tests.vqi2i import release
from vqi2i import Translator


def vqi2i(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """Exit code of the command."""
    monkeypatch.setattr(sys, "argv", ["vqi2i", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        run.main()
    return int(end.value.code or 0)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("release")
    first = release.write(folder / "stage1.pt", release.stage1_weights())
    return first, release.write(folder / "stage2.pt", release.stage2_weights())


def test_both_stages_become_a_bundle_that_translates_and_extends(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--domains", "summer,winter", "--gpt-heads", "4", "--out", tmp_path / "bundle")
    assert vqi2i(monkeypatch, "import-authors", files[0], "--stage2", files[1], *options) == 0
    translator = Translator.load(tmp_path / "bundle")
    assert translator.domains == ("summer", "winter")
    images = torch.rand(1, 3, 64, 64) * 2 - 1
    style = translator.encode(images, "winter").style
    assert (
        translator.translate(images, source="summer", target="winter", style=style).shape
        == images.shape
    )
    assert translator.extend(images, domain="summer", right=16).shape == (1, 3, 64, 80)
    with pytest.raises(ValueError, match="no style prior for winter: give an example of the style"):
        translator.translate(images, source="summer", target="winter")


def test_with_data_it_can_sample_styles(
    files: tuple[Path, Path], shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = (
        "--domains",
        "summer,winter",
        "--set",
        "network.resolution=32",
        "--set",
        "network.attention_resolutions=[8]",
    )
    assert (
        vqi2i(
            monkeypatch,
            "import-authors",
            files[0],
            *options,
            "--data",
            shards,
            "--out",
            tmp_path / "bundle",
        )
        == 0
    )
    translator = Translator.load(tmp_path / "bundle")
    assert translator.prior is None
    assert translator.sample_styles("winter", 2, seed=0).shape == (2, 8)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--domains", "summer"], "--domains needs the names of A and B"),
        (["--domains", "a,b", "--set", "network.base=3"], "there is no setting 'network.base'"),
        (["--domains", "a,b", "--stage2", "STAGE1"], "lacks transformer.pos_emb"),
        (
            ["--domains", "a,b", "--stage2", "STAGE2", "--gpt-heads", "7"],
            "48 wide, no multiple of 7 heads",
        ),
    ],
)
def test_a_slip_ends_with_one_sentence(
    arguments: list[str],
    sentence: str,
    files: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    named = [{"STAGE1": str(files[0]), "STAGE2": str(files[1])}.get(a, a) for a in arguments]
    assert vqi2i(monkeypatch, "import-authors", files[0], *named, "--out", tmp_path / "bundle") == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()


def test_stages_that_do_not_belong_together_are_refused(
    files: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    weights = release.stage1_weights()
    weights["quant_conv.bias"] = weights["quant_conv.bias"] + 1
    other = release.write(tmp_path / "other.pt", weights)
    options = ("--domains", "a,b", "--gpt-heads", "4", "--out", tmp_path / "bundle")
    assert vqi2i(monkeypatch, "import-authors", other, "--stage2", files[1], *options) == 2
    assert "was trained on another stage 1" in capsys.readouterr().err
