"""Which folders make a study, and what is said of others."""

import shutil
from pathlib import Path

import pytest

from errors import UserError
from evaluation.study.folders import look_into
from tests.evaluation.study.conftest import METHODS, NAMES, looked_into


@pytest.fixture
def copied(pictures: Path, tmp_path: Path) -> Path:
    shutil.copytree(pictures, tmp_path / "pictures")
    return tmp_path / "pictures"


def test_pictures_made_from_one_image_are_found_by_their_name(copied: Path) -> None:
    (copied / "rival/0_winter.png").rename(copied / "rival/0_winter.jpg")
    (copied / "third/._0_winter.png").touch()  # as file managers leave them
    (copied / "third/notes.txt").touch()
    found = looked_into(copied)
    assert found.names == NAMES
    assert found.methods["rival"]["0_winter"] == copied / "rival/0_winter.jpg"
    assert len(found.real) == 8


def test_a_result_finds_the_source_whose_name_it_begins_with(copied: Path) -> None:
    for method in METHODS:
        (copied / method / "5_winter.png").rename(copied / method / "5_b_winter.png")
    (copied / "source/4.png").rename(copied / "source/5_b.png")
    (copied / "source/3.png").rename(copied / "source/4_winter.png")
    (copied / "source/2.png").rename(copied / "source/3.png")
    (copied / "source/1.png").rename(copied / "source/2.png")
    (copied / "source/0.png").rename(copied / "source/1.png")
    shutil.copy(copied / "source/1.png", copied / "source/0.png")
    sources = looked_into(copied).sources
    assert sources["5_b_winter"].stem == "5_b"  # and not 5
    assert sources["4_winter"].stem == "4_winter"
    assert sources["1_winter"].stem == "1"


def test_a_picture_that_one_method_lacks_is_named(copied: Path) -> None:
    (copied / "third/2_winter.png").unlink()
    with pytest.raises(UserError, match="ours has a picture called '2_winter', but third has none"):
        looked_into(copied)
    (copied / "ours/2_winter.png").unlink()
    with pytest.raises(UserError, match="rival has a picture called '2_winter', but ours has none"):
        looked_into(copied)


def test_other_folders_are_refused_with_a_sentence(copied: Path) -> None:
    ours, other = {"ours": copied / "ours"}, {"rival": copied / "rival"}
    real, source = copied / "real", copied / "source"
    with pytest.raises(UserError, match="give --method NAME=FOLDER"):
        look_into({}, real)
    with pytest.raises(UserError, match="compares two methods: give another --method"):
        look_into(ours, real, source)
    for reserved in ("real", "broken", "source"):
        with pytest.raises(UserError, match=f"cannot be called '{reserved}', which has a meaning"):
            look_into({reserved: copied / "ours"}, real)
    with pytest.raises(UserError, match="cannot be called '<b>': names are made of"):
        look_into({"<b>": copied / "ours"}, real)
    (source / "0.png").unlink()
    with pytest.raises(UserError, match="has no image that '0_winter' was made from"):
        look_into(ours | other, real, source)
    (copied / "empty").mkdir()
    with pytest.raises(UserError, match="empty holds no pictures: give a folder"):
        look_into(ours, copied / "empty")
    shutil.copy(copied / "ours/0_winter.png", copied / "ours/0_winter.jpg")
    with pytest.raises(UserError, match=r"0_winter.png have the same name"):
        look_into(ours, real)
