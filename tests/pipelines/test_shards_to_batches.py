import hashlib
import threading
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

import imaging
from pipelines.images_to_shards import build_shards
from pipelines.order import Order, permutation, sample_key
from pipelines.shards_to_batches import Batch, Batches, CorruptSample, ShardReader, held_out

COUNTS = {"summer": 26, "winter": 18}
DOMAINS = tuple(COUNTS)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of smooth random images, all different, in several shards."""
    base = tmp_path_factory.mktemp("data")
    for domain, count in COUNTS.items():
        for number in range(count):
            coarse = np.random.default_rng(number + count * 1000).integers(0, 256, (4, 5, 3), dtype=np.uint8)
            imaging.write(base / domain / f"{number}.png", cv2.resize(coarse, (50, 40)))
    build_shards({domain: base / domain for domain in DOMAINS}, out=base / "out", size=32, shard_samples=7)
    return base / "out"


@pytest.fixture(scope="module")
def reader(root: Path) -> ShardReader:
    return ShardReader(root)


def _batches(
    reader: ShardReader, *, rank: int = 0, world_size: int = 1, threads: int = 2, flip: bool = True
) -> Batches:
    return Batches(
        reader,
        domains=DOMAINS,
        crop=24,
        global_batch=6,
        seed=5,
        rank=rank,
        world_size=world_size,
        threads=threads,
        flip=flip,
    )


def _hash(*parts: Batch) -> str:
    """Of a global batch, whose parts the ranks hold."""
    digest = hashlib.sha256(str(parts[0].position).encode())
    for domain in DOMAINS:
        digest.update(np.concatenate([part.images[domain] for part in parts]).tobytes())
    return digest.hexdigest()


def _take(batches: Batches, steps: int, start: int = 0) -> list[Batch]:
    stream = batches.iterate(start)
    taken = list(islice(stream, steps))
    stream.close()
    return taken


def _windows(pixels: np.ndarray) -> np.ndarray:
    """Every 24 x 24 crop of an image."""
    return np.lib.stride_tricks.sliding_window_view(pixels, (24, 24, 3)).reshape(-1, 24, 24, 3)


def test_batches_hold_uint8_images_of_every_domain(reader: ShardReader) -> None:
    batch = _batches(reader, world_size=2, rank=1).at(12)
    assert batch.position == 12
    assert set(batch.images) == set(DOMAINS)
    assert all(images.dtype == np.uint8 and images.shape == (3, 24, 24, 3) for images in batch.images.values())


def test_batches_are_the_same_for_any_number_of_threads_and_ranks_and_on_resume(reader: ShardReader) -> None:
    steps = 12  # crosses several epochs of both domains
    expected = [_hash(batch) for batch in _take(_batches(reader, threads=1), steps)]
    assert len(set(expected)) == steps
    for threads in (2, 3):
        assert [_hash(batch) for batch in _take(_batches(reader, threads=threads), steps)] == expected
    for world_size in (2, 3):
        ranks = [_take(_batches(reader, rank=rank, world_size=world_size), steps) for rank in range(world_size)]
        assert [_hash(*parts) for parts in zip(*ranks, strict=True)] == expected
    assert [_hash(batch) for batch in _take(_batches(reader), 5, start=7 * 6)] == expected[7:]
    assert _hash(_batches(reader).at(7 * 6)) == expected[7]


def test_closing_the_stream_ends_its_threads(reader: ShardReader) -> None:
    stream = _batches(reader).iterate()
    next(stream)
    assert any(thread.name.startswith("batches") for thread in threading.enumerate())
    stream.close()
    assert not any(thread.name.startswith("batches") for thread in threading.enumerate())


def test_batches_follow_the_seed(reader: ShardReader) -> None:
    other = Batches(reader, domains=DOMAINS, crop=24, global_batch=6, seed=6)
    assert _hash(other.at(0)) != _hash(_batches(reader).at(0))


@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_every_epoch_is_a_new_permutation_of_all_samples(epoch: int) -> None:
    order = permutation(3, "summer", epoch, 100)
    assert sorted(order) == list(range(100))
    stream = Order(seed=3, stream="summer", count=100)
    assert [stream.at(epoch * 100 + r) for r in range(100)] == list(order)
    assert [stream.at(epoch * 100 + 98, skip=s) for s in range(3)] == [order[98], order[99], order[0]]
    others = [(3, "summer", epoch + 1), (3, "winter", epoch), (4, "summer", epoch)]
    assert all(not np.array_equal(order, permutation(*other, 100)) for other in others)


def test_the_order_never_changes_between_versions() -> None:
    assert permutation(0, "summer", 0, 8).tolist() == [2, 7, 6, 5, 3, 1, 4, 0]
    assert sample_key(0, "summer", 0) == 18124113146348550415


def test_permutations_are_uniform() -> None:
    """Each of the 24 orders of four samples comes about equally often."""
    orders = np.array([permutation(0, "summer", epoch, 4) for epoch in range(2400)])
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 24
    assert ((counts - 100) ** 2 / 100).sum() < 50  # chi-square, 23 degrees of freedom: p = 0.001


def test_a_sample_is_augmented_anew_in_each_epoch(reader: ShardReader) -> None:
    count = reader.count("train", "summer")
    batches = Batches(reader, domains=["summer"], crop=24, global_batch=1, seed=0)
    stored = reader.read("train", "summer", 0)
    positions = [e * count + int(np.flatnonzero(permutation(0, "summer", e, count) == 0)[0]) for e in range(8)]
    crops = [batches.at(position).images["summer"][0] for position in positions]
    windows = _windows(stored)
    found = {crop.tobytes() for crop in crops}
    possible = {window.tobytes() for window in windows} | {window[:, ::-1].tobytes() for window in windows}
    assert found <= possible
    assert len(found) >= 6


def test_nothing_is_mirrored_without_flip(reader: ShardReader) -> None:
    stored = [reader.read("train", "summer", index) for index in range(reader.count("train", "summer"))]
    windows = {window.tobytes() for pixels in stored for window in _windows(pixels)}
    for flip, inside in ((False, True), (True, False)):
        crops = np.concatenate([_batches(reader, flip=flip).at(6 * k).images["summer"] for k in range(4)])
        assert all(crop.tobytes() in windows for crop in crops) is inside


def test_held_out_images_are_the_centres_of_the_test_split(reader: ShardReader) -> None:
    count = reader.count("test", "summer")
    images = held_out(reader, "summer", crop=20, limit=100)
    assert images.shape == (count, 20, 20, 3)
    assert np.array_equal(images[0], imaging.center_crop(reader.read("test", "summer", 0), 20, 20))
    assert np.array_equal(held_out(reader, "summer", crop=20, limit=1), images[:1])


@pytest.fixture
def damaged(root: Path, tmp_path: Path) -> tuple[Path, str]:
    """A copy of the data set with one byte changed in the middle of its first sample, and that sample's key."""
    copy = tmp_path / "copy"
    for path in root.rglob("*"):
        if path.is_file():
            target = copy / path.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    first = pq.read_table(copy / "train/summer/000000.parquet").to_pylist()[0]
    data = bytearray((copy / "train/summer/000000.tar").read_bytes())
    data[first["offset"] + first["size"] // 2] ^= 1
    (copy / "train/summer/000000.tar").write_bytes(data)
    return copy, first["key"]


def test_a_changed_byte_is_found_and_names_shard_and_key(damaged: tuple[Path, str]) -> None:
    folder, key = damaged
    reader = ShardReader(folder)
    with pytest.raises(CorruptSample, match=rf"train/summer/000000\.tar: the bytes of sample {key} have changed"):
        reader.read("train", "summer", 0)
    assert reader.read("train", "summer", 1).shape[0] == 32
    with pytest.raises(CorruptSample, match=key):
        _take(_batches(reader), 6)


def test_a_cut_or_missing_shard_is_found_when_the_data_set_is_opened(damaged: tuple[Path, str]) -> None:
    folder, _ = damaged
    shard = folder / "train/winter/000000.tar"
    shard.write_bytes(shard.read_bytes()[:-512])
    with pytest.raises(ValueError, match=r"train/winter/000000\.tar has \d+ bytes instead of"):
        ShardReader(folder)
    shard.unlink()
    with pytest.raises(ValueError, match=r"train/winter/000000\.tar cannot be opened"):
        ShardReader(folder)


def test_mistakes_are_told_in_one_sentence(reader: ShardReader, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a finished data set"):
        ShardReader(tmp_path)
    with pytest.raises(ValueError, match="cannot crop 64 px from images of 32 px"):
        Batches(reader, domains=DOMAINS, crop=64, global_batch=4, seed=0)
    with pytest.raises(ValueError, match="global batch 4 cannot be shared by 3 workers"):
        Batches(reader, domains=DOMAINS, crop=24, global_batch=4, seed=0, world_size=3)
    with pytest.raises(ValueError, match=r"no domain 'autumn'.*summer, winter"):
        Batches(reader, domains=["autumn"], crop=24, global_batch=4, seed=0)
    with pytest.raises(ValueError, match="no multiple of the global batch 6"):
        _batches(reader).at(4)
    with pytest.raises(ValueError, match="no multiple of the global batch 6"):
        _take(_batches(reader), 1, start=4)
