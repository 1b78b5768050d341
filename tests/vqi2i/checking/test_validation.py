"""Foreign files and values end in a sentence that names them."""

import pytest
from pydantic import Field, model_validator

from vqi2i.checking.frozen import Frozen
from vqi2i.checking.validation import checked, parsed
from vqi2i.errors import UserError


class Size(Frozen):
    """A setting, and a rule."""

    width: int = Field(gt=0)
    height: int = 1

    @model_validator(mode="after")
    def _flat(self) -> "Size":
        if self.height > self.width:
            raise UserError("it must not be higher than wide")
        return self


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "a.json is empty: delete it"),
        (b" \n", "a.json is empty: delete it"),
        (b"{", r"a.json is not what was written there \(Invalid JSON.*\): delete it"),
        (b"\xff\xfe{}", r"a.json is not what was written there \(Invalid JSON.*\): delete it"),
        (b"[]", r"a.json is not what was written there \(Input should be an object\): delete it"),
        (b"null", r"a.json is not what was written there \(Input should be an object\): delete it"),
        (
            b'{"width": 2, "deep": 1}',
            r"a.json is not what .* \(deep: Extra inputs are not permitted\): delete it",
        ),
        (
            b'{"width": 1, "height": 2}',
            r"a.json is not what .* \(it must not be higher than wide\): delete it",
        ),
        (b"[" * 100_000, "a.json is not what was written there"),
    ],
)
def test_a_file_that_holds_something_else_is_named_with_the_remedy(
    data: bytes, sentence: str
) -> None:
    with pytest.raises(UserError, match=f"^{sentence}"):
        parsed(Size, data, "a.json", "delete it")


def test_what_was_written_is_read() -> None:
    assert parsed(Size, b'{"width": 2}', "a.json", "delete it") == Size(width=2)


def test_values_that_do_not_fit_are_named() -> None:
    with pytest.raises(UserError, match=r"^no size: width: Input should be greater than 0$"):
        checked(Size, {"width": 0}, "no size")
    assert checked(Size, {"width": 3}, "no size").width == 3
