"""Colours as people write them."""

from PIL import ImageColor

from errors import UserError

Color = tuple[int, int, int]  # red, green and blue, 0 to 255


def color(text: str) -> Color:
    """The colour that a CSS name such as `white`, or a code such as `#fff` or `rgb(255, 255, 255)`,
    stands for.

    Raises:
        UserError: it stands for none, or for one that lets something shine through.
    """
    try:
        found = ImageColor.getrgb(text)
    except ValueError as error:
        raise UserError(
            f"{text!r} is no colour: give a name such as white, or a code such as #ffffff"
        ) from error
    if len(found) > 3:
        raise UserError(
            f"the colour {text!r} lets something shine through: leave out its last part"
        )
    return found[:3]


def color_code(text: str) -> str:
    """The same as #rrggbb, by which equal colours are equal; raises as `color` does."""
    return f"#{bytes(color(text)).hex()}"
