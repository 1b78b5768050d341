"""Colours as people write them."""

import pytest

from imaging.colors import color, color_code


@pytest.mark.parametrize(
    ("text", "rgb"),
    [
        ("white", (255, 255, 255)),
        ("#FFF", (255, 255, 255)),
        ("Tomato", (255, 99, 71)),
        ("rgb(1, 2, 3)", (1, 2, 3)),
        ("hsl(120, 100%, 50%)", (0, 255, 0)),
        ("#0a0b0c", (10, 11, 12)),
    ],
)
def test_a_colour_may_be_a_name_or_a_code(text: str, rgb: tuple[int, int, int]) -> None:
    assert color(text) == rgb
    assert color(color_code(text)) == rgb


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("whit", "'whit' is no colour: give a name such as white"),
        ("ffffff", "no colour"),
        ("", "no colour"),
        ("#ffffff80", "lets something shine through"),
    ],
)
def test_what_is_no_colour_is_told_so(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        color_code(text)
