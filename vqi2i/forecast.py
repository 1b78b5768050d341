"""How long a chain will take on a large picture, from what it takes on a very small copy of it.

Convolutions and tokens cost as many times more as there are pixels; attention, the square of that.
"""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqi2i.chain import Chain
from vqi2i.decoder import Decoder
from vqi2i.errors import UserError
from vqi2i.layers import Attention
from vqi2i.steps import Extend, Generate, Step
from vqi2i.translator import Translator

_LARGE = 2**19  # pixels of a canvas; smaller ones take seconds
_COPY = 128  # side in pixels of the copy's canvas
_SIDES = ("left", "right", "top", "bottom")
_PASSES = 8.0  # of a decoder over its tiles, as they were counted: the more norms, the more
_QUERIES, _KEYS = 1024, 16384  # of the attention that is timed


class Forecast(NamedTuple):
    """What to expect."""

    width: int  # of the result
    height: int
    seconds: float
    half: float  # seconds for a copy whose sides are half as long


def forecast(
    translator: Translator, chain: Chain, image: Tensor | None, pictures: Mapping[str, Tensor], count: int = 1
) -> Forecast | None:
    """What a chain will take; None for small canvases, and where it cannot be told.

    Args:
        translator: the model.
        chain: what will be done.
        image: to the picture (1, 3, h, w); None if it is made from nothing.
        pictures: those that the chain asks for.
        count: pictures made at once.
    """
    width, height = _canvas(translator, chain, image)
    if width * height < _LARGE:
        return None
    scale = _COPY / math.sqrt(width * height)
    small = Chain(tuple(_scaled(step, scale, translator) for step in chain.steps), chain.source)
    reduced = None if image is None else _reduced(image, scale)
    examples = {name: _reduced(picture, scale) for name, picture in pictures.items()}
    try:
        translator.compose(reduced, small, pictures=examples)  # the first time, memory and threads are made as well
        begun = time.monotonic()
        with _measuring(translator) as costs:
            translator.compose(reduced, small, pictures=examples).cpu()
        seconds = time.monotonic() - begun
    except UserError:  # told when the picture itself meets it, or true of the small copy alone
        return None
    pair = _seconds_of_a_pair(translator.device)
    tiled = width * height > translator.limits.tile_pixels
    expected, half = (count * costs.at(seconds, pair, times, tiled=tiled) for times in (scale**-2, scale**-2 / 4))
    return Forecast(width, height, expected, half)


class _Costs:
    """What was met on the way through a small copy."""

    def __init__(self) -> None:
        self.pairs = 0.0  # of positions that attend to each other, times channels
        self.decoding = 0.0  # seconds

    def at(self, seconds: float, pair: float, times: float, *, tiled: bool) -> float:
        """Seconds for so many times the pixels, if the copy took `seconds`."""
        attention = self.pairs * pair
        rest = max(seconds - attention, 0.0)
        again = min(self.decoding, rest) * (_PASSES if tiled else 0.0)
        return (rest + again) * times + attention * times**2


@contextmanager
def _measuring(translator: Translator) -> Iterator[_Costs]:
    costs = _Costs()
    begun = 0.0

    def attended(module: nn.Module, inputs: Any, output: Tensor) -> None:
        rows, channels, height, width = output.shape
        costs.pairs += rows * channels * float(height * width) ** 2

    def begin(module: nn.Module, inputs: Any) -> None:
        nonlocal begun
        begun = time.monotonic()

    def decoded(module: nn.Module, inputs: Any, output: Tensor) -> None:
        costs.decoding += time.monotonic() - begun

    hooks = []
    for module in translator.autoencoder.modules():
        if isinstance(module, Attention):
            hooks.append(module.register_forward_hook(attended))
        elif isinstance(module, Decoder):
            hooks += [module.register_forward_pre_hook(begin), module.register_forward_hook(decoded)]
    try:
        yield costs
    finally:
        for hook in hooks:
            hook.remove()


def _seconds_of_a_pair(device: torch.device, channels: int = 64) -> float:
    """Seconds of attention for two positions, per channel."""
    query = torch.zeros(1, 1, _QUERIES, channels, device=device)
    key = torch.zeros(1, 1, _KEYS, channels, device=device)
    begun = time.monotonic()
    F.scaled_dot_product_attention(query, key, key).cpu()
    return (time.monotonic() - begun) / (_QUERIES * _KEYS * channels)


def _canvas(translator: Translator, chain: Chain, image: Tensor | None) -> tuple[int, int]:
    """Width and height of a chain's result."""
    side = translator.network.resolution
    height, width = (side, side) if image is None else image.shape[2:]
    for step in chain.steps:
        if isinstance(step, Generate):
            height, width = step.height or side, step.width or side
        if isinstance(step, Extend):
            height, width = height + step.top + step.bottom, width + step.left + step.right
    return width, height


def _scaled(step: Step, scale: float, translator: Translator) -> Step:
    """A step as it is done to a copy."""
    if isinstance(step, Extend):
        return step.model_copy(update={side: math.ceil(getattr(step, side) * scale) for side in _SIDES})
    if isinstance(step, Generate):
        sides = {name: getattr(step, name) or translator.network.resolution for name in ("width", "height")}
        return step.model_copy(update={name: max(round(side * scale), 1) for name, side in sides.items()})
    return step


def _reduced(picture: Tensor, scale: float) -> Tensor:
    height, width = (max(round(side * scale), 1) for side in picture.shape[2:])
    return F.interpolate(picture, size=(height, width), mode="area")
