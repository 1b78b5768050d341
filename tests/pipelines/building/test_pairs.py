"""Paired folders: the same name is the same thing, from the folder to the batch."""

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

import imaging
from pipelines.images_to_shards import build_shards
from pipelines.reading.reader import ShardReader
from pipelines.shards_to_batches import Batches
from tests.pipelines.conftest import flip_byte

DOMAINS = ("label", "photo")
PALETTE = np.array([[0, 0, 255], [255, 64, 0], [0, 192, 64]], np.uint8)


def draw(folder: Path, numbers: range) -> dict[str, Path]:
    """Label maps of three colours, and photos that are a blurred, darkened copy of them."""
    for number in numbers:
        classes = np.random.default_rng(number).integers(0, 3, (6, 5))
        label = cv2.resize(PALETTE[classes], (50, 60), interpolation=cv2.INTER_NEAREST)
        imaging.write(folder / "label" / f"{number:02d}.png", label)
        imaging.write(
            folder / "photo" / f"{number:02d}.jpg", cv2.GaussianBlur(label // 2, (5, 5), 0)
        )
    return {domain: folder / domain for domain in DOMAINS}


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    return draw(tmp_path / "in", range(24))


def build(folders: dict[str, Path], out: Path) -> ShardReader:
    build_shards(
        folders,
        out=out,
        size=32,
        test_fraction=0.2,
        shard_samples=5,
        paired=True,
        labels=["label"],
        max_reject_fraction=0.5,
    )
    return ShardReader(out)


def matches(label: np.ndarray, photo: np.ndarray) -> bool:
    return float(np.abs(label // 2 - photo.astype(float)).mean()) < 20


def test_pairs_share_key_split_crop_and_mirroring(folders: dict[str, Path], tmp_path: Path) -> None:
    reader = build(folders, tmp_path / "out")
    assert (
        reader.count("train", "label")
        == reader.count("train", "photo")
        > reader.count("test", "label")
        > 0
    )
    batches = Batches(reader, domains=DOMAINS, crop=24, global_batch=4, seed=1, paired=True)
    shown = [batches.at(position).images for position in range(0, 40, 4)]
    pairs = [
        (a, b) for images in shown for a, b in zip(images["label"], images["photo"], strict=True)
    ]
    assert all(matches(a, b) for a, b in pairs)
    assert not any(matches(a, b) for (a, _), (_, b) in pairwise(pairs))


def test_label_maps_keep_their_colours(folders: dict[str, Path], tmp_path: Path) -> None:
    reader = build(folders, tmp_path / "out")
    for index in range(reader.count("train", "label")):
        colours = {tuple(colour) for colour in reader.read("train", "label", index).reshape(-1, 3)}
        assert colours <= {tuple(colour) for colour in PALETTE}


def test_what_has_no_partner_is_left_out_and_named(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    (folders["photo"] / "03.jpg").unlink()
    (folders["label"] / "05.png").write_bytes(b"")
    (folders["photo"] / "07.png").write_bytes((folders["photo"] / "07.jpg").read_bytes())
    reader = build(folders, tmp_path / "out")
    rows = pq.read_table(tmp_path / "out" / "rejects.parquet").to_pylist()
    assert {(row["domain"], row["source"], row["reason"]) for row in rows} == {
        ("label", "03.png", "unpaired"),
        ("label", "05.png", "empty"),
        ("photo", "05.jpg", "unpaired"),
        ("photo", "07.jpg", "ambiguous_pair"),
    }
    kept = (
        reader.pairs("train", DOMAINS)["label"].size + reader.pairs("test", DOMAINS)["label"].size
    )
    assert kept == 22


def test_a_picture_that_fails_later_takes_its_partner_along(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    data = (folders["photo"] / "11.jpg").read_bytes()
    (folders["photo"] / "11.jpg").write_bytes(data[: len(data) // 2])
    reader = build(folders, tmp_path / "out")
    rows = [reader.pairs(split, DOMAINS) for split in ("train", "test")]
    assert (
        sum(pair["label"].size for pair in rows) == sum(pair["photo"].size for pair in rows) == 23
    )
    batches = Batches(reader, domains=DOMAINS, crop=32, global_batch=2, seed=0, paired=True)
    for position in range(0, 40, 2):
        images = batches.at(position).images
        assert all(matches(a, b) for a, b in zip(images["label"], images["photo"], strict=True))


def test_a_damaged_picture_is_replaced_together_with_its_partner(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    build(folders, tmp_path / "out")
    flip_byte(tmp_path / "out/train/photo/000000.tar", 2)
    options = {
        "domains": DOMAINS,
        "crop": 32,
        "global_batch": 2,
        "seed": 0,
        "paired": True,
        "max_corrupt": 1,
    }
    batches = Batches(ShardReader(tmp_path / "out"), **options)
    shown = [batches.at(position) for position in range(0, 40, 2)]
    assert sum(len(batch.replaced) for batch in shown) >= 1
    for batch in shown:
        assert all(
            matches(a, b) for a, b in zip(batch.images["label"], batch.images["photo"], strict=True)
        )


def test_colours_of_photographs_are_varied_and_those_of_label_maps_are_not(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    reader = build(folders, tmp_path / "out")
    options = {"domains": DOMAINS, "crop": 24, "global_batch": 4, "seed": 1, "paired": True}
    plain, varied = (
        Batches(reader, jitter=jitter, **options).at(0).images for jitter in (0.0, 0.2)
    )
    assert np.array_equal(plain["label"], varied["label"])  # label maps mean what they show
    for before, after in zip(plain["photo"], varied["photo"], strict=True):
        assert not np.array_equal(before, after)


def test_pairs_of_different_size_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    imaging.write(folders["photo"] / "04.jpg", np.zeros((60, 80, 3), np.uint8))
    build_shards(folders, out=tmp_path / "out", size=32, test_fraction=0, paired=True)
    reader = ShardReader(tmp_path / "out")
    with pytest.raises(ValueError, match=r"the images of pair \d+ differ in size"):
        reader.pairs("train", DOMAINS)


def test_folders_without_a_common_name_are_refused(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    others = draw(tmp_path / "others", range(30, 33))
    with pytest.raises(ValueError, match="no image of label and photo has the same name"):
        build({"label": folders["label"], "photo": others["photo"]}, tmp_path / "out")


def test_unpaired_data_cannot_be_read_as_pairs(folders: dict[str, Path], tmp_path: Path) -> None:
    build_shards(folders, out=tmp_path / "out", size=32)
    with pytest.raises(
        ValueError, match="holds no pairs: build it with `vqi2i data shard --paired`"
    ):
        Batches(
            ShardReader(tmp_path / "out"),
            domains=DOMAINS,
            crop=24,
            global_batch=4,
            seed=1,
            paired=True,
        )


def test_labels_must_be_a_domain(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="labels name no domain: masks"):
        build_shards(folders, out=tmp_path / "out", size=32, labels=["masks"])
