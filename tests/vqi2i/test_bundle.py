"""Bundles: what goes in comes out, and damage is named."""

import json
import resource
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

from errors import UserError
from tests.conftest import untrained
from training.checkpointing.checkpoints import take_bundle
from vqi2i import BundleError, Translator, bundle
from vqi2i.bundle import checksum, fingerprint, read_card, read_config


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "copy"))


def test_a_loaded_model_is_the_saved_one(tiny_bundle: Path, tmp_path: Path) -> None:
    first = Translator.load(tiny_bundle)
    first.save(tmp_path / "again")
    second = Translator.load(tmp_path / "again")
    image = torch.rand(1, 3, 32, 32)
    options = {"domain": "summer", "right": 8, "target": "winter"}
    assert torch.equal(first.extend(image, **options), second.extend(image, **options))  # type: ignore[arg-type]
    assert fingerprint(tiny_bundle) == fingerprint(tmp_path / "again")
    assert second.provenance == {"recipe": "untrained"}


def test_saving_replaces_an_older_bundle_whole(copy: Path) -> None:
    (copy / "leftover").write_text("old")
    Translator.load(copy).save(copy)
    assert not (copy / "leftover").exists()
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


def test_a_bundle_is_written_out_of_sight_beside_its_place_whatever_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "another disk"))
    place, seen = tmp_path / "models/summer/bundle", set[str]()
    write, remove = bundle.save_file, shutil.rmtree

    def watched(tensors: Any, file: Path) -> None:
        seen.update(path.name for path in place.parent.iterdir())
        write(tensors, file)

    def removed(folder: Path, **how: Any) -> None:
        seen.add(folder.name)
        remove(folder, **how)

    monkeypatch.setattr(bundle, "save_file", watched)
    monkeypatch.setattr("vqi2i.bundle.shutil.rmtree", removed)
    for _ in range(2):
        untrained(prior=False).save(place)
    assert [path.name for path in place.parent.iterdir()] == ["bundle"]
    assert any(name.startswith(".bundle-old-") for name in seen)
    assert all(name.startswith(".bundle-") for name in seen - {"bundle"})


def test_saving_takes_nothing_else_away(tiny_bundle: Path, tmp_path: Path) -> None:
    model = Translator.load(tiny_bundle)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / ".DS_Store").write_bytes(b"\0")
    model.save(tmp_path / "photos")  # as good as empty
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "only.jpg").write_text("a picture")
    for save in (lambda path: model.save(path), lambda path: take_bundle(tiny_bundle, path)):
        with pytest.raises(
            BundleError,
            match=r"album holds other things than a bundle \(only.jpg...\): choose another",
        ):
            save(tmp_path / "album")
        with pytest.raises(BundleError, match="is a file: choose a folder"):
            save(tmp_path / "album" / "only.jpg")
    assert (tmp_path / "album" / "only.jpg").read_text() == "a picture"


def test_what_a_file_manager_leaves_in_a_bundle_does_not_make_it_another(copy: Path) -> None:
    before = fingerprint(copy)
    for name in (".DS_Store", "._autoencoder.safetensors", "Thumbs.db", "._config.json"):
        (copy / name).write_bytes(b"\0\5\26\7")
    assert fingerprint(copy) == before
    assert Translator.load(copy).domains == ("summer", "winter")


def test_the_card_says_what_the_model_can_do(
    tiny_bundle: Path, tiny_bundle_without_prior: Path
) -> None:
    assert "generate" in (tiny_bundle / "MODEL_CARD.md").read_text()
    assert "not upwards" not in (tiny_bundle / "MODEL_CARD.md").read_text()
    assert "generate" not in (tiny_bundle_without_prior / "MODEL_CARD.md").read_text()


CARD = """# VQ-I2I: summer, winter

Translates images between summer, winter. It can translate, restyle, blend styles, \
generate, extend, complete.

| property | value |
|---|---|
| nominal size | 32 px, one token for 4x4 px |
| codebook | 16 vectors of 8 numbers |
| style | 8 numbers |
| prior | causal transformer, 1 layers, 16 wide, 8x8 tokens |
| recipe | untrained |

Method: Vector Quantized Image-to-Image Translation (ECCV 2022, arXiv 2207.13286). \
A model knows its training images: what it was not shown it will not draw well, \
and its licence follows the images'.

```python
from vqi2i import Translator
translator = Translator.load("PATH")
```
"""


