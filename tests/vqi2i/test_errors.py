"""What the disk denies about a place that somebody has named is theirs to mend; everything else
stays what it was.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from vqi2i.errors import UserError, complaint, named


def _write(path: Path) -> None:
    with path.open("wb", buffering=0) as stream:
        stream.write(b"x")


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        (lambda folder: (folder / "data").read_bytes(), "{}/data is a folder: give a file"),
        (lambda folder: (folder / "file").mkdir(exist_ok=True), "{}/file is a file: give a folder"),
        (
            lambda folder: (folder / "file/x").mkdir(),
            "{}/file/x leads through a file as if that were a folder",
        ),
        (lambda folder: (folder / "none").read_bytes(), "{}/none does not exist: check the path"),
        (
            lambda folder: (folder / "none/x/y").mkdir(),
            "{}/none/x/y does not exist: check the path",
        ),
        (lambda folder: (folder / ("x" * 300)).mkdir(), "xxxxx"),
        (lambda folder: (folder / "loop").read_bytes(), "{}/loop is a link that leads to itself"),
        (
            lambda folder: _write(Path("/dev/full")),
            "there is no space left for what is written: make room there",
        ),
    ],
)
def test_a_wrong_place_is_named_with_what_is_wrong(
    action: Callable[[Path], object], sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UserError) as error, named(tmp_path / "none/x/y", tmp_path):
        action(tmp_path)
    assert str(error.value).startswith(sentence.format(tmp_path))
    assert isinstance(error.value.__cause__, OSError)


def test_the_sentence_about_a_name_that_is_too_long_is_short(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=r"^x{40}\.\.\. is too long a name: give a shorter one$"),
        named(tmp_path),
    ):
        (tmp_path / ("x" * 300) / "out").mkdir()


def test_a_write_that_fails_is_about_the_only_place_there_is() -> None:
    with (
        pytest.raises(UserError, match=r"there is no space left for results/a\.png: make"),
        named("results/a.png"),
    ):
        _write(Path("/dev/full"))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_rights_that_are_missing_are_said(number: int, tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=rf"{tmp_path}/a cannot be used \(.*\): check its rights"),
        named(tmp_path),
    ):
        raise OSError(number, os.strerror(number), str(tmp_path / "a"))


def test_a_file_that_was_to_take_a_place_stands_for_it(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=f"^{tmp_path}/bundle cannot be used"),
        named(tmp_path / "bundle"),
    ):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / ".bundle-x7"))


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file or directory", "/usr/share/ours/report.html"),
        IsADirectoryError(errno.EISDIR, "Is a directory", "/usr/share/ours"),
        ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
        OSError("a library says something"),
        KeyError("x"),
    ],
)
def test_what_nobody_has_named_stays_a_fault_of_ours(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(error)) as raised, named(tmp_path):
        raise error
    assert raised.value is error


def test_a_file_that_we_miss_inside_of_a_folder_that_somebody_has_named_is_a_fault_of_ours(
    tmp_path: Path,
) -> None:
    with pytest.raises(FileNotFoundError), named(tmp_path):
        (tmp_path / "never/made").write_bytes(b"")


def test_only_what_somebody_can_mend_has_a_sentence() -> None:
    assert complaint(OSError(errno.EBADF, "Bad file descriptor")) is None
    assert complaint(OSError(errno.ENOSPC, "No space left", "/data/x")) == (
        "there is no space left for /data/x: make room there"
    )
