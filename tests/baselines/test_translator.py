"""Baselines: what goes in comes out, and a bundle of another kind is told in a sentence."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from baselines.config import GeneratorConfig
from baselines.networks import Generators
from baselines.translator import BaselineTranslator, fingerprint, is_baseline, load
from errors import UserError
from serving.registry import resolve
from vqi2i import BundleError, Translator
from vqi2i.bundle import checksum, read_card
from vqi2i.bundle import fingerprint as fingerprint_of_ours

TINY = GeneratorConfig(
    domains=("summer", "winter"), base_channels=8, channel_multipliers=(1, 1), num_res_blocks=2
)


def untrained(config: GeneratorConfig = TINY) -> BaselineTranslator:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return BaselineTranslator(Generators(config), "cut", {"recipe": "untrained"})


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    untrained().save(tmp_path / "bundle")
    return tmp_path / "bundle"


def _images(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_a_loaded_baseline_is_the_saved_one(bundle: Path, tmp_path: Path) -> None:
    assert {file.name for file in bundle.iterdir()} == {
        "config.json",
        "generators.safetensors",
        "MODEL_CARD.md",
    }
    first = load(bundle)
    first.save(tmp_path / "again")
    second = load(tmp_path / "again")
    images = _images(2, 3, 32, 32)
    made = first.translate(images, source="summer", target="winter")
    assert torch.equal(made, second.translate(images, source="summer", target="winter"))
    assert not torch.equal(made, second.translate(images, source="winter", target="summer"))
    assert fingerprint(bundle) == fingerprint(tmp_path / "again")
    assert second.provenance == {"recipe": "untrained"}
    assert (second.method, second.domains) == ("cut", ("summer", "winter"))
    assert "Baseline cut: summer, winter" in read_card(bundle)


def test_other_weights_or_networks_have_another_fingerprint(bundle: Path, tmp_path: Path) -> None:
    other = load(bundle)
    next(other.generators.parameters()).add_(1)
    other.save(tmp_path / "weights")
    larger = untrained(TINY.model_copy(update={"resolution": 128}))
    larger.save(tmp_path / "network")
    known = {fingerprint(each) for each in (bundle, tmp_path / "weights", tmp_path / "network")}
    assert len(known) == 3


@pytest.mark.parametrize("size", [(5, 7), (33, 70)])
def test_images_of_any_size_keep_it_and_depend_on_nothing_else_in_the_batch(
    bundle: Path, size: tuple[int, int]
) -> None:
    translator, images = load(bundle), _images(6, 3, *size)
    made = translator.translate(images, source="summer", target="winter")
    assert made.shape == images.shape
    assert made.abs().max() <= 1
    alone = translator.translate(images[4:5], source="summer", target="winter", seed=9)
    assert torch.equal(alone, made[4:5])


def test_a_picture_has_one_translation_and_no_style(bundle: Path) -> None:
    translator, images = load(bundle), _images(2, 3, 16, 16)
    made = translator.translate(images, source="summer", target="winter")
    without = torch.zeros(2, translator.network.style_dim)
    same = translator.translate(images, source="summer", target="winter", style=without)
    assert torch.equal(same, made)
    with pytest.raises(UserError, match="a baseline has no styles: leave the style out"):
        translator.translate(images, source="summer", target="winter", style=torch.zeros(2, 8))


@pytest.mark.parametrize(
    ("source", "target", "sentence"),
    [
        ("summer", "summer", "in other domains only: choose another target"),
        (
            "sumer",
            "winter",
            r"unknown domain 'sumer' \(did you mean 'summer'\?\): this model knows",
        ),
        ("summer", "spring", "unknown domain 'spring'"),
    ],
)
def test_domains_that_it_has_no_generator_for_are_told(
    bundle: Path, source: str, target: str, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        load(bundle).translate(_images(1, 3, 16, 16), source=source, target=target)


@pytest.mark.parametrize("use", [Translator.load, fingerprint_of_ours], ids=["load", "fingerprint"])
def test_where_a_model_of_ours_is_wanted_a_baseline_is_told(
    bundle: Path, use: Callable[[Path], object]
) -> None:
    sentence = f"{bundle} holds a baseline, which can be measured and no more: give the bundle of"
    with pytest.raises(BundleError, match=re.escape(sentence)):
        use(bundle)


@pytest.mark.parametrize("use", [load, fingerprint], ids=["load", "fingerprint"])
def test_where_a_baseline_is_wanted_a_model_of_ours_is_told(
    tiny_bundle: Path, use: Callable[[Path], object]
) -> None:
    sentence = f"{tiny_bundle} holds no baseline: load it with `vqi2i.Translator.load`, or give"
    with pytest.raises(BundleError, match=re.escape(sentence)):
        use(tiny_bundle)


def test_a_baseline_is_found_and_checked_like_any_bundle(bundle: Path, tiny_bundle: Path) -> None:
    assert resolve(bundle) == bundle
    assert is_baseline(bundle)
    assert not is_baseline(tiny_bundle)
    before = checksum(bundle)
    (bundle / "MODEL_CARD.md").write_text("another")
    assert checksum(bundle) != before


def test_damage_is_told_with_the_file(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"is not a bundle: it has no config.json"):
        load(tmp_path)
    cut = Path(shutil.copytree(bundle, tmp_path / "cut"))
    (cut / "generators.safetensors").unlink()
    with pytest.raises(BundleError, match=r"generators\.safetensors is missing"):
        load(cut)
    fields = json.loads((bundle / "config.json").read_text())
    fields["network"]["base_channels"] = 16
    (bundle / "config.json").write_text(json.dumps(fields))
    with pytest.raises(BundleError, match=r"generators.safetensors does not fit its config.json"):
        load(bundle)
    (bundle / "config.json").write_text(json.dumps({**fields, "method": "pix2pix"}))
    with pytest.raises(BundleError, match=r"config.json is not valid: method"):
        load(bundle)


def test_models_of_ours_whose_configuration_is_damaged_are_still_told_so(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(tiny_bundle, tmp_path / "copy"))
    for text in ("", "[]", '{"network": {}}', "[" * 100_000):
        (copy / "config.json").write_text(text)
        for use in (Translator.load, resolve, checksum):
            with pytest.raises(BundleError, match=r"config.json is not valid"):
                use(copy)
