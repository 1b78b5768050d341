"""Every changed byte is found, and named by shard and key."""

import random
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.images_to_shards import build_shards
from pipelines.schema import MANIFEST_NAME, Manifest
from pipelines.verify import Damage, verify
from tests.pipelines.building.test_interrupted_builds import write


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    folders = {"a": write(root / "a", range(24)), "b": write(root / "b", range(100, 112))}
    build_shards(folders, out=root / "out", size=32, shard_samples=9)
    return root / "out"


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def flip(path: Path, offset: int, mask: int = 1) -> bytes:
    """Change one byte; the bytes as they were are returned."""
    data = path.read_bytes()
    path.write_bytes(data[:offset] + bytes([data[offset] ^ mask]) + data[offset + 1 :])
    return data


def test_a_whole_data_set_is_found_whole(whole: Path) -> None:
    told: list[tuple[int, int]] = []
    assert verify(whole, lambda done, total: told.append((done, total))) == []
    assert told[-1] == (36, 36)


def test_one_changed_byte_anywhere_in_a_shard_names_shard_and_key(copy: Path) -> None:
    name = "train/a/000000.tar"
    rows = pq.read_table(copy / "train/a/000000.parquet").to_pylist()
    size, draws = (copy / name).stat().st_size, random.Random(7)
    members = [draws.randrange(size - 10240) for _ in range(60)]
    headers = [rows[k % len(rows)]["offset"] - 512 + draws.randrange(512) for k in range(60)]
    for offset in [0, 156, 257, 511, *members, *headers]:
        data = flip(copy / name, offset, 1 << draws.randrange(8))
        damages = verify(copy)
        row = next(
            (row for row in rows if offset < row["offset"] + row["size"] + -row["size"] % 512), None
        )
        assert [damage.file for damage in damages] == [name], (offset, damages)
        if row is not None:
            assert damages[0].key == row["key"], (offset, damages)
        (copy / name).write_bytes(data)
    flip(copy / name, size - 1)
    assert verify(copy) == [Damage(name, "", "the padding at its end has changed")]


def test_a_changed_index_report_or_missing_file_is_named(copy: Path) -> None:
    index = copy / "train/b/000000.parquet"
    size = index.stat().st_size
    for offset in [0, size - 1, *random.Random(1).sample(range(size), 20)]:
        data = flip(index, offset)
        assert [damage.file for damage in verify(copy)] == ["train/b/000000.parquet"]
        index.write_bytes(data)
    index.write_bytes(data[:-1])
    assert "instead of" in verify(copy)[0].what
    index.write_bytes(data)
    flip(copy / "rejects.parquet", 10)
    assert [damage.file for damage in verify(copy)] == ["rejects.parquet"]
    (copy / "train/a/000001.tar").unlink()
    assert verify(copy)[0] == Damage(
        "train/a/000001.tar", "", "it cannot be read (No such file or directory)"
    )


def test_a_shard_cut_at_a_member_boundary_is_named(copy: Path) -> None:
    name = "train/a/000001.tar"
    rows = pq.read_table(copy / "train/a/000001.parquet").to_pylist()
    data = (copy / name).read_bytes()
    for row in rows[1:]:
        (copy / name).write_bytes(data[: row["offset"] - 512])
        damages = verify(copy)
        assert (damages[0].file, damages[0].key) == (name, row["key"])
        assert "cut" in damages[0].what
    end = rows[-1]["offset"] + rows[-1]["size"] + -rows[-1]["size"] % 512
    (copy / name).write_bytes(data[:end])
    assert re.search(rf"{end} bytes instead of {len(data)}", verify(copy)[0].what)
    (copy / name).write_bytes(data + bytes(512))
    assert verify(copy)[0].file == name


def test_a_damaged_shard_is_built_again_alone(whole: Path, copy: Path) -> None:
    flip(copy / "train/a/000000.tar", 700)
    manifest = Manifest.load(copy)
    (copy / verify(copy)[0].file).unlink()
    source = whole.parent
    report = build_shards({d: source / d for d in "ab"}, out=copy, size=32, shard_samples=9)
    assert (report.built, report.manifest) == (1, manifest)
    assert verify(copy) == []


def test_a_changed_byte_in_the_manifest_is_noticed_and_the_next_build_writes_it_anew(
    whole: Path, copy: Path
) -> None:
    file = copy / MANIFEST_NAME
    written = file.read_bytes()
    for place in range(3, len(written) - 3, 97):
        if written[place : place + 1].isspace():
            continue  # means nothing in JSON
        flip(file, place)
        with pytest.raises(ValueError, match=r"manifest\.json .*: build the data set again"):
            Manifest.load(copy)
        file.write_bytes(written)
    flip(file, 40)
    source = whole.parent
    with pytest.raises(ValueError, match="build the data set again"):
        # other images: nothing is lost
        build_shards({"a": source / "a"}, out=copy, size=32, shard_samples=9)
    assert verify(whole) == []
    report = build_shards({d: source / d for d in "ab"}, out=copy, size=32, shard_samples=9)
    assert report.built == 0
    assert file.read_bytes() == written
