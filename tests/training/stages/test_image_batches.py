"""What a worker is given of a data set, and what is kept from it."""

import shutil
from itertools import islice
from pathlib import Path

import pytest
import torch

import imaging
from pipelines.reading.reader import ShardReader
from tests.pipelines.conftest import flip_byte
from training.distributed.worker import LocalWorker
from training.job import Job
from training.settings import override
from training.stages.image_batches import ImageFeed, styled


@pytest.fixture
def feed(stage1_job: Job, shards: Path, worker: LocalWorker) -> ImageFeed:
    config = override(stage1_job.config, ["crop=16"])
    return ImageFeed(ShardReader(shards), config, worker)  # type: ignore[arg-type]


def _all(feed: ImageFeed, split: str, domain: str) -> torch.Tensor:
    """Centre crops of a split, in stored order."""
    pixels = feed.reader.read_some(split, domain, range(feed.reader.count(split, domain)))  # type: ignore[arg-type]
    return imaging.to_tensor([imaging.center_crop(image, 16, 16) for image in pixels])


def test_styles_are_fitted_on_training_images_and_figures_are_measured_on_test_images(
    feed: ImageFeed,
) -> None:
    held_out = feed.held_out()
    assert list(held_out) == list(feed.domains)
    for domain in feed.domains:
        assert torch.equal(feed.styled(domain), _all(feed, "train", domain))
        assert torch.equal(held_out[domain], _all(feed, "test", domain))


def test_styles_of_a_large_domain_are_spread_over_it(
    feed: ImageFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.stages.image_batches.STYLED", 3)
    train = _all(feed, "train", "winter")
    last = len(train) - 1
    assert torch.equal(styled(feed.reader, "winter", 16), train[[0, last // 2, last]])


def test_batches_are_pixels_from_minus_one_to_one_domain_by_domain(feed: ImageFeed) -> None:
    batch = next(feed.batches(0))
    assert batch.shape == (8, 3, 16, 16)
    assert -1 <= float(batch.min()) < 0 < float(batch.max()) <= 1
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert [name.split("/")[1] for name in feed.names(0, 0)] == ["summer"] * 4 + ["winter"] * 4


def test_damaged_images_are_counted_over_all_batches(
    stage1_job: Job, shards: Path, worker: LocalWorker, tmp_path: Path
) -> None:
    shutil.copytree(shards, tmp_path / "shards")
    flip_byte(tmp_path / "shards/train/summer/000000.tar")
    config = override(stage1_job.config, ["crop=16", "max_corrupt=1"])
    feed = ImageFeed(ShardReader(tmp_path / "shards"), config, worker)  # type: ignore[arg-type]
    count = feed.reader.count("train", "summer")
    stream = feed.batches(0)
    for _ in islice(stream, -(-3 * count // config.batch_size)):  # type: ignore[union-attr]
        pass
    stream.close()
    assert feed.replaced in (3, 4)  # once in each epoch; the last batch may reach into the fourth


def test_an_epoch_is_that_of_the_largest_domain(feed: ImageFeed) -> None:
    assert feed.epoch == max(feed.reader.count("train", domain) for domain in feed.domains)


def test_a_domain_that_was_not_built_is_named(
    stage1_job: Job, shards: Path, worker: LocalWorker
) -> None:
    config = override(stage1_job.config, ['network.domains=["spring","summer","autumn"]'])
    with pytest.raises(
        ValueError, match=r"/shards has no domain autumn, spring: it was built with others$"
    ):
        ImageFeed(ShardReader(shards), config, worker)  # type: ignore[arg-type]
