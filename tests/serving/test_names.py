"""Names of served models: from folders as people call them, or as said."""

from pathlib import Path

import pytest

from errors import UserError
from serving.names import named


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (
        "My Results (v2)/bundle",
        "lr=0.1/bundle",
        "a=b=c",
        "x/second/bundle",
        "y/second/bundle",
        "Zürich 3",
        "風景",
        "seasons",
        "..dots",
    ):
        Path(name).mkdir(parents=True)


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ("My Results (v2)/bundle", "My-Results-v2"),
        ("lr=0.1/bundle", "lr-0.1"),
        ("a=b=c", "a-b-c"),
        ("Zürich 3", "Zurich-3"),
        ("風景", "model"),
        ("..dots", "dots"),
        ("x/second/bundle", "second"),
        ("x/second", "second"),
        ("models:/seasons@champion", "seasons"),
        ("models:/my seasons/3", "my-seasons"),
        ("runs:/0a1b/bundle", "0a1b"),
    ],
)
def test_a_model_is_called_like_its_folder_or_its_registered_name(setting, name):
    assert named([setting]) == {name: setting}


def test_a_name_that_is_said_is_used_also_for_folders_with_an_equals_sign():
    models = ["m=seasons", "best=lr=0.1/bundle", "s=models:/seasons/1"]
    assert named(models) == {"m": "seasons", "best": "lr=0.1/bundle", "s": "models:/seasons/1"}


def test_a_home_folder_behind_a_name_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert named(["m=~/seasons"]) == {"m": str(tmp_path / "seasons")}
    with pytest.raises(UserError, match="there is no model at ~/elsewhere"):
        named(["m=~/elsewhere"])


@pytest.mark.parametrize(
    "models", [["x/second/bundle", "y/second/bundle"], ["m=seasons", "m=a=b=c"], ["seasons"] * 2]
)
def test_two_models_of_one_name_are_refused_with_the_remedy(models):
    with pytest.raises(
        UserError, match=r"two models would be called .*: name them, for example \w+=.* \w+-2="
    ):
        named(models)


@pytest.mark.parametrize("name", ["my model", "é", "", "-x", "a:b"])
def test_a_name_that_cannot_be_typed_is_refused_with_what_it_may_be(name):
    with pytest.raises(UserError, match="cannot be a name: use letters, digits"):
        named([f"{name}=seasons"])


def test_what_is_not_there_is_named_as_it_was_given():
    with pytest.raises(
        UserError, match=r"there is no model at 0\.2, nor at lr=0\.2: give a bundle"
    ):
        named(["lr=0.2"])
    assert named(["runs/lr=0.2/bundle"]) == {
        "lr-0.2": "runs/lr=0.2/bundle"
    }  # a path: whoever reads it says so
