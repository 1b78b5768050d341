"""How long a chain will take on a large picture, from what it takes on very small copies of it.

Convolutions and tokens cost as many times more as there are pixels; attention, the square of that.
"""

import math
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqi2i.editing.chain import Chain, perform
from vqi2i.editing.editor import Editor, last
from vqi2i.editing.steps import Extend, Generate, Step
from vqi2i.errors import UserError
from vqi2i.model import Model
from vqi2i.networks.decoder import Decoder
from vqi2i.networks.layers import Attention

_LARGE = 2**19  # pixels of a canvas; smaller ones take seconds
# sides in pixels of the copies' canvases: what their difference costs, more pixels will cost
_COPIES = (64, 192)
_PATIENCE = 0.5  # seconds for the first copy, after which there is no time for the second
_SIDES = ("left", "right", "top", "bottom")
_PASSES = 8.0  # of a decoder over its tiles, as they were counted: the more norms, the more
_QUERIES, _KEYS, _CHANNELS = 1024, 16384, 64  # of the attention that is timed


class Forecast(NamedTuple):
    """What to expect."""

    width: int  # of the result
    height: int
    seconds: float
    half: float  # seconds for a copy whose sides are half as long


class _Cost(NamedTuple):
    """What a chain took on a canvas of so many pixels, or takes for each of them."""

    pixels: float
    seconds: float  # attention aside
    decoding: float  # seconds among them
    pairs: float  # of positions that attend to each other, times channels


def forecast(
    model: Model, chain: Chain, image: Tensor | None, pictures: Mapping[str, Tensor], count: int = 1
) -> Forecast | None:
    """What a chain will take; None for small canvases, and where it cannot be told.

    Args:
        model: the model.
        chain: what will be done.
        image: to the picture (1, 3, h, w); None if it is made from nothing.
        pictures: those that the chain asks for.
        count: pictures made at once.
    """
    width, height = _canvas(model, chain, image)
    if width * height < _LARGE:
        return None
    pair = _seconds_of_a_pair(model.device)
    scales = [side / math.sqrt(width * height) for side in _COPIES]
    small = larger = _measured(model, chain, image, pictures, scales[0], pair)
    if small is not None and small.seconds < _PATIENCE:
        larger = _measured(model, chain, image, pictures, scales[1], pair)
    if small is None or larger is None:
        return None

    def expected(pixels: float) -> float:
        """Seconds for a canvas of so many pixels, like these."""
        times = pixels / larger.pixels
        # Tiles are decoded again and again, until the statistics of the norms settle.
        again = _PASSES if pixels > model.limits.tile_pixels else 0.0
        rest = _prolonged(small.pixels, small.seconds, larger.pixels, larger.seconds, pixels)
        decoding = _prolonged(small.pixels, small.decoding, larger.pixels, larger.decoding, pixels)
        # Pairs of positions grow with the square of the pixels.
        return count * (rest + again * decoding + larger.pairs * pair * times**2)

    pixels = float(width * height)
    # Half the sides, a quarter of the pixels.
    return Forecast(width, height, expected(pixels), expected(pixels / 4))


def _prolonged(x: float, y: float, further: float, there: float, end: float) -> float:
    """The value at `end` of a line that rises through two points, or from nothing through one."""
    if x == further:
        return y * end / x
    return there + max(there - y, 0.0) / (further - x) * (end - further)


def _measured(
    model: Model,
    chain: Chain,
    image: Tensor | None,
    pictures: Mapping[str, Tensor],
    scale: float,
    pair: float,
) -> _Cost | None:
    """The cost of a chain on a copy whose sides are scaled; None if it cannot be done there."""
    steps = tuple(_scaled(step, scale, model) for step in chain.steps)
    reduced = None if image is None else _reduced(image, scale)
    examples = {name: _reduced(picture, scale) for name, picture in pictures.items()}
    copy = Chain(steps, chain.source)
    try:
        with _Meter(model) as meter:
            Editor(model).render(last(perform(model, copy, reduced, examples, seed=0))).cpu()
    except UserError:  # told when the picture itself meets it, or true of the small copy alone
        return None
    width, height = _canvas(model, copy, reduced)
    attention = meter.pairs * pair
    return _Cost(
        float(width * height), max(meter.seconds - attention, 0.0), meter.decoding, meter.pairs
    )


class _Meter:
    """What a model does meanwhile."""

    def __init__(self, model: Model):
        self.seconds = self.decoding = self.pairs = 0.0
        self._begun = self._decoder_begun = 0.0
        self._hooks: list[Any] = []
        self._modules = list(model.autoencoder.modules())

    def __enter__(self) -> "_Meter":
        for module in self._modules:
            if isinstance(module, Attention):
                self._hooks.append(module.register_forward_hook(self._attended))
            elif isinstance(module, Decoder):
                self._hooks.append(module.register_forward_pre_hook(self._decodes))
                self._hooks.append(module.register_forward_hook(self._decoded))
        self._begun = time.monotonic()
        return self

    def __exit__(self, *exception: object) -> None:
        self.seconds = time.monotonic() - self._begun
        for hook in self._hooks:
            hook.remove()

    def _attended(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        rows, channels, height, width = output.shape
        self.pairs += rows * channels * float(height * width) ** 2

    def _decodes(self, module: nn.Module, inputs: Any) -> None:
        self._decoder_begun = time.monotonic()

    def _decoded(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self.decoding += time.monotonic() - self._decoder_begun


def _seconds_of_a_pair(device: torch.device) -> float:
    """Seconds of attention for two positions, per channel."""
    query = torch.zeros(1, 1, _QUERIES, _CHANNELS, device=device)
    key = torch.zeros(1, 1, _KEYS, _CHANNELS, device=device)
    times = []
    for _ in range(3):  # the first one makes threads and takes memory
        begun = time.monotonic()
        F.scaled_dot_product_attention(query, key, key).cpu()
        times.append(time.monotonic() - begun)
    return min(times) / (_QUERIES * _KEYS * _CHANNELS)


def _canvas(model: Model, chain: Chain, image: Tensor | None) -> tuple[int, int]:
    """Width and height of a chain's result."""
    side = model.network.resolution
    height, width = (side, side) if image is None else image.shape[2:]
    for step in chain.steps:
        # Other steps leave the size as it is.
        if isinstance(step, Generate):
            height, width = step.height or side, step.width or side
        if isinstance(step, Extend):
            height, width = height + step.top + step.bottom, width + step.left + step.right
    return width, height


def _scaled(step: Step, scale: float, model: Model) -> Step:
    """A step as it is done to a copy."""
    if isinstance(step, Extend):
        return step.model_copy(
            update={side: math.ceil(getattr(step, side) * scale) for side in _SIDES}
        )
    if isinstance(step, Generate):
        sides = {
            name: getattr(step, name) or model.network.resolution for name in ("width", "height")
        }
        return step.model_copy(
            update={name: max(round(side * scale), 1) for name, side in sides.items()}
        )
    return step


def _reduced(picture: Tensor, scale: float) -> Tensor:
    height, width = (max(round(side * scale), 1) for side in picture.shape[2:])
    return F.interpolate(picture, size=(height, width), mode="area")
