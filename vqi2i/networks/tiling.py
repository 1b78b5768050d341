"""Decoding of large canvases in tiles that cannot be told from the whole.

A decoder looks at the whole canvas up to its last attention, at the scale of the tokens, where
memory is no concern. After that a pixel depends on a few tokens around it and on the statistics of
the norms. Tiles overlap by those tokens and share their statistics, which passes over all tiles
collect first: each normalises by what the one before it found, the first by each tile's own, until
they settle. After n passes those of the first n norms are exact.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vqi2i.networks.decoder import Decoder
from vqi2i.networks.layers import shared_norm

SETTLED = 2e-3  # change of means and deviations from pass to pass, in deviations


class Tile(NamedTuple):
    """A part of a token grid, and the core of it whose pixels count; slices of rows, columns."""

    window: tuple[slice, slice]
    core: tuple[slice, slice]  # inside the window
    place: tuple[slice, slice]  # of the core in the grid


def decode_in_tiles(
    decoder: Decoder, content: Tensor, adain_parameters: Tensor, *, side: int, stride: int
) -> Tensor:
    """What `decoder(content, adain_parameters)` gives, with the memory of one tile.

    Args:
        decoder: the generator.
        content: (b, z_channels, rows, columns).
        adain_parameters: (b, p), or (b, p, m, n) for a style that varies over the canvas.
        side: tokens on each side of a tile's core.
        stride: image pixels per token.
    """
    features, parameters = decoder.global_part(content, adain_parameters)
    rows, columns = features.shape[2:]
    # above 1 where there is attention at a finer level than that of the tokens
    scale = rows // content.shape[2]
    side, stride = side * scale, stride // scale
    # One style per position, so that it can be cut like the features.
    if parameters.ndim == 4 and parameters.shape[1]:
        parameters = F.interpolate(
            parameters, size=(rows, columns), mode="bilinear", align_corners=False
        )
    tiles = list(cut(rows, columns, side=side, overlap=decoder.reach))
    statistics = SharedStatistics()
    # Passes whose images are thrown away: the last norms are right only after those before them.
    while not statistics.are_settled:
        for tile in tiles:
            _decode(decoder, features, parameters, tile, statistics)
        statistics.adopt()
    image = content.new_empty(len(content), 3, rows * stride, columns * stride)
    for tile in tiles:
        made = _decode(decoder, features, parameters, tile, statistics)
        image[(..., *_scaled(tile.place, stride))] = made[(..., *_scaled(tile.core, stride))].to(
            image
        )
    return image


def cut(rows: int, columns: int, *, side: int, overlap: int) -> Iterator[Tile]:
    """Tiles whose cores of `side` x `side` tokens cover the grid once."""
    for top in range(0, rows, side):
        for left in range(0, columns, side):
            place = slice(top, min(top + side, rows)), slice(left, min(left + side, columns))
            # The core and what its pixels depend on, cut at the canvas's edges.
            window = tuple(
                slice(max(0, s.start - overlap), min(length, s.stop + overlap))
                for s, length in zip(place, (rows, columns), strict=True)
            )
            # The same place, counted from where the window begins.
            core = tuple(
                slice(s.start - w.start, s.stop - w.start)
                for s, w in zip(place, window, strict=True)
            )
            yield Tile((window[0], window[1]), (core[0], core[1]), place)


def _decode(
    decoder: Decoder,
    features: Tensor,
    parameters: Tensor,
    tile: Tile,
    statistics: "SharedStatistics",
) -> Tensor:
    part = parameters[(..., *tile.window)] if parameters.ndim == 4 else parameters
    window = features[(..., *tile.window)]
    with shared_norm(statistics.on(tile, window.shape[2])):
        return decoder.local_part(window.contiguous(), part)


def _scaled(slices: tuple[slice, slice], factor: int) -> tuple[slice, slice]:
    first, second = (slice(s.start * factor, s.stop * factor) for s in slices)
    return first, second


class SharedStatistics:
    """Means and variances of every norm over all tiles' cores, in the order of a pass."""

    def __init__(self) -> None:
        self.are_settled = False
        self._passes = 0
        self._adopted: list[tuple[Tensor, Tensor]] = []
        self._collected: list[tuple[Tensor, Tensor, int]] = []  # sums, sums of squares, numbers

    def adopt(self) -> None:
        """Use from now on what has been collected, and collect anew."""
        before, self._passes = self._adopted, self._passes + 1
        # Var x = E x^2 - (E x)^2, in float64: the two terms may nearly cancel.
        self._adopted = [
            (total / count, squares / count - (total / count).square())
            for total, squares, count in self._collected
        ]
        self._collected = []
        # The first pass has nothing before it: infinite change.
        change = max(
            (_change(*pair) for pair in zip(before, self._adopted, strict=False)), default=torch.inf
        )
        self.are_settled = change < SETTLED or self._passes > len(self._adopted)

    def on(self, tile: Tile, rows: int) -> "_TileNorm":
        """The normalisation of one tile of so many rows of tokens."""
        return _TileNorm(self, tile, rows)

    def collect(self, index: int, values: Tensor) -> None:
        """Add values (b, groups, n) of norm number `index`."""
        values = values.double()
        found = values.sum(2, keepdim=True), values.square().sum(2, keepdim=True), values.shape[2]
        if index == len(self._collected):
            self._collected.append(found)
        else:
            before = self._collected[index]
            self._collected[index] = (
                before[0] + found[0],
                before[1] + found[1],
                before[2] + found[2],
            )

    def adopted(self, index: int) -> tuple[Tensor, Tensor] | None:
        """Mean and variance (b, groups, 1) of norm number `index`; None in the first pass."""
        return self._adopted[index] if self._adopted else None


def _change(before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor]) -> float:
    """The largest difference of means and of deviations, in deviations."""
    old, new = (variance.clamp_min(1e-12).sqrt() for _, variance in (before, after))
    return float(torch.stack([(before[0] - after[0]).abs() / new, (old - new).abs() / new]).max())


class _TileNorm:
    """Group normalisation of one tile by statistics of all of them."""

    def __init__(self, statistics: SharedStatistics, tile: Tile, rows: int):
        self._statistics, self._tile, self._rows = statistics, tile, rows
        self._index = 0

    def __call__(
        self, x: Tensor, num_groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> Tensor:
        index, self._index = self._index, self._index + 1
        # Features may be finer than tokens by now. What overlaps would be counted twice.
        core = x[(..., *_scaled(self._tile.core, x.shape[2] // self._rows))]
        self._statistics.collect(index, core.reshape(len(x), num_groups, -1))
        adopted = self._statistics.adopted(index)
        # the first pass: by the tile's own statistics, for want of better ones
        if adopted is None:
            return F.group_norm(x, num_groups, weight, bias, eps)
        mean, variance = (value.to(x.dtype) for value in adopted)
        # (b, groups, c / groups * h * w)
        grouped = x.reshape(len(x), num_groups, -1)
        y = ((grouped - mean) * (variance + eps).rsqrt()).view_as(x)
        # AdaIN scales and shifts by itself.
        if weight is None or bias is None:
            return y
        return torch.addcmul(bias[:, None, None], y, weight[:, None, None])
