import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imaging
from errors import UserError
from pipelines.reading.order import WINDOW, Order, block_permutation, permutation, sample_key
from pipelines.reading.reader import CorruptSample, ShardReader
from pipelines.shards_to_batches import Batches, held_out
from tests.pipelines.conftest import DOMAINS, digest, digests, flip_byte, take


def _batches(reader: ShardReader, **options: Any) -> Batches:
    return Batches(
        reader, **{"domains": DOMAINS, "crop": 24, "global_batch": 12, "seed": 5, **options}
    )


def _windows(pixels: np.ndarray) -> np.ndarray:
    """Every 24 x 24 crop of an image."""
    return np.lib.stride_tricks.sliding_window_view(pixels, (24, 24, 3)).reshape(-1, 24, 24, 3)


def test_batches_hold_uint8_images_of_every_domain(reader: ShardReader) -> None:
    batch = _batches(reader, world_size=2, rank=1).at(12)
    assert batch.position == 12
    assert tuple(batch.images) == DOMAINS
    assert all(
        images.dtype == np.uint8 and images.shape == (6, 24, 24, 3)
        for images in batch.images.values()
    )


STEPS = 60  # crosses many epochs of both domains


@pytest.mark.parametrize("order", ["samples", "blocks"])
def test_batches_are_the_same_for_any_threads_and_ranks_and_after_resuming(
    reader: ShardReader, order: str
) -> None:
    expected = digests(take(_batches(reader, threads=1, order=order), STEPS))
    assert len(set(expected)) == STEPS
    for threads in (2, 3):
        assert digests(take(_batches(reader, threads=threads, order=order), STEPS)) == expected
    for world_size in (2, 3):
        assert _of_ranks(reader, world_size, range(STEPS), order=order) == expected
    assert digests(take(_batches(reader, order=order), STEPS - 37, start=37 * 12)) == expected[37:]
    assert digest(_batches(reader, order=order).at(37 * 12)) == expected[37]


def test_batches_are_the_same_while_ranks_come_and_go(reader: ShardReader) -> None:
    expected = digests(take(_batches(reader), STEPS))
    phases = [(4, range(20)), (1, range(20, 33)), (3, range(33, STEPS))]
    assert [
        hashed for world, steps in phases for hashed in _of_ranks(reader, world, steps)
    ] == expected


def _of_ranks(reader: ShardReader, world_size: int, steps: range, **options: Any) -> list[str]:
    """Hashes of the global batches that a number of ranks read together."""
    ranks = [
        take(
            _batches(reader, rank=rank, world_size=world_size, **options),
            len(steps),
            steps.start * 12,
        )
        for rank in range(world_size)
    ]
    return [digest(*parts) for parts in zip(*ranks, strict=True)]


def test_closing_the_stream_ends_its_threads(reader: ShardReader) -> None:
    stream = _batches(reader).iterate()
    next(stream)
    assert any(thread.name.startswith("batches") for thread in threading.enumerate())
    stream.close()
    assert not any(thread.name.startswith("batches") for thread in threading.enumerate())


def test_batches_follow_the_seed(reader: ShardReader) -> None:
    other = Batches(reader, domains=DOMAINS, crop=24, global_batch=6, seed=6)
    assert digest(other.at(0)) != digest(_batches(reader, global_batch=6).at(0))


@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_every_epoch_is_a_new_permutation_of_all_samples(epoch: int) -> None:
    order = permutation(3, "summer", epoch, 100)
    assert sorted(order) == list(range(100))
    stream = Order(seed=3, stream="summer", count=100)
    assert [stream.at(epoch * 100 + r) for r in range(100)] == list(order)
    assert [stream.at(epoch * 100 + 98, skip=s) for s in range(3)] == [
        order[98],
        order[99],
        order[0],
    ]
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


def test_a_block_order_mixes_some_blocks_at_a_time() -> None:
    blocks = np.repeat(np.arange(5 * WINDOW), 3)
    order = block_permutation(0, "summer", 0, blocks)
    assert sorted(order) == list(range(len(blocks)))
    windows = [set(blocks[part]) for part in np.split(order, 5)]
    assert [len(window) for window in windows] == [WINDOW] * 5
    assert not set.intersection(*windows)
    assert max(windows[0]) - min(windows[0]) > 2 * WINDOW  # from all over the data set
    assert (np.diff(blocks[order]) == 0).mean() < 0.1
    assert not np.array_equal(order, block_permutation(0, "summer", 1, blocks))


