"""What a synthetic landscape is made of: content (what is in it) and style (how it looks), kept
apart.

Content knows nothing of seasons; style knows its domain. Lengths are in units of the image height
and y points down, so that one content fits a canvas of any size.
"""

from typing import Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

PALETTES = {"summer": ("meadow", "heath", "steppe"), "winter": ("frost", "rose", "pine")}
LIGHTS = ("day", "dusk", "grey")
DOMAINS = tuple(PALETTES)


class _Truth(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Wave(_Truth):
    """One term of a ridge line; `frequency` in cycles per image height, `phase` in cycles."""

    frequency: float
    amplitude: float
    phase: float


class Ridge(_Truth):
    """A skyline: a sum of waves around the height `base`; peaked ones are mountains, the others
    hills.
    """

    base: float
    waves: tuple[Wave, ...]
    peaked: bool

    def crest(self, x: np.ndarray | float) -> np.ndarray:
        """The y of the skyline at each x."""
        angles = [2 * np.pi * (wave.frequency * np.asarray(x) + wave.phase) for wave in self.waves]
        shapes = [
            1 - 2 * np.abs(np.sin(angle / 2)) if self.peaked else np.sin(angle) for angle in angles
        ]
        heights = [wave.amplitude * shape for wave, shape in zip(self.waves, shapes, strict=True)]
        return self.base - np.sum(heights, axis=0)


class Tree(_Truth):
    """A tree that stands at x on ridge number `ridge`, `sink` below its crest."""

    x: float
    ridge: int
    sink: float
    height: float
    kind: Literal["fir", "round"]


class Lake(_Truth):
    """An ellipse of water on the nearest ground, `width` and `height` being its half axes."""

    x: float
    y: float
    width: float
    height: float


class Sun(_Truth):
    """The one sun, always clear of the ridges."""

    x: float
    y: float
    radius: float


class Content(_Truth):
    """What is in the picture, in any season: ridges from far to near, trees from far to near, a
    lake and the sun.
    """

    ridges: tuple[Ridge, Ridge, Ridge]
    trees: tuple[Tree, ...]
    lake: Lake
    sun: Sun


class Style(_Truth):
    """How the picture looks: one of its domain's palettes, the light and the weather (strengths in
    [0, 1]).
    """

    domain: Literal["summer", "winter"]
    palette: str
    light: Literal["day", "dusk", "grey"]
    haze: float = Field(ge=0, le=1)
    snowfall: float = Field(ge=0, le=1)
    flakes_seed: int

    @model_validator(mode="after")
    def _palette_is_of_the_domain(self) -> Self:
        if self.palette not in PALETTES[self.domain]:
            raise ValueError(
                f"{self.domain} has no palette {self.palette!r}: use "
                f"{', '.join(PALETTES[self.domain])}"
            )
        return self


def draw_content(rng: np.random.Generator, aspect: float = 1.0) -> Content:
    """Draw a content for a canvas `aspect` times as wide as high; trees grow in number with the
    width.
    """
    far = _draw_ridge(rng, base=(0.30, 0.52), amplitude=0.13, peaked=True)
    middle = _draw_ridge(rng, base=(0.48, 0.68), amplitude=0.07)
    near = _draw_ridge(rng, base=(0.64, 0.84), amplitude=0.05)
    ridges = (far, middle, near)
    lake = Lake(
        x=_uniform(rng, 0.15, aspect - 0.15),
        y=_uniform(rng, 0.84, 0.93),
        width=_uniform(rng, 0.22 * aspect**0.5, 0.38 * aspect**0.5),
        height=_uniform(rng, 0.05, 0.085),
    )
    # Few and large: at 64 px a crown then covers several tokens of 4 px.
    counts = {ridge: round(aspect * rng.integers(ridge, ridge + 2)) for ridge in (1, 2)}
    trees = [
        _draw_tree(rng, aspect, ridge) for ridge, count in counts.items() for _ in range(count)
    ]
    trees.sort(key=lambda tree: (tree.ridge, tree.sink))
    return Content(ridges=ridges, trees=tuple(trees), lake=lake, sun=_draw_sun(rng, aspect, ridges))


def _uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return round(float(rng.uniform(low, high)), 4)


def _draw_ridge(
    rng: np.random.Generator, *, base: tuple[float, float], amplitude: float, peaked: bool = False
) -> Ridge:
    waves = [
        Wave(
            frequency=_uniform(rng, low, high),
            amplitude=_uniform(rng, 0.6 * amplitude * share, amplitude * share),
            phase=_uniform(rng, 0, 1),
        )
        for low, high, share in ((0.5, 1.0, 1.0), (1.2, 2.2, 0.5), (3.0, 4.5, 0.15))
    ]
    return Ridge(base=_uniform(rng, *base), waves=tuple(waves), peaked=peaked)


def _draw_tree(rng: np.random.Generator, aspect: float, ridge: int) -> Tree:
    return Tree(
        x=_uniform(rng, 0.02, aspect - 0.02),
        ridge=ridge,
        sink=_uniform(rng, 0.005, 0.05),
        height=_uniform(rng, 0.13, 0.18) if ridge == 1 else _uniform(rng, 0.18, 0.26),
        kind="fir" if rng.random() < 0.6 else "round",
    )


def _draw_sun(rng: np.random.Generator, aspect: float, ridges: tuple[Ridge, ...]) -> Sun:
    x, radius = _uniform(rng, 0.12, aspect - 0.12), _uniform(rng, 0.06, 0.08)
    around = np.linspace(x - radius, x + radius, 9)
    lowest = min(float(ridge.crest(around).min()) for ridge in ridges) - radius - 0.01
    return Sun(x=x, y=_uniform(rng, min(0.1, lowest), min(0.26, lowest)), radius=radius)


def draw_style(rng: np.random.Generator, domain: str) -> Style:
    """Draw a style of `domain`: palette, light and weather independently; snow falls in two of
    three winter styles.

    Raises:
        ValueError: there is no such domain.
    """
    if domain not in PALETTES:
        raise ValueError(f"there is no domain {domain!r}: choose one of {', '.join(DOMAINS)}")
    palette, light = (str(rng.choice(names)) for names in (PALETTES[domain], LIGHTS))
    haze, snowfall, seed = (
        float(rng.uniform(0, 0.5)),
        float(rng.uniform(-0.5, 1)),
        int(rng.integers(2**31)),
    )
    snowfall = max(0.0, snowfall) if domain == "winter" else 0.0
    return Style.model_validate(
        {
            "domain": domain,
            "palette": palette,
            "light": light,
            "haze": round(haze, 4),
            "snowfall": round(snowfall, 4),
            "flakes_seed": seed,
        }
    )
