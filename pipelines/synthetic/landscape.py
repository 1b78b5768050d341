"""The renderer of synthetic landscapes: content and style in, pixels out, nothing else."""

from typing import NamedTuple

import cv2
import numpy as np

from imaging.codec import Pixels
from pipelines.synthetic.scene import Content, Lake, Ridge, Style, Sun, Tree

SUPERSAMPLING = 3  # edges are drawn hard at this scale and averaged down
FIXED_POINT = 4  # fractional bits of OpenCV's drawing coordinates

Color = np.ndarray  # float32 (3,), RGB in [0, 255]
Canvas = np.ndarray  # float32 (rows, columns, 3), painted in place


class Palette(NamedTuple):
    """The colours of a season as hexadecimal RGB; the ground is `far`, `middle` and `near`, `snow`
    is "" in summer.
    """

    sky: str
    horizon: str
    far: str
    middle: str
    near: str
    trees: str
    water: str
    snow: str


class Light(NamedTuple):
    """A grade of the whole picture, a tint of the horizon and the colour of the sun."""

    gain: tuple[float, float, float]
    saturation: float
    tint: str
    tint_strength: float
    sun: str


COLORS = {
    "meadow": Palette("5ca4e8", "cee8f4", "54788c", "38703f", "70a43e", "1a4e28", "2460a0", ""),
    "heath": Palette("92b6dc", "f8e8d6", "6c5278", "64364e", "ac604c", "4e2834", "3e5686", ""),
    "steppe": Palette("54b8ce", "e2f2de", "8a7248", "a67e30", "deba4e", "5c5c1c", "14747c", ""),
    "frost": Palette(
        "6484b8", "b0c6e0", "5c6e92", "a4b6d6", "dee8f6", "20344e", "86aed2", "f4f8ff"
    ),
    "rose": Palette("946a94", "e0b2b8", "745a78", "c8a4b6", "f2d8de", "462a42", "be92b8", "fff0f0"),
    "pine": Palette("4c8284", "a4c8c0", "4a6866", "9abcb2", "d4e8dc", "143834", "74aaa4", "f0fcf6"),
}
LIGHTING = {
    "day": Light((1.0, 1.0, 1.0), 1.0, "ffffff", 0.0, "fff6b4"),
    "dusk": Light((0.93, 0.66, 0.62), 1.05, "ffa070", 0.4, "fff8b4"),
    "grey": Light((0.88, 0.89, 0.90), 0.55, "dcdee2", 0.5, "fffef0"),
}
FOG = (0.6, 0.35, 0.12)  # how much of full haze lies before the far, the middle and the near ridge


def render(content: Content, style: Style, *, height: int, width: int) -> Pixels:
    """Paint the content in the style: uint8 RGB pixels (height, width, 3), the same bytes every
    time.

    The canvas shows the content from its left edge on, `width / height` image heights wide.
    """
    palette, light = COLORS[style.palette], LIGHTING[style.light]
    rows, columns = SUPERSAMPLING * height, SUPERSAMPLING * width
    y = ((np.arange(rows, dtype=np.float32) + 0.5) / rows)[:, None]
    x = ((np.arange(columns, dtype=np.float32) + 0.5) / rows)[None]
    horizon = _mix(_rgb(palette.horizon), _rgb(light.tint), light.tint_strength)
    air = _mix(horizon, _rgb("ffffff"), 0.25)

    image = _sky(x, y, content.sun, _rgb(palette.sky), horizon, _rgb(light.sun))
    for number, (ridge, ground) in enumerate(zip(content.ridges, palette[2:5], strict=True)):
        fog = FOG[number] * style.haze
        snow = _mix(_rgb(palette.snow), air, fog) if palette.snow else None
        _paint_ridge(image, x, y, ridge, content.sun, _mix(_rgb(ground), air, fog), snow)
        if number == 2:
            _paint_lake(image, x, y, content.lake, ridge, _mix(_rgb(palette.water), air, fog))
        for tree in content.trees:
            if tree.ridge == number:
                _paint_tree(image, tree, ridge, _mix(_rgb(palette.trees), air, fog))
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    _paint_snowfall(image, style)
    return _grade(image, light)


def _rgb(code: str) -> Color:
    return np.frombuffer(bytes.fromhex(code), np.uint8).astype(np.float32)