def test_a_block_order_follows_seed_stream_and_epoch() -> None:
    blocks = np.repeat(np.arange(40), 3)
    order = Order(seed=3, stream="summer", count=120, blocks=blocks)
    for epoch in (0, 5):
        wanted = block_permutation(3, "summer", epoch, blocks)
        found = [order.at(epoch * 120 + rank) for rank in range(120)]
        assert found == wanted.tolist()
        for other in ((4, "summer", epoch), (3, "winter", epoch), (3, "summer", epoch + 1)):
            assert not np.array_equal(wanted, block_permutation(*other, blocks))
    assert len(block_permutation(0, "summer", 0, blocks[:0])) == 0


def test_the_block_order_never_changes_between_versions() -> None:
    blocks = np.arange(2 * WINDOW) // 2
    assert block_permutation(0, "summer", 0, blocks)[:8].tolist() == [
        25,
        75,
        108,
        17,
        41,
        61,
        32,
        70,
    ]
    few = block_permutation(0, "summer", 0, np.repeat(np.arange(3 * WINDOW), 2))
    assert few[:8].tolist() == [25, 17, 378, 202, 61, 32, 293, 67]


def test_a_sample_is_augmented_anew_in_each_epoch(reader: ShardReader) -> None:
    count = reader.count("train", "summer")
    batches = Batches(reader, domains=["summer"], crop=24, global_batch=1, seed=0)
    stored = reader.read("train", "summer", 0)
    positions = [
        e * count + int(np.flatnonzero(permutation(0, "summer", e, count) == 0)[0])
        for e in range(8)
    ]
    crops = [batches.at(position).images["summer"][0] for position in positions]
    windows = _windows(stored)
    found = {crop.tobytes() for crop in crops}
    possible = {window.tobytes() for window in windows} | {
        window[:, ::-1].tobytes() for window in windows
    }
    assert found <= possible
    assert len(found) >= 6


def test_nothing_is_mirrored_without_flip(reader: ShardReader) -> None:
    stored = [
        reader.read("train", "summer", index) for index in range(reader.count("train", "summer"))
    ]
    windows = {window.tobytes() for pixels in stored for window in _windows(pixels)}
    for flip, inside in ((False, True), (True, False)):
        crops = np.concatenate(
            [_batches(reader, flip=flip).at(12 * k).images["summer"] for k in range(4)]
        )
        assert all(crop.tobytes() in windows for crop in crops) is inside


def test_held_out_images_are_the_centres_of_the_test_split(reader: ShardReader) -> None:
    count = reader.count("test", "summer")
    images = held_out(reader, "summer", crop=20, limit=100)
    assert images.shape == (count, 20, 20, 3)
    assert np.array_equal(images[0], imaging.center_crop(reader.read("test", "summer", 0), 20, 20))
    assert np.array_equal(held_out(reader, "summer", crop=20, limit=1), images[:1])


@pytest.fixture
def damaged(root: Path, tmp_path: Path) -> tuple[Path, str]:
    """A copy of the data set with one bit changed in its first sample, and that sample's key."""
    folder = tmp_path / "copy"
    shutil.copytree(root, folder)
    return folder, flip_byte(folder / "train/summer/000000.tar")


def test_a_changed_byte_is_found_and_names_shard_and_key(damaged: tuple[Path, str]) -> None:
    folder, key = damaged
    reader = ShardReader(folder)
    with pytest.raises(
        CorruptSample, match=rf"train/summer/000000\.tar: the bytes of sample {key} have changed"
    ):
        reader.read("train", "summer", 0)
    assert reader.read("train", "summer", 1).shape[0] == 32
    with pytest.raises(
        CorruptSample, match=rf"1 samples are damaged, more than max_corrupt=0: .*{key}"
    ):
        take(_batches(reader), 6)


def test_a_damaged_sample_is_replaced_by_the_next_of_the_epoch(
    reader: ShardReader, damaged: tuple[Path, str], caplog: pytest.LogCaptureFixture
) -> None:
    folder, key = damaged
    count = reader.count("train", "summer")
    options = {
        "domains": ["summer"],
        "crop": 32,
        "flip": False,
        "max_corrupt": 1,
        "global_batch": 1,
    }
    whole, cut = _batches(reader, **options), _batches(ShardReader(folder), **options)
    order = permutation(5, "summer", 0, count)
    place = int(np.flatnonzero(order == 0)[0])
    batches = take(cut, 3 * count)
    assert next(batch.position for batch in batches if batch.replaced) == place
    assert sum(len(batch.replaced) for batch in batches) == 3  # once in every epoch
    assert all(key in sentence for batch in batches for sentence in batch.replaced)
    assert [record.message.count(key) for record in caplog.records] == [1]  # named once
    following = reader.read("train", "summer", int(order[(place + 1) % count]))
    windows = {
        w.tobytes()
        for w in np.lib.stride_tricks.sliding_window_view(following, (32, 32, 3)).reshape(
            -1, 32, 32, 3
        )
    }
    assert batches[place].images["summer"][0].tobytes() in windows
    for batch in batches[:count]:
        assert batch.replaced or digest(batch) == digest(whole.at(batch.position))


