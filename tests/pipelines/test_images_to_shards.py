import gc
import hashlib
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image

import imaging
from pipelines.describe import Row, contact_sheet, describe
from pipelines.images_to_shards import build_shards
from pipelines.schema import Manifest
from pipelines.shards_to_batches import ShardReader


def _picture(seed: int, height: int = 48, width: int = 48) -> np.ndarray:
    """A smooth random image, so that JPEG stays close to it."""
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def _folder(
    path: Path, seeds: range, suffix: str = ".jpg", height: int = 48, width: int = 48
) -> Path:
    for seed in seeds:
        imaging.write(path / f"{seed:03d}{suffix}", _picture(seed, height, width))
    return path


@pytest.fixture
def seasons(tmp_path: Path) -> dict[str, Path]:
    return {
        "summer": _folder(tmp_path / "in" / "summer", range(30), ".png"),
        "winter": _folder(tmp_path / "in" / "winter", range(100, 120)),
    }


def _files(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def _rejects(root: Path) -> dict[str, tuple[str, str]]:
    rows = pq.read_table(root / "rejects.parquet").to_pylist()
    return {row["source"]: (row["reason"], row["detail"]) for row in rows}


def _read_with_webdataset(paths: list[str]) -> list[dict[str, Any]]:
    with warnings.catch_warnings():
        # webdataset leaves shards open until they are collected
        warnings.simplefilter("ignore", ResourceWarning)
        samples = list(webdataset.WebDataset(paths, shardshuffle=False))
        gc.collect()
    return samples


def test_the_same_images_and_options_give_the_same_bytes(
    seasons: dict[str, Path], tmp_path: Path
) -> None:
    first = build_shards(seasons, out=tmp_path / "a", size=32, test_fraction=0.3, shard_samples=8)
    second = build_shards(seasons, out=tmp_path / "b", size=32, test_fraction=0.3, shard_samples=8)
    files = _files(tmp_path / "a")
    assert files == _files(tmp_path / "b")
    assert {
        "manifest.json",
        "rejects.parquet",
        "train/summer/000000.tar",
        "train/summer/000001.parquet",
    } <= set(files)
    assert first.manifest.fingerprint == second.manifest.fingerprint
    assert all(files[shard.name] == shard.sha256 for shard in first.manifest.shards())


def test_every_image_is_in_one_split_and_webdataset_reads_the_same_pixels(
    seasons: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    manifest = build_shards(seasons, out=out, size=32, test_fraction=0.3, shard_samples=8).manifest
    reader = ShardReader(out)
    keys: set[str] = set()
    for split, parts in manifest.splits.items():
        for domain, shards in parts.items():
            paths = [str(out / shard.name) for shard in shards]
            samples = _read_with_webdataset(paths)
            assert len(samples) == manifest.count(split, domain) == reader.count(split, domain) > 0
            for index, sample in enumerate(samples):
                assert np.array_equal(
                    imaging.decode(sample["jpg"]), reader.read(split, domain, index)
                )
            keys |= {sample["__key__"] for sample in samples}
    assert len(keys) == 50


def test_the_short_side_becomes_size_and_enlarged_images_are_counted(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "in", range(3), height=20, width=30)
    _folder(folder / "deeper", range(10, 14), height=96, width=64)
    out = tmp_path / "out"
    manifest = build_shards({"d": folder}, out=out, size=32, test_fraction=0).manifest
    assert manifest.statistics["d"].changes == {"enlarged": 3, "shrunk": 4}
    assert manifest.statistics["d"].short_sides == {16: 3, 64: 4}
    reader = ShardReader(out)
    shapes = [reader.read("train", "d", index).shape for index in range(7)]
    assert sorted(shapes) == [(32, 48, 3)] * 3 + [(48, 32, 3)] * 4
    table = pq.read_table(out / "train/d/000000.parquet").to_pylist()
    assert [(row["height"], row["width"], 3) for row in table] == shapes


def test_a_plain_jpeg_of_the_right_size_is_copied_and_a_rotated_one_is_upright(
    tmp_path: Path,
) -> None:
    folder = _folder(tmp_path / "in", range(1), height=32, width=40)
    orientation = Image.Exif()
    orientation[0x0112] = 6
    Image.fromarray(_picture(1, 32, 40)).save(folder / "rotated.jpg", quality=95, exif=orientation)
    out = tmp_path / "out"
    manifest = build_shards({"d": folder}, out=out, size=32, test_fraction=0).manifest
    assert manifest.statistics["d"].changes == {"copied": 1, "encoded": 1, "turned": 1}
    rows = {row["source"]: row for row in pq.read_table(out / "train/d/000000.parquet").to_pylist()}
    shard = (out / "train/d/000000.tar").read_bytes()
    stored = {
        source: shard[row["offset"] : row["offset"] + row["size"]] for source, row in rows.items()
    }
    assert stored["000.jpg"] == (folder / "000.jpg").read_bytes()
    upright = imaging.decode(stored["rotated.jpg"]).astype(int)
    assert np.abs(upright - np.rot90(_picture(1, 32, 40), -1)).mean() < 4


def test_unusable_files_are_left_out_and_named_with_the_reason(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "in", range(20))
    (folder / "empty.jpg").touch()
    (folder / "page.jpg").write_text("<html>not found</html>")
    (folder / "cut.png").write_bytes(imaging.encode(_picture(50))[:-200])
    (folder / "dangling.jpg").symlink_to(folder / "nowhere.jpg")
    imaging.write(folder / "strip.png", _picture(51, 4, 400))
    (folder / ".hidden.jpg").write_text("not looked at")
    (folder / "truth.json").write_text("{}")
    out = tmp_path / "out"
    manifest = build_shards({"d": folder}, out=out, size=32, max_reject_fraction=0.2).manifest
    assert {source: reason for source, (reason, _) in _rejects(out).items()} == {
        "empty.jpg": "empty",
        "page.jpg": "not_an_image",
        "cut.png": "damaged",
        "dangling.jpg": "unreadable",
        "strip.png": "too_elongated",
        ".hidden.jpg": "hidden",
        "truth.json": "other_file",
    }
    assert manifest.rejects == {
        "damaged": 1,
        "empty": 1,
        "hidden": 1,
        "not_an_image": 1,
        "other_file": 1,
        "too_elongated": 1,
        "unreadable": 1,
    }
    assert manifest.count("train", "d") + manifest.count("test", "d") == 20


def test_too_many_unusable_files_fail_the_build_and_it_can_be_given_again(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "in", range(4))
    (folder / "page.jpg").write_text("<html>")
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=r"1 of 5 files are unusable \(1 not_an_image\)"):
        build_shards({"d": folder}, out=out, size=32, test_fraction=0)
    assert "page.jpg" in _rejects(out)
    with pytest.raises(ValueError, match="not a finished data set"):
        Manifest.load(out)
    report = build_shards({"d": folder}, out=out, size=32, test_fraction=0, max_reject_fraction=0.3)
    assert (report.built, report.manifest.count("train", "d")) == (0, 4)  # its shards were there
    assert not (out / "plan.json").exists()


def test_a_refused_build_lets_the_mended_one_have_its_folder(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "in", range(6))
    (folder / "page.jpg").write_text("<html>")
    out = tmp_path / "out"
    with pytest.raises(ValueError, match="1 of 7 files are unusable"):
        build_shards({"d": folder}, out=out, size=32, shard_samples=2)
    (folder / "page.jpg").unlink()
    report = build_shards({"d": folder}, out=out, size=16)
    assert report.manifest.rejects == {}
    build_shards({"d": folder}, out=tmp_path / "calm", size=16)
    assert _files(out) == _files(tmp_path / "calm")  # nothing of the first one is left


def test_a_domain_of_one_image_is_told_that_it_needs_two(
    seasons: dict[str, Path], tmp_path: Path
) -> None:
    lonely = {**seasons, "night": _folder(tmp_path / "in" / "night", range(300, 301))}
    for fraction in (0.1, 0.99):
        with pytest.raises(
            ValueError,
            match=r"domain night has 1 image .* one to train on and another to test on: give",
        ):
            build_shards(lonely, out=tmp_path / "out", size=32, test_fraction=fraction)
    (lonely["night"] / "page.jpg").write_text("<html>")
    with pytest.raises(ValueError, match=r"has 1 image that can be used \(1 not_an_image\)"):
        build_shards(lonely, out=tmp_path / "out", size=32)
    (lonely["night"] / "page.jpg").unlink()
    _folder(lonely["night"], range(301, 302))
    for fraction in (0.1, 0.99):
        manifest = build_shards(
            lonely, out=tmp_path / f"two{fraction}", size=32, test_fraction=fraction
        ).manifest
        assert [manifest.count(split, "night") for split in ("train", "test")] == [1, 1]


def test_what_file_managers_leave_behind_is_nobodys_data(
    seasons: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for folder in (out, *seasons.values()):
        folder.mkdir(exist_ok=True)
        for name in (".DS_Store", "._.DS_Store", "Thumbs.db", "desktop.ini"):
            (folder / name).write_bytes(b"\0\5\26\7")
    manifest = build_shards(seasons, out=out, size=32, max_reject_fraction=0).manifest
    assert manifest.rejects == {"hidden": 4, "other_file": 4}
    for index in sorted(out.glob("*/*/*.parquet")):
        index.with_name(f"._{index.name}").write_bytes(b"\0\5\26\7")
    (out / "manifest.json").write_text("{}")  # only its shards tell that the folder is ours
    assert build_shards(seasons, out=out, size=32).manifest == manifest


def test_a_folder_of_pictures_that_cannot_be_read_says_what_they_are(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"IMG_{number}.HEIC").write_bytes(
            b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes([number] * 50)
        )
    (tmp_path / "IMG_0.MOV").write_bytes(b"\0\0\0\x14ftypqt  " + bytes(50))
    with pytest.raises(
        ValueError,
        match=r"holds no image that can .* \(3 heic, 1 other_file\); IMG_0.HEIC: .* to JPEG",
    ):
        build_shards({"d": tmp_path}, out=tmp_path.with_name("out"), size=32)


def test_pictures_that_cannot_be_read_count_as_such(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "in", range(8))
    for number in range(2):
        (folder / f"IMG_{number}.HEIC").write_bytes(
            b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes([number] * 50)
        )
    with pytest.raises(ValueError, match=r"2 of 10 files are unusable \(2 heic\)"):
        build_shards({"d": folder}, out=tmp_path / "out", size=32)


def test_a_background_may_be_a_name(tmp_path: Path) -> None:
    for number in range(2):
        clear = np.full((32, 32, 4), number, np.uint8)
        clear[..., 3] = 0
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(clear).save(tmp_path / "in" / f"{number}.png")
    manifest = build_shards(
        {"d": tmp_path / "in"}, out=tmp_path / "out", size=32, background="tomato"
    ).manifest
    assert manifest.options.background == "#ff6347"
    assert (
        build_shards(
            {"d": tmp_path / "in"}, out=tmp_path / "out", size=32, background="#FF6347"
        ).built
        == 0
    )
    assert (
        np.abs(
            ShardReader(tmp_path / "out").read("train", "d", 0).astype(int) - (255, 99, 71)
        ).max()
        < 3
    )
    with pytest.raises(ValueError, match="'whyte' is no colour"):
        build_shards({"d": tmp_path / "in"}, out=tmp_path / "out", size=32, background="whyte")


def test_copies_are_dropped_within_and_across_domains_and_named(tmp_path: Path) -> None:
    first = _folder(tmp_path / "in" / "a", range(20))
    _folder(first / "zcopies", range(20))
    second = _folder(tmp_path / "in" / "b", range(12, 30))
    out = tmp_path / "out"
    manifest = build_shards({"a": first, "b": second}, out=out, size=32, test_fraction=0.4).manifest
    assert manifest.rejects == {"duplicate": 28}
    assert _rejects(out)["zcopies/007.jpg"] == ("duplicate", "same bytes as 007.jpg")
    assert _rejects(out)["015.jpg"] == ("duplicate", "same bytes as 015.jpg of domain a")
    reader = ShardReader(out)
    pixels = {
        (split, domain): {
            reader.read(split, domain, i).tobytes() for i in range(reader.count(split, domain))
        }
        for split in ("train", "test")
        for domain in "ab"
    }
    assert sum(map(len, pixels.values())) == len(set.union(*pixels.values())) == 30
    assert sum(len(pixels[split, "a"]) for split in ("train", "test")) == 20
    assert all(pixels.values())


def test_a_finished_data_set_is_left_alone_and_another_one_is_refused(
    seasons: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert build_shards(seasons, out=out, size=32).built
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert not build_shards(seasons, out=out, size=32).built
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    with pytest.raises(ValueError, match="other images or options"):
        build_shards(seasons, out=out, size=16)
    _folder(seasons["summer"], range(200, 201))
    with pytest.raises(ValueError, match="other images or options"):
        build_shards(seasons, out=out, size=32)


def test_a_lost_shard_is_built_again(seasons: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    build_shards(seasons, out=out, size=32)
    before = _files(out)
    (out / "train/summer/000000.tar").unlink()
    assert build_shards(seasons, out=out, size=32).built
    assert _files(out) == before


def test_an_interrupted_build_continues_to_the_same_bytes(
    seasons: dict[str, Path], tmp_path: Path
) -> None:
    def interrupt(done: int, total: int) -> None:
        assert total == 50
        if done == 20:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        build_shards(seasons, out=out, size=32, shard_samples=8, progress=interrupt)
    build_shards(seasons, out=out, size=32, shard_samples=8)
    build_shards(seasons, out=tmp_path / "calm", size=32, shard_samples=8)
    assert _files(out) == _files(tmp_path / "calm")


def test_mistakes_are_told_in_one_sentence(seasons: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=r"domain d, .*missing, does not exist"):
        build_shards({"d": tmp_path / "missing"}, out=out, size=32)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"domain d, .*file, is a file: give a folder"):
        build_shards({"d": tmp_path / "file"}, out=out, size=32)
    with pytest.raises(ValueError, match=r"file is a file: choose a folder"):
        build_shards(seasons, out=tmp_path / "file", size=32)
    with pytest.raises(
        ValueError,
        match=r"labels name no domain: sumer \(did you mean 'summer'\?\); the domains are",
    ):
        build_shards(seasons, out=out, size=32, labels=["sumer"])
    (tmp_path / "bare").mkdir()
    with pytest.raises(ValueError, match=r"domain d, .*bare, holds no image"):
        build_shards({"d": tmp_path / "bare"}, out=out, size=32)
    with pytest.raises(ValueError, match="'Sum mer'"):
        build_shards({"Sum mer": seasons["summer"]}, out=out, size=32)
    with pytest.raises(ValueError, match="test_fraction"):
        build_shards(seasons, out=out, size=32, test_fraction=1.0)
    with pytest.raises(ValueError, match="no part of this data set"):
        build_shards(seasons, out=tmp_path / "in", size=32)
    assert not out.exists()


def test_description_and_contact_sheet_show_every_domain(
    seasons: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    manifest = build_shards(seasons, out=out, size=32, test_fraction=0, shard_samples=16).manifest
    rows = describe(manifest)
    summer = sum(shard.bytes for shard in manifest.splits["train"]["summer"])
    assert rows[0] == Row("train", "summer", 30, 2, summer)
    assert [(row.split, row.domain, row.images) for row in rows[1:]] == [
        ("train", "winter", 20),
        ("test", "summer", 0),
        ("test", "winter", 0),
    ]
    sheet = contact_sheet(out, manifest, "train", 4)
    assert sheet.shape == (2 * 34 - 2, 4 * 34 - 2, 3)
    assert np.array_equal(sheet[:32, :32], ShardReader(out).read("train", "summer", 0))


def test_small_folders_still_have_a_test_image(tmp_path: Path) -> None:
    for start, domain in enumerate(("summer", "winter")):
        for number in range(3):
            imaging.write(
                tmp_path / domain / f"{number}.png",
                np.full((16, 16, 3), 40 * number + start, np.uint8),
            )
    folders = {"summer": tmp_path / "summer", "winter": tmp_path / "winter"}
    manifest = build_shards(folders, out=tmp_path / "shards", size=16, test_fraction=1e-6).manifest
    assert [manifest.count("test", domain) for domain in folders] == [1, 1]
    assert (
        build_shards(folders, out=tmp_path / "none", size=16, test_fraction=0).manifest.count(
            "test", "summer"
        )
        == 0
    )
