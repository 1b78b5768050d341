"""What is refused at once is what MLflow would refuse later, or what nobody could ask for
afterwards.
"""

import pytest
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import (
    _validate_model_alias_name,
    _validate_model_alias_name_reserved,
    _validate_model_name,
)

from errors import UserError
from platforms.model_names import check_alias, check_model_name

NAMES = (
    "seasons",
    "my seasons",
    "catalog.schema.model",
    "it's",
    'say "hi"',
    "a@b",
    "a#b",
    "été",
    "-",
    "a..b",
    "x" * 256,
)
ALIASES = ("champion", "best-of_2", "v", "v1a", "1", "latest-one", "x" * 255)


def _validate(alias: str) -> None:
    _validate_model_alias_name(alias)
    _validate_model_alias_name_reserved(alias)


@pytest.mark.parametrize("name", NAMES)
def test_names_that_mlflow_takes_are_taken(name: str) -> None:
    _validate_model_name(name)
    check_model_name(name)


@pytest.mark.parametrize("name", ["", "  ", "team/seasons", "/", "a:b", ".", "..", "..a", "../a"])
def test_names_that_mlflow_never_takes_are_refused(name: str) -> None:
    with pytest.raises(MlflowException):
        _validate_model_name(name)
    with pytest.raises(
        UserError, match=r"cannot be the name of a registered model, it .*: choose one like seasons"
    ):
        check_model_name(name)


@pytest.mark.parametrize(
    "name", ["x" * 257, " seasons", "seasons ", "two\nlines", "tab\t", "bell\a"]
)
def test_names_that_databases_or_shells_would_not_keep_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="cannot be the name of a registered model"):
        check_model_name(name)


@pytest.mark.parametrize("alias", ALIASES)
def test_aliases_that_mlflow_takes_are_taken(alias: str) -> None:
    _validate(alias)
    check_alias(alias)


@pytest.mark.parametrize(
    "alias", ["", "latest", "LATEST", "v1", "V20", "a b", "a/b", "a@b", "a.b", "x" * 256]
)
def test_aliases_that_mlflow_never_takes_are_refused(alias: str) -> None:
    with pytest.raises(MlflowException):
        _validate(alias)
    with pytest.raises(
        UserError, match=r"cannot be the alias of a model, .*: choose one like champion"
    ):
        check_alias(alias)


def test_a_long_name_is_not_repeated_in_full() -> None:
    with pytest.raises(UserError) as refused:
        check_model_name("x" * 5000)
    assert len(str(refused.value)) < 200