def _mix(first: np.ndarray, second: np.ndarray, share: float | np.ndarray) -> np.ndarray:
    """`first` with `share` (a number or a coverage map) of `second` in it."""
    share = np.asarray(share, np.float32)
    return first + (share[..., None] if share.ndim else share) * (second - first)


def _sky(
    x: np.ndarray, y: np.ndarray, sun: Sun, top: Color, horizon: Color, sunlight: Color
) -> Canvas:
    image = _mix(top, horizon, np.broadcast_to(np.minimum(y / 0.55, 1), (y.size, x.size)))
    distance = np.hypot(x - sun.x, y - sun.y)
    image = _mix(image, sunlight, 0.35 * np.exp(-np.maximum(distance - sun.radius, 0) / 0.07))
    image[distance < sun.radius] = sunlight
    return image


def _paint_ridge(
    image: Canvas,
    x: np.ndarray,
    y: np.ndarray,
    ridge: Ridge,
    sun: Sun,
    ground: Color,
    snow: Color | None,
) -> None:
    """Ground from the crest down, brighter where the slope faces the sun.

    Snow lies along the crest and thins out downhill, further down the higher the crest is: it
    follows from what summer shows too.
    """
    crest = ridge.crest(x).astype(np.float32)
    depth = y - crest
    lit = np.tanh(4 * (x - sun.x)) * np.tanh(np.gradient(crest, x[0, 1] - x[0, 0], axis=1))
    shade = 1 + 0.1 * lit * np.exp(-np.maximum(depth, 0) / 0.15) - 0.25 * np.clip(depth, 0, 0.5)
    cover = ground
    if snow is not None:
        cover = _mix(
            ground, snow, np.clip(1 - depth / (0.03 + 0.5 * np.maximum(0.4 - crest, 0)), 0, 1)
        )
    np.copyto(image, cover * shade[..., None], where=(depth > 0)[..., None])


def _paint_lake(
    image: Canvas, x: np.ndarray, y: np.ndarray, lake: Lake, ridge: Ridge, water: Color
) -> None:
    """An ellipse, brighter towards the far shore, cut off by nothing but the ridge's own crest."""
    inside = ((x - lake.x) / lake.width) ** 2 + ((y - lake.y) / lake.height) ** 2 < 1
    surface = water * (1 - 0.8 * (y - lake.y))[..., None]
    np.copyto(image, surface, where=(inside & (y > ridge.crest(x)))[..., None])


def _paint_tree(image: Canvas, tree: Tree, ridge: Ridge, foliage: Color) -> None:
    """A triangle or an ellipse on a trunk."""
    size, foot = tree.height, float(ridge.crest(tree.x)) + tree.sink
    trunk = np.array([(-0.06, -0.3), (0.06, -0.3), (0.06, 0), (-0.06, 0)])
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    if tree.kind == "fir":
        crown = np.array([(0, -1), (0.3, -0.12), (-0.3, -0.12)])
    else:
        crown = np.stack([0.34 * np.cos(angle), -0.62 + 0.38 * np.sin(angle)], axis=1)
    for outline, color in ((trunk, 0.6 * foliage), (crown, foliage)):
        points = (np.array([tree.x, foot]) + size * outline) * image.shape[0] * 2**FIXED_POINT
        cv2.fillPoly(image, [points.round().astype(np.int32)], color.tolist(), shift=FIXED_POINT)


def _paint_snowfall(image: Canvas, style: Style) -> None:
    """A few soft, faint flakes: weather is part of the style, so it must not hide content."""
    height, width = image.shape[:2]
    rng = np.random.default_rng(style.flakes_seed)
    y, x = np.arange(height)[:, None] / height, np.arange(width)[None] / height
    for _ in range(round(14 * style.snowfall * width / height)):
        distance = np.hypot(x - rng.uniform(0, width / height), y - rng.uniform(0, 1))
        image += (0.35 * np.exp(-((distance / 0.016) ** 2)))[..., None] * (255 - image)


def _grade(image: Canvas, light: Light) -> Pixels:
    luminance = image @ np.array([0.299, 0.587, 0.114], np.float32)
    graded = _mix(luminance[..., None], image, light.saturation) * np.array(light.gain, np.float32)
    return graded.clip(0, 255).round().astype(np.uint8)
