"""Side-by-side images: one folder in, two paired domains out."""

from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

import imaging
from pipelines.images_to_shards import build_shards
from pipelines.shards_to_batches import Batches, ShardReader

PALETTE = np.array([[0, 0, 255], [255, 64, 0], [0, 192, 64]], np.uint8)


@pytest.fixture
def facades(tmp_path: Path) -> Path:
    """A darkened blur on the left, the label map it was made from on the right."""
    for number in range(16):
        classes = np.random.default_rng(number).integers(0, 3, (6, 6))
        label = cv2.resize(PALETTE[classes], (60, 60), interpolation=cv2.INTER_NEAREST)
        photo = cv2.GaussianBlur(label // 2, (5, 5), 0)
        imaging.write(tmp_path / "facades" / f"{number:02d}.png", np.concatenate([photo, label], 1))
    return tmp_path / "facades"


def build(folder: Path, out: Path) -> ShardReader:
    build_shards(
        {"photo": folder, "label": folder},
        out=out,
        size=32,
        test_fraction=0.2,
        split_halves=True,
        labels=["label"],
        max_reject_fraction=0.2,
    )
    return ShardReader(out)


def test_halves_share_key_split_and_crop_and_labels_keep_their_colours(
    facades: Path, tmp_path: Path
) -> None:
    reader = build(facades, tmp_path / "out")
    assert reader.manifest.domains == ("photo", "label")
    assert sum(reader.count(split, "photo") for split in ("train", "test")) == 16
    assert all(
        reader.count(split, "photo") == reader.count(split, "label") > 0
        for split in ("train", "test")
    )
    for index in range(reader.count("train", "label")):
        label, photo = reader.read("train", "label", index), reader.read("train", "photo", index)
        assert label.shape == photo.shape == (32, 32, 3)
        assert {tuple(colour) for colour in label.reshape(-1, 3)} <= {
            tuple(colour) for colour in PALETTE
        }
        assert np.abs(label // 2 - photo.astype(float)).mean() < 20
    images = (
        Batches(reader, domains=("photo", "label"), crop=24, global_batch=4, seed=1, paired=True)
        .at(0)
        .images
    )
    assert np.abs(images["label"] // 2 - images["photo"].astype(float)).mean() < 20
    index = pq.read_table(tmp_path / "out/train/label/000000.parquet").to_pylist()
    assert {row["changes"] for row in index} == {"half shrunk"}


def test_what_has_no_two_halves_is_rejected_for_both(facades: Path, tmp_path: Path) -> None:
    imaging.write(facades / "odd.png", np.zeros((60, 121, 3), np.uint8))
    (facades / "zz_copy.png").write_bytes((facades / "03.png").read_bytes())
    build(facades, tmp_path / "out")
    rows = pq.read_table(tmp_path / "out" / "rejects.parquet").to_pylist()
    assert {(row["domain"], row["source"], row["reason"]) for row in rows} == {
        (domain, source, reason)
        for domain in ("photo", "label")
        for source, reason in (("odd.png", "uneven_halves"), ("zz_copy.png", "duplicate"))
    }


def test_halves_are_two_domains_of_one_folder(facades: Path, tmp_path: Path) -> None:
    for folders in ({"photo": facades}, {"photo": facades, "label": tmp_path}):
        with pytest.raises(ValueError, match="halves are two domains of one folder"):
            build_shards(folders, out=tmp_path / "out", size=32, split_halves=True)


def test_a_label_map_of_sixteen_bits_is_refused_rather_than_scaled(
    facades: Path, tmp_path: Path
) -> None:
    deep = cv2.imencode(".png", np.arange(3600, dtype=np.uint16).reshape(60, 60))[1].tobytes()
    (facades / "deep.png").write_bytes(deep)
    build_shards({"m": facades}, out=tmp_path / "out", size=32, labels=["m"])
    rows = pq.read_table(tmp_path / "out" / "rejects.parquet").to_pylist()
    assert [(row["source"], row["reason"]) for row in rows] == [("deep.png", "unsupported")]
