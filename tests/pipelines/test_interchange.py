"""The shards are WebDataset files: other readers see as many samples, and the same pixels."""

import gc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset

import imaging
from pipelines.images_to_shards import build_shards
from pipelines.shards_to_batches import ShardReader
from tests.pipelines import hostile
from tests.pipelines.building.test_interrupted_builds import files, write


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("in")
    (root / "b").mkdir()
    for name in ("gray.png", "rgba.png", "deep.png", "plain.jpg"):
        channels = {"gray.png": 1, "rgba.png": 4}.get(name, 3)
        pixels = hostile.picture(name, channels).squeeze()
        (root / "b" / name).write_bytes(
            hostile.save(pixels, "JPEG" if name == "plain.jpg" else "PNG")
        )
    return {"a": write(root / "a", range(30)), "b": write(root / "b", range(100, 116))}


def shown(reader: ShardReader) -> dict[str, np.ndarray]:
    """Pixels of all training images by key, as our reader shows them."""
    found: dict[str, np.ndarray] = {}
    for domain, shards in reader.manifest.splits["train"].items():
        keys = [
            key
            for shard in shards
            for key in pq.read_table(f"{reader.root}/{shard.index_name}")["key"].to_pylist()
        ]
        found |= {key: reader.read("train", domain, number) for number, key in enumerate(keys)}
    return found


def paths(reader: ShardReader) -> list[str]:
    return [
        str(Path(reader.root) / shard.name)
        for shards in reader.manifest.splits["train"].values()
        for shard in shards
    ]


def test_webdataset_sees_the_same_pixels(folders: dict[str, Path], tmp_path: Path) -> None:
    build_shards(folders, out=tmp_path / "out", size=48, shard_samples=7)
    reader = ShardReader(tmp_path / "out")
    with warnings.catch_warnings():
        # webdataset leaves shards open until they are collected
        warnings.simplefilter("ignore", ResourceWarning)
        samples: list[dict[str, Any]] = list(
            webdataset.WebDataset(paths(reader), shardshuffle=False).decode("rgb8")
        )
        gc.collect()
    expected = shown(reader)
    assert len(samples) == len(expected)
    assert all(np.array_equal(sample["jpg"], expected[sample["__key__"]]) for sample in samples)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:ray"
)  # Ray Data 2.60 deprecates its own settings
@pytest.mark.filterwarnings("ignore:.*is deprecated! Configure:DeprecationWarning")
def test_ray_builds_the_same_bytes_and_ray_data_sees_the_same_pixels(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    import ray

    here = build_shards(folders, out=tmp_path / "here", size=48, shard_samples=7)
    told: list[int] = []
    there = build_shards(
        folders,
        out=tmp_path / "ray",
        size=48,
        shard_samples=7,
        workers=2,
        progress=lambda done, _: told.append(done),
    )
    assert files(tmp_path / "ray") == files(tmp_path / "here")
    assert there.built == here.built
    assert told[-1] == 50
    reader = ShardReader(tmp_path / "ray")
    expected = shown(reader)
    rows = ray.data.read_webdataset(paths(reader), decoder=None).take_all()
    assert len(rows) == len(expected)
    assert all(np.array_equal(imaging.decode(row["jpg"]), expected[row["__key__"]]) for row in rows)
