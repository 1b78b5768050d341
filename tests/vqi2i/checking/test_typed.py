"""What people type is taken, or told as what is wrong with it, with what was probably meant."""

import pytest

from vqi2i.checking import typed
from vqi2i.seeds import generators


@pytest.mark.parametrize(
    ("name", "remark"),
    [
        ("winterr", " (did you mean 'winter'?)"),
        ("Summer", " (did you mean 'summer'?)"),
        ("night", ""),
        ("", ""),
        (3, ""),
    ],
)
def test_what_was_probably_meant_is_told(name: object, remark: str) -> None:
    assert typed.meant(name, ["summer", "winter"]) == remark


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("trainA", "traina"),
        ("my winter", "my-winter"),
        ("_x", "x"),
        ("Größe (v2)", "gr-e-v2"),
        ("日本", None),
        ("", None),
        ("a/b", "a-b"),
    ],
)
def test_a_domain_that_cannot_be_called_so_is_told_in_words_with_a_name_that_is_near(
    name: str, near: str | None
) -> None:
    with pytest.raises(ValueError, match="small letters, digits, - and _") as raised:
        typed.domain_name(name)
    assert str(raised.value).endswith(f"call it {near!r}" if near else "choose such a name")
    assert near is None or typed.domain_name(near) == near


@pytest.mark.parametrize("seed", [0, typed.LARGEST_SEED, -1, -(2**62)])
def test_seeds_that_fit_make_two_streams(seed: int) -> None:
    assert typed.seed_number(seed) == seed
    for purpose in ("tokens", "style"):
        assert len(generators(seed, 1, purpose, step=3)) == 1


@pytest.mark.parametrize("seed", [typed.LARGEST_SEED + 1, 99999999999999999999, -(2**62) - 1])
def test_a_seed_that_is_out_of_range_is_told_so(seed: int) -> None:
    for call in (lambda: typed.seed_number(seed), lambda: generators([0, seed], 2, "style")):
        with pytest.raises(
            ValueError, match=f"the seed {seed} is out of range: give a whole number from 0 to 9223"
        ):
            call()


def test_the_last_image_of_several_may_be_the_one_whose_seed_is_out_of_range() -> None:
    with pytest.raises(ValueError, match="out of range"):
        generators(typed.LARGEST_SEED, 2, "tokens")
