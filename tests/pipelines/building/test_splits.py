"""Which images are learned from, chosen by and reported on: by their content alone, whatever else
is split off.
"""

import json
import shutil
from pathlib import Path

import pytest

from errors import UserError
from pipelines.building.output_folder import held_options
from pipelines.copying import copy_data
from pipelines.describe import describe
from pipelines.images_to_shards import build_shards
from pipelines.reading.reader import ShardReader
from pipelines.schema import BuildOptions, Manifest, measured_split
from pipelines.verify import verify
from tests.pipelines.building.test_interrupted_builds import write


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("photos") / "d", range(60), side=16)


def parts(root: Path) -> dict[str, set[bytes]]:
    """The images of every split."""
    reader = ShardReader(root)
    splits = reader.manifest.options.splits
    return {
        split: {reader.read(split, "d", i).tobytes() for i in range(reader.count(split, "d"))}
        for split in splits
    }


def build(photos: Path, out: Path, **fractions: float) -> Manifest:
    return build_shards({"d": photos}, out=out, size=16, **fractions).manifest  # type: ignore[arg-type]


def test_validation_images_come_from_the_training_images(photos: Path, tmp_path: Path) -> None:
    build(photos, tmp_path / "before", test_fraction=0.2)
    manifest = build(photos, tmp_path / "out", test_fraction=0.2, validation_fraction=0.3)
    build(photos, tmp_path / "more", test_fraction=0.2, validation_fraction=0.5)
    before, after, more = (parts(tmp_path / name) for name in ("before", "out", "more"))
    assert list(before) == ["train", "test"]
    assert list(after) == ["train", "validation", "test"]
    assert after["test"] == before["test"] == more["test"]
    assert after["train"] | after["validation"] == before["train"]
    assert after["train"].isdisjoint(after["validation"])
    assert after["validation"] < more["validation"]
    assert 9 <= len(after["validation"]) <= 27  # of 60
    assert [(row.split, row.images) for row in describe(manifest)] == [
        (s, len(images)) for s, images in after.items()
    ]
    assert verify(tmp_path / "out") == []
    copy_data(tmp_path / "out", tmp_path / "copy")
    assert parts(tmp_path / "copy") == after


@pytest.mark.parametrize(("count", "wanted"), [(2, (1, 0, 1)), (3, (1, 1, 1)), (16, (14, 1, 1))])
def test_few_images_are_shared_out_too(
    count: int, wanted: tuple[int, int, int], photos: Path, tmp_path: Path
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted(photos.iterdir())[:count]:
        shutil.copy(path, few)
    manifest = build(few, tmp_path / "out", test_fraction=1e-9, validation_fraction=1e-9)
    assert tuple(manifest.count(split, "d") for split in ("train", "validation", "test")) == wanted


def test_one_image_is_too_few(photos: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    shutil.copy(next(photos.iterdir()), few)
    with pytest.raises(
        UserError,
        match="domain d has 1 image that can be used and needs one to train on and another",
    ):
        build(few, tmp_path / "out", test_fraction=0.1, validation_fraction=0.1)


def test_validation_leaves_an_image_to_learn_from(photos: Path, tmp_path: Path) -> None:
    manifest = build(photos, tmp_path / "out", test_fraction=0, validation_fraction=0.999999)
    assert (manifest.count("train", "d"), manifest.count("validation", "d")) == (1, 59)
    with pytest.raises(ValueError, match="leave nothing to train on"):
        build(photos, tmp_path / "nothing", test_fraction=0.5, validation_fraction=0.5)
    with pytest.raises(ValueError, match="validation_fraction"):
        build(photos, tmp_path / "nothing", validation_fraction=-0.1)


def test_a_data_set_without_validation_is_what_it_was_before_there_was_any(
    photos: Path, tmp_path: Path
) -> None:
    assert held_options(tmp_path / "out") is None
    manifest = build(photos, tmp_path / "out", validation_fraction=0)
    assert held_options(tmp_path / "out") == manifest.options
    fields = json.loads((tmp_path / "out/manifest.json").read_text())
    assert list(fields["splits"]) == ["train", "test"]
    assert "validation_fraction" not in fields["options"]
    assert manifest.plan == build(photos, tmp_path / "again").plan
    assert ShardReader(tmp_path / "out").count("validation", "d") == 0
    assert manifest.count("validation", "d") == 0


def test_names_of_data_sets_are_those_of_earlier_versions() -> None:
    """As they were before there was validation: runs and tokens of such data go on with it."""
    shard = {"name": "train/d/000000.tar", "sha256": 64 * "a", "bytes": 1, "samples": 1}
    shard |= {"index_sha256": 64 * "b", "index_bytes": 1}
    statistics = {"mean": [0, 0, 0], "std": [0, 0, 0], "short_sides": {}, "changes": {}}
    manifest = Manifest.model_validate(
        {
            "domains": ["d"],
            "options": {"size": 32},
            "plan": 64 * "c",
            "rejects": {},
            "rejects_sha256": 64 * "d",
            "splits": {"train": {"d": [shard]}, "test": {"d": []}},
            "statistics": {"d": statistics},
            "versions": {},
        }
    )
    assert (
        manifest.fingerprint == "6144820536b43bddbad2ea082cb98fe20fdf7abd5db257a41624e475141b1b95"
    )
    with pytest.raises(ValueError, match="the splits must be train, validation, test"):
        Manifest.model_validate(
            manifest.model_dump() | {"options": {"size": 32, "validation_fraction": 0.1}}
        )
    assert BuildOptions(size=32).splits == ("train", "test")


def test_what_every_domain_has_is_measured() -> None:
    assert measured_split([3, 1]) == "validation"
    assert measured_split([3, 0]) == "test"