def test_a_card_tells_sizes_and_origin_in_markdown(tmp_path: Path) -> None:
    untrained().save(tmp_path / "whole")
    assert read_card(tmp_path / "whole") == CARD
    untrained(prior=False).save(tmp_path / "half")
    assert "| prior | none (stage 2 not trained) |" in read_card(tmp_path / "half")


def test_a_card_says_what_a_model_was_trained_with(tmp_path: Path) -> None:
    translator = untrained(prior=False)
    translator.provenance["trained_with"] = []
    translator.save(tmp_path / "none")
    assert "| trained_with | none |" in read_card(tmp_path / "none")
    translator.provenance["trained_with"] = ["vgg16-lpips", "other"]
    translator.save(tmp_path / "two")
    assert "| trained_with | vgg16-lpips, other |" in read_card(tmp_path / "two")


def test_a_card_that_somebody_has_written_into_is_still_read(copy: Path) -> None:
    (copy / "MODEL_CARD.md").write_bytes("für Übungen".encode() + b"\xff")
    assert read_card(copy) == "für Übungen\ufffd"


def test_a_bundle_from_before_priors_could_go_upwards_is_what_it_was(
    tmp_path: Path, tiny_bundle: Path
) -> None:
    untrained(upwards=False).save(tmp_path / "bundle")
    name = fingerprint(tmp_path / "bundle")
    assert "extend, complete (not upwards)" in (tmp_path / "bundle" / "MODEL_CARD.md").read_text()
    fields = json.loads((tmp_path / "bundle" / "config.json").read_text())
    del fields["prior"]["upwards"]
    (tmp_path / "bundle" / "config.json").write_text(json.dumps(fields))
    assert fingerprint(tmp_path / "bundle") == name
    loaded = Translator.load(tmp_path / "bundle")
    assert loaded.extend(torch.rand(1, 3, 32, 32), domain="summer", left=4).shape == (1, 3, 32, 36)
    with pytest.raises(UserError, match="cannot continue them upwards"):
        loaded.extend(torch.rand(1, 3, 32, 32), domain="summer", top=4)


def test_a_folder_without_configuration_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no config\.json"):
        Translator.load(tmp_path)


def test_a_missing_part_is_named(copy: Path) -> None:
    (copy / "prior.safetensors").unlink()
    with pytest.raises(BundleError, match=r"prior\.safetensors is missing"):
        Translator.load(copy)


def test_a_damaged_part_is_named(copy: Path) -> None:
    file = copy / "autoencoder.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(BundleError, match=r"autoencoder\.safetensors is damaged"):
        Translator.load(copy)


def test_weights_of_another_size_are_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["network"]["codebook_size"] = 17
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(BundleError, match="does not fit"):
        Translator.load(copy)


def test_an_unknown_setting_is_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["network"]["basechannels"] = 8
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(BundleError, match="basechannels"):
        read_config(copy)


def test_the_fingerprint_follows_the_weights_and_not_the_story(
    copy: Path, tiny_bundle: Path
) -> None:
    translator = Translator.load(copy)
    translator.provenance["note"] = "told again"
    translator.save(copy)
    assert fingerprint(copy) == fingerprint(tiny_bundle)
    translator.autoencoder.codebook.vectors[0, 0] += 1
    translator.save(copy)
    assert fingerprint(copy) != fingerprint(tiny_bundle)


def test_a_checksum_stands_for_every_file_and_a_fingerprint_for_what_they_compute(
    tiny_bundle: Path, copy: Path
) -> None:
    assert checksum(copy) == checksum(tiny_bundle)
    (copy / "MODEL_CARD.md").write_text("another card")
    assert checksum(copy) != checksum(tiny_bundle)
    assert fingerprint(copy) == fingerprint(tiny_bundle)
    seen = {checksum(copy)}
    (copy / "MODEL_CARD.md").rename(copy / "card.md")
    seen.add(checksum(copy))
    (copy / "more").mkdir()
    (copy / "more" / "picture.png").write_bytes(b"")
    seen.add(checksum(copy))
    assert len(seen) == 3


def test_a_bundle_without_its_card_is_incomplete(copy: Path) -> None:
    assert read_card(copy).startswith("#")
    (copy / "MODEL_CARD.md").unlink()
    with pytest.raises(BundleError, match=r"copy is incomplete: MODEL_CARD\.md is missing"):
        read_card(copy)


def test_weights_for_which_there_is_no_room_are_told_and_leave_nothing(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(
            BundleError, match=rf"^{tmp_path}/bundle cannot be written \(.*\): make room"
        ):
            untrained().save(tmp_path / "bundle")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
