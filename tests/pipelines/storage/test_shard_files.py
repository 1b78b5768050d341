import shutil
from pathlib import Path

import pyarrow.fs as fs
import pytest

from pipelines.reading.reader import ShardReader
from pipelines.shards_to_batches import Batches, held_out
from pipelines.storage.remote import StorageError
from pipelines.storage.shard_cache import CacheSettings
from pipelines.storage.shard_files import read_manifest
from tests.pipelines.conftest import DOMAINS, digests, flip_byte, take
from tests.servers import upload, web_server

DIRECT = CacheSettings(gigabytes=0)


def _batches(reader: ShardReader, order: str) -> Batches:
    return Batches(reader, domains=DOMAINS, crop=24, global_batch=6, seed=5, order=order)  # type: ignore[arg-type]


@pytest.fixture
def cache(tmp_path: Path) -> CacheSettings:
    return CacheSettings(folder=str(tmp_path / "cache"), gigabytes=1)


@pytest.fixture(scope="module")
def bucket(root: Path, s3: str) -> str:
    """The data set on S3."""
    return upload(root, f"s3://data/sets/one?{s3}")


@pytest.mark.parametrize("order", ["samples", "blocks"])
def test_batches_from_s3_through_the_cache_are_those_of_the_folder(
    bucket: str, root: Path, cache: CacheSettings, order: str
) -> None:
    expected = digests(take(_batches(ShardReader(root), order), 20))
    assert digests(take(_batches(ShardReader(bucket, cache), order), 20)) == expected
    manifest = read_manifest(root)
    kept = {path.name for path in Path(cache.folder).iterdir() if path.is_file()}
    assert kept >= {
        shard.sha256 for domain in DOMAINS for shard in manifest.splits["train"][domain]
    }
    assert kept >= {shard.index_sha256 for shard in manifest.shards()}


def test_batches_from_s3_without_a_cache_are_those_of_the_folder(bucket: str, root: Path) -> None:
    expected = digests(take(_batches(ShardReader(root), "blocks"), 20))
    remote = ShardReader(bucket, DIRECT)
    assert digests(take(_batches(remote, "blocks"), 20)) == expected
    assert digests(take(_batches(remote, "blocks"), 5, start=90)) == expected[15:]
    assert (
        held_out(remote, "summer", crop=20, limit=9)
        == held_out(ShardReader(root), "summer", crop=20, limit=9)
    ).all()


def test_a_web_server_is_asked_for_blocks_and_for_each_only_once(root: Path) -> None:
    with web_server(root) as web:
        batches = take(_batches(ShardReader(web.url, DIRECT), "blocks"), 30)
        asked = [
            request
            for request in web.requests()
            if request.endswith(".tar") and request.startswith("GET")
        ]
    shards = read_manifest(root).splits["train"]
    assert sorted(asked) == sorted(
        f"GET /{shard.name}" for domain in DOMAINS for shard in shards[domain]
    )
    assert digests(batches) == digests(take(_batches(ShardReader(root), "blocks"), 30))


def test_what_is_cached_is_not_fetched_again(root: Path, cache: CacheSettings) -> None:
    with web_server(root, ranges=False) as web:  # which the cache can do without
        for _ in range(2):
            take(_batches(ShardReader(web.url, cache), "samples"), 10)
        asked = [request for request in web.requests() if request.startswith("GET /train")]
    assert len(asked) == len(set(asked))


def test_a_server_without_ranges_needs_the_cache(root: Path) -> None:
    with (
        web_server(root, ranges=False) as web,
        pytest.raises(
            StorageError, match="answers a range with the whole file: read through the cache"
        ),
    ):
        take(_batches(ShardReader(web.url, DIRECT), "blocks"), 1)


def test_a_cut_or_missing_remote_shard_is_found_when_the_data_set_is_opened(
    root: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(root, folder)
    shard = folder / "train/winter/000001.tar"
    shard.write_bytes(shard.read_bytes()[:-512])
    with web_server(folder) as web:
        with pytest.raises(
            ValueError, match=r"train/winter/000001\.tar has \d+ bytes instead of \d+: upload"
        ):
            ShardReader(web.url, DIRECT)
        shard.unlink()
        with pytest.raises(ValueError, match=r"train/winter/000001\.tar is missing: upload"):
            ShardReader(web.url, DIRECT)


def test_a_damaged_remote_sample_is_replaced_or_its_shard_refused(
    root: Path, tmp_path: Path, cache: CacheSettings
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(root, folder)
    key = flip_byte(folder / "train/summer/000000.tar")
    options = {"domains": DOMAINS, "crop": 24, "global_batch": 6, "seed": 5, "max_corrupt": 1}
    expected = digests(take(Batches(ShardReader(folder), order="blocks", **options), 10))
    with web_server(folder) as web:
        batches = take(Batches(ShardReader(web.url, DIRECT), order="blocks", **options), 10)
        assert digests(batches) == expected
        assert {key in sentence for batch in batches for sentence in batch.replaced} == {True}
        with pytest.raises(
            ValueError, match=r"train/summer/000000\.tar is not the file that the manifest names"
        ):
            take(Batches(ShardReader(web.url, cache), **options), 10)


def test_an_index_that_has_changed_is_refused(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(root, folder)
    index = folder / "test/summer/000000.parquet"
    index.write_bytes(index.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"test/summer/000000\.parquet has changed"):
        ShardReader(folder)


def test_reading_without_a_cache_needs_the_block_order(bucket: str) -> None:
    with pytest.raises(ValueError, match="set order=blocks, or every image would be one request"):
        _batches(ShardReader(bucket, DIRECT), "samples")


def test_a_cache_must_hold_the_data_set(bucket: str, tmp_path: Path) -> None:
    small = CacheSettings(folder=str(tmp_path), gigabytes=1e-5)
    with pytest.raises(
        ValueError, match=r"enlarge it with --cache-gb, or .* --cache-gb 0 --set order=blocks"
    ):
        ShardReader(bucket, small)


def test_addresses_that_lead_nowhere_are_named(s3: str, bucket: str, root: Path) -> None:
    with pytest.raises(
        StorageError, match=r"s3://data/sets/two/manifest\.json does not exist: check the address"
    ):
        read_manifest(f"s3://data/sets/two?{s3}")
    with (
        web_server(root) as web,
        pytest.raises(StorageError, match=r"nowhere/manifest\.json does not exist"),
    ):
        read_manifest(f"{web.url}/nowhere")
    with pytest.raises(StorageError, match="nosuch://data cannot be opened"):
        read_manifest("nosuch://data")
    assert read_manifest(f"file://{root}") == read_manifest(root) == read_manifest(bucket)
    assert fs.FileSystem.from_uri(bucket)[1] == "data/sets/one"
