"""The steps that a chain is made of, as they are written down: strict, and each with a name."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from vqi2i.checking.frozen import Frozen
from vqi2i.checking.typed import meant
from vqi2i.editing.style_blending import Direction
from vqi2i.errors import UserError
from vqi2i.priors.sampling import Sampling

LONGEST_SIDE = 2**16  # pixels
MOST_STYLES = 16
WIDEST_FEATHER = 256  # pixels

Keep = Literal[
    "left",
    "right",
    "top",
    "bottom",
    "top-left",
    "top-right",
    "bottom-left",
    "bottom-right",
    "center",
]


def _only_known_names(value: Any) -> Any:
    if isinstance(value, dict) and (unknown := value.keys() - set(Sampling.__dataclass_fields__)):
        known = Sampling.__dataclass_fields__
        wrong = ", ".join(f"{name}{meant(name, known)}" for name in sorted(unknown, key=str))
        raise UserError(f"it can hold {', '.join(known)}, and no {wrong}")
    return value


Draw = Annotated[Sampling, BeforeValidator(_only_known_names)]


class _Step(Frozen):
    def pictures(self) -> Iterator[str]:
        """Names of the pictures that the step asks for."""
        return iter(())


class Translate(_Step):
    """Show the picture in a domain, in the style of an example or a sampled one; its own domain
    restyles it.
    """

    to: str
    style: str | None = Field(
        default=None, description="name of an example of that domain; sampled if left out"
    )

    def pictures(self) -> Iterator[str]:
        """Names of the pictures that the step asks for."""
        if self.style is not None:
            yield self.style


class Extend(_Step):
    """Continue the picture past its borders, by pixels."""

    left: int = Field(default=0, ge=0, le=LONGEST_SIDE)
    right: int = Field(default=0, ge=0, le=LONGEST_SIDE)
    top: int = Field(default=0, ge=0, le=LONGEST_SIDE)
    bottom: int = Field(default=0, ge=0, le=LONGEST_SIDE)
    draw: Draw = Sampling()


class Complete(_Step):
    """Imagine what is lost: all but a half or a quarter, or what a mask paints black."""

    keep: Keep | None = None
    mask: str | None = Field(
        default=None, description="name of a picture of the same size: white stays"
    )
    draw: Draw = Sampling()

    def pictures(self) -> Iterator[str]:
        """Names of the pictures that the step asks for."""
        if self.mask is not None:
            yield self.mask


class Generate(_Step):
    """Begin from nothing."""

    domain: str
    width: int | None = Field(
        default=None, gt=0, le=LONGEST_SIDE, description="pixels; the model's size if left out"
    )
    height: int | None = Field(default=None, gt=0, le=LONGEST_SIDE)
    draw: Draw = Sampling()


class Transition(_Step):
    """Show the picture under styles of a domain that change across it."""

    to: str
    styles: tuple[str, ...] = Field(
        min_length=2, max_length=MOST_STYLES, description="names of examples of that domain"
    )
    direction: Direction = "horizontal"

    def pictures(self) -> Iterator[str]:
        """Names of the pictures that the step asks for."""
        return iter(self.styles)


class Paste(_Step):
    """Put the given pixels back, with a border so many pixels wide; 0 changes none of them."""

    feather: int = Field(default=0, ge=0, le=WIDEST_FEATHER)


Step = Translate | Extend | Complete | Generate | Transition | Paste
STEPS: dict[str, type[Step]] = {
    "translate": Translate,
    "extend": Extend,
    "complete": Complete,
    "generate": Generate,
    "transition": Transition,
    "paste": Paste,
}
