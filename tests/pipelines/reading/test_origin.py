"""A bundle says which images its model was trained on, well enough to recognise their folders."""

import json
import shutil
from pathlib import Path

import pytest

from pipelines.images_to_shards import build_shards
from pipelines.reading.origin import comes_from, origin
from pipelines.schema import Manifest
from tests.pipelines.building.test_interrupted_builds import write


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    write(tmp_path / "summer", range(6))
    write(tmp_path / "winter", range(50, 56))
    return {"summer": tmp_path / "summer", "winter": tmp_path / "winter"}


def provenance(folders: dict[str, Path], out: Path, **settings: object) -> dict[str, object]:
    manifest = build_shards(folders, out=out, **({"size": 32} | settings)).manifest  # type: ignore[typeddict-item]
    # as a bundle's file keeps it
    return json.loads(json.dumps({"recipe": "tiny", **origin(manifest)}))


@pytest.mark.parametrize(
    "settings", [{}, {"size": 24, "test_fraction": 0.5}, {"background": "#000000"}]
)
def test_the_images_of_a_training_are_recognised_however_they_were_built(
    folders: dict[str, Path], tmp_path: Path, settings: dict[str, object]
) -> None:
    known = provenance(folders, tmp_path / "out", **settings)
    assert known["data"] == Manifest.load(tmp_path / "out").fingerprint[:12]
    assert comes_from(known, folders) is True
    moved = {
        domain: Path(shutil.copytree(folder, tmp_path / "moved" / domain))
        for domain, folder in folders.items()
    }
    assert comes_from(known, moved) is True


def test_other_images_are_not(folders: dict[str, Path], tmp_path: Path) -> None:
    known = provenance(folders, tmp_path / "out")
    assert comes_from(known, {"summer": folders["winter"], "winter": folders["summer"]}) is False
    assert comes_from(known, {"summer": folders["summer"], "winter": tmp_path / "nowhere"}) is False
    write(folders["winter"], range(60, 61))
    assert comes_from(known, folders) is False


@pytest.mark.parametrize(
    "known", [{}, {"recipe": "the authors' release"}, {"options": {"size": "large"}}, {"data": "1"}]
)
def test_a_bundle_that_does_not_say_is_told_apart(
    known: dict[str, object], folders: dict[str, Path]
) -> None:
    assert comes_from(known, folders) is None
