import shutil
from pathlib import Path

import pytest

from pipelines.copying import copy_data
from pipelines.images_to_shards import build_shards
from pipelines.reading.reader import ShardReader
from pipelines.schema import MANIFEST_NAME, Manifest
from pipelines.storage.remote import StorageError
from pipelines.storage.shard_cache import CacheSettings
from pipelines.storage.shard_files import read_manifest
from pipelines.verify import verify
from tests.pipelines.conftest import flip_byte
from tests.servers import upload, web_server


@pytest.fixture(scope="module")
def bucket(s3: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An address in a bucket that exists."""
    upload(tmp_path_factory.mktemp("empty"), f"s3://copies/nothing?{s3}")
    return f"s3://copies/set?{s3}"


def test_a_target_that_is_a_file_is_told_in_few_words(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        StorageError, match=r"file/manifest\.json cannot be read \(Not a directory\): check"
    ):
        copy_data(root, tmp_path / "file")


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_data_set_goes_to_a_bucket_and_comes_back_unchanged(
    root: Path, bucket: str, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    manifest = copy_data(root, bucket, lambda done, total: told.append((done, total)))
    assert manifest == read_manifest(bucket)
    assert told[-1] == (44, 44)
    away = ShardReader(bucket, CacheSettings(gigabytes=0))
    assert (away.read("train", "summer", 0) == ShardReader(root).read("train", "summer", 0)).all()
    copy_data(bucket, tmp_path / "back")
    assert _files(tmp_path / "back") == _files(root)
    assert verify(tmp_path / "back") == []


def test_a_data_set_is_copied_from_a_web_server(root: Path, tmp_path: Path) -> None:
    with web_server(root) as web:
        copy_data(web.url, tmp_path / "here")
    assert _files(tmp_path / "here") == _files(root)


def test_an_interrupted_copy_goes_on_with_what_is_missing(root: Path, tmp_path: Path) -> None:
    copy_data(root, tmp_path / "copy")
    first, *others = [tmp_path / "copy" / shard.name for shard in Manifest.load(root).shards()]
    (tmp_path / "copy" / MANIFEST_NAME).unlink()
    first.with_suffix(".parquet").unlink()
    first.write_bytes(b"half")
    times = [path.stat().st_mtime_ns for path in others]
    copy_data(root, tmp_path / "copy")
    assert _files(tmp_path / "copy") == _files(root)
    assert [path.stat().st_mtime_ns for path in others] == times


def test_a_damaged_file_is_named_and_no_manifest_is_left(root: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(root, tmp_path / "source"))
    flip_byte(source / "train/summer/000001.tar")
    with pytest.raises(ValueError, match=r"train/summer/000001\.tar is damaged"):
        copy_data(source, tmp_path / "copy")
    assert not (tmp_path / "copy" / MANIFEST_NAME).exists()


def test_another_data_set_is_left_alone(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    build_shards({d: root.parent / d for d in ("summer", "winter")}, out=other, size=24)
    before = _files(other)
    with pytest.raises(ValueError, match="holds another data set"):
        copy_data(root, other)
    assert _files(other) == before


def test_places_that_cannot_be_written_are_named(
    root: Path, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.storage.remote._PAUSES", (0.1,))
    with pytest.raises(
        ValueError, match=r"https://example\.org cannot be written to: give a folder, or an address"
    ):
        copy_data(root, "https://example.org")
    with pytest.raises(
        StorageError, match=r"s3://no-such-bucket-here/set/.* cannot be written .*: check address"
    ):
        copy_data(root, f"s3://no-such-bucket-here/set?{s3}")