def test_replacing_does_not_depend_on_threads_or_ranks(damaged: tuple[Path, str]) -> None:
    reader = ShardReader(damaged[0])
    expected = digests(take(_batches(reader, threads=1, max_corrupt=1), 12))
    assert digests(take(_batches(reader, threads=3, max_corrupt=1), 12)) == expected
    assert _of_ranks(reader, 3, range(12), max_corrupt=1) == expected


def test_bytes_that_are_no_image_are_damaged_too(root: Path, reader: ShardReader) -> None:
    samples = ShardReader(root).samples("train", "winter")
    samples.crc32 = samples.crc32.copy()
    samples.crc32[3] = 0  # of no bytes at all
    with pytest.raises(
        CorruptSample, match=r"train/winter/000000\.tar: .* cannot be decoded: the file is empty"
    ):
        samples.decode(3, b"")


def test_images_to_look_at_are_replaced_as_well(damaged: tuple[Path, str]) -> None:
    reader = ShardReader(damaged[0])
    first, second = reader.read_some("train", "summer", [0, 1])
    assert np.array_equal(first, second)


def test_label_maps_keep_their_colours_when_others_are_varied(reader: ShardReader) -> None:
    plain = _batches(reader)
    varied = _batches(reader, jitter=0.5)
    assert (
        digest(varied.at(0))
        == digest(_batches(reader, jitter=0.5, threads=1).at(0))
        != digest(plain.at(0))
    )
    again = varied.at(0), varied.at(36 * 12)
    assert digest(again[0]) != digest(again[1])
    labels = reader.manifest.options.model_copy(update={"labels": ("winter",)})
    marked = ShardReader(reader.root)
    marked.manifest = reader.manifest.model_copy(update={"options": labels})
    batch = _batches(marked, jitter=0.5).at(0)
    assert np.array_equal(batch.images["winter"], plain.at(0).images["winter"])
    assert np.array_equal(batch.images["summer"], varied.at(0).images["summer"])


def test_a_cut_or_missing_shard_is_found_when_the_data_set_is_opened(
    damaged: tuple[Path, str],
) -> None:
    folder, _ = damaged
    shard = folder / "train/winter/000000.tar"
    shard.write_bytes(shard.read_bytes()[:-512])
    with pytest.raises(ValueError, match=r"train/winter/000000\.tar has \d+ bytes instead of"):
        ShardReader(folder)
    shard.unlink()
    with pytest.raises(ValueError, match=r"train/winter/000000\.tar cannot be opened"):
        ShardReader(folder)


def test_an_index_that_does_not_fit_its_shard_is_told(reader: ShardReader) -> None:
    (shard, *_) = reader.manifest.of("train", "summer")
    data = (Path(reader.root) / shard.index_name).read_bytes()
    more = shard.model_copy(update={"samples": shard.samples + 2})
    with pytest.raises(
        UserError,
        match=rf"/{shard.index_name} lists {shard.samples} samples, not {more.samples}: run "
        r"`vqi2i data shard` again$",
    ):
        reader._table(more, data)
    with pytest.raises(
        UserError,
        match=rf"/{shard.index_name} cannot be read \(.+\): run `vqi2i data shard` again$",
    ):
        reader._table(shard, data[: len(data) // 2])


def test_mistakes_are_told_in_one_sentence(reader: ShardReader, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a finished data set"):
        ShardReader(tmp_path)
    with pytest.raises(ValueError, match="cannot crop 64 px from images of 32 px"):
        Batches(reader, domains=DOMAINS, crop=64, global_batch=4, seed=0)
    with pytest.raises(ValueError, match="global batch 4 cannot be shared by 3 workers"):
        Batches(reader, domains=DOMAINS, crop=24, global_batch=4, seed=0, world_size=3)
    with pytest.raises(ValueError, match=r"no domain 'autumn'.*summer, winter"):
        Batches(reader, domains=["autumn"], crop=24, global_batch=4, seed=0)
    with pytest.raises(ValueError, match="no multiple of the global batch 12"):
        _batches(reader).at(4)
    with pytest.raises(ValueError, match="no multiple of the global batch 12"):
        take(_batches(reader), 1, start=4)
