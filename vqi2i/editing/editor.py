"""What can be done with a canvas; `render` is the only decode at the end."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from vqi2i.editing import style_blending
from vqi2i.editing.canvas import Canvas, Given, guessed, known_cells
from vqi2i.editing.context import MARGIN, bounding_box, read_known
from vqi2i.editing.poisson_paste import paste
from vqi2i.editing.style_blending import Direction
from vqi2i.errors import UserError
from vqi2i.model import Model
from vqi2i.priors.causal import CausalPrior
from vqi2i.priors.infill import infill
from vqi2i.priors.masked import MaskedPrior
from vqi2i.priors.prior import Prior
from vqi2i.priors.sampling import Sampling


class Editor:
    """Applies a model to canvases.

    Generators are one per picture; canvases on the way to a result are yielded.
    """

    def __init__(self, model: Model):
        self._model = model
        self._stride = model.network.stride
        self._least = model.network.min_tokens  # along each side of a grid

    def from_images(self, images: Tensor, domain: str) -> Canvas:
        """A canvas of images (b, 3, h, w) of a domain, as they are."""
        tokens, style = self._model.encode(images, domain)
        height, width = images.shape[2:]
        whole = torch.ones(height, width, dtype=torch.bool, device=tokens.device)
        return Canvas(
            tokens=tokens,
            known=torch.ones_like(tokens[0], dtype=torch.bool),
            size=(height, width),
            domain=domain,
            own=style,
            shown_in=domain,
            style=style,
            given=Given(pixels=images.to(tokens.device), kept=whole),
        )

    def blank(self, styles: Tensor, domain: str, *, height: int, width: int) -> Canvas:
        """Empty canvases of a domain, one for each style."""
        rows, columns = (max(-(-side // self._stride), self._least) for side in (height, width))
        tokens = torch.zeros(
            len(styles), rows, columns, dtype=torch.long, device=self._model.device
        )
        return Canvas(
            tokens=tokens,
            known=torch.zeros_like(tokens[0], dtype=torch.bool),
            size=(height, width),
            domain=domain,
            own=styles,
            shown_in=domain,
            style=styles,
        )

    def infilled(
        self,
        canvas: Canvas,
        sampling: Sampling,
        generators: Sequence[torch.Generator],
        *,
        upside_down: bool = False,
    ) -> Iterator[Canvas]:
        """Fill the cells that are not known, of pictures that may be turned upside down."""
        domains = self._told(canvas, upside_down=upside_down)
        for grid in infill(self._prior, canvas.tokens, canvas.known, domains, sampling, generators):
            yield canvas.infilled(grid.tokens, grid.known)

    def extended(
        self,
        canvas: Canvas,
        sampling: Sampling,
        generators: Sequence[torch.Generator],
        *,
        left: int = 0,
        right: int = 0,
        top: int = 0,
        bottom: int = 0,
    ) -> Iterator[Canvas]:
        """Continue pictures past their borders, by pixels.

        A prior that sees all sides fills the whole ring around a picture at once. One that reads in
        raster order knows nothing of what lies to the right or below: for it the pictures are
        mirrored (their pixels, since mirrored tokens would decode to patches of the wrong
        orientation), continued, mirrored back and read again; upwards only if it has learned
        pictures that are turned upside down.

        Raises:
            UserError: nothing to add, the model has no prior, or its prior cannot continue pictures
                upwards.
        """
        if min(left, right, top, bottom) < 0 or left + right + top + bottom == 0:
            raise UserError(
                "say how many pixels to add: left, right, top or bottom above 0, none below"
            )
        # Refused before anything is computed; what the canvas has room for needs no prior.
        if top > canvas.offset[0]:
            self._told(canvas, upside_down=True)
        # Once something has been imagined, tokens are all there is to go on from.
        if canvas.is_as_given:
            canvas = self._read_on(canvas, left=left, right=right, top=top, bottom=bottom)
        sees_all_sides = isinstance(self._prior, MaskedPrior)
        if not sees_all_sides and left:
            yield (canvas := self._mirrored(canvas, sampling, generators, left, axis=3))
            left = 0
        if not sees_all_sides and top:
            yield (canvas := self._mirrored(canvas, sampling, generators, top, axis=2))
            top = 0
        if left + right + top + bottom:
            grown = canvas.grown(
                left=left,
                right=right,
                top=top,
                bottom=bottom,
                stride=self._stride,
                least=self._least,
            )
            yield from self.infilled(grown, sampling, generators)

    def completed(
        self,
        canvas: Canvas,
        mask: Tensor,
        sampling: Sampling,
        generators: Sequence[torch.Generator],
    ) -> Iterator[Canvas]:
        """Imagine the part that a mask (h, w; True = keep) takes away; kept tokens stay.

        Raises:
            UserError: the mask has another size, or keeps nothing or everything; the model has no
                prior, or one that cannot continue what is kept upwards.
        """
        if mask.shape != canvas.size:
            (height, width), (rows, columns) = canvas.size, mask.shape
            raise UserError(
                f"the mask is {columns}x{rows} but the image {width}x{height}: same size, please"
            )
        mask = mask.to(canvas.tokens.device)
        if mask.all() or not mask.any():
            raise UserError(
                "the mask must keep a part of the image and take a part away (white = keep)"
            )
        # A cell that loses any of its pixels is imagined anew.
        known = canvas.known & known_cells(mask, canvas, self._stride)
        if not known.any():
            raise UserError(
                f"the mask keeps no whole token of {self._stride}x{self._stride} pixels: keep more"
            )
        if bounding_box(known)[0].start > 0:
            self._told(canvas, upside_down=True)
        lost = canvas.losing(mask, known)
        canvas = self._read_without_lost(lost) if canvas.is_as_given else lost
        if not isinstance(self._prior, MaskedPrior):
            # To the left first, then above over the whole width that is known by then.
            for axis in (3, 2):
                if bounding_box(canvas.known)[axis - 2].start > 0:
                    yield (canvas := self._uncovered(canvas, sampling, generators, axis=axis))
        yield from self.infilled(canvas, sampling, generators)

    def translated(self, canvas: Canvas, target: str, styles: Tensor) -> Canvas:
        """Show pictures in a domain and styles (b or 1, style_dim) of it."""
        self._model.check_domain(target)
        return replace(
            canvas, shown_in=target, style=styles.to(canvas.own).expand(len(canvas.tokens), -1)
        )

    def blended(self, canvas: Canvas, target: str, styles: Tensor, direction: Direction) -> Canvas:
        """Show pictures in a domain under styles (k, style_dim) of it that change across them.

        Raises:
            UserError: fewer than two styles.
        """
        self._model.check_domain(target)
        share = style_blending.shares(
            direction,
            canvas.tokens.shape[1:],
            stride=self._stride,
            size=canvas.size,
            offset=canvas.offset,
        )
        field = style_blending.blend(styles.to(canvas.own), share)
        return replace(
            canvas, shown_in=target, style=field.expand(len(canvas.tokens), *field.shape)
        )

    @staticmethod
    def pasted(canvas: Canvas, feather: int) -> Canvas:
        """Put the given pixels back, with a border `feather` pixels wide; 0 changes none of them.

        Raises:
            UserError: nothing was given, or the picture is to be shown otherwise than it was.
        """
        if canvas.given is None or not canvas.shows_its_own:
            raise UserError(
                "only pixels of a picture that keeps its own domain and style can be put back"
            )
        if feather < 0:
            raise UserError(f"a border cannot be {feather} pixels wide: 0 or more")
        return replace(canvas, feather=feather)

    def render(self, canvas: Canvas) -> Tensor:
        """Pictures (b, 3, h, w) in [-1, 1]; what is not known yet is grey."""
        (top, left), (height, width) = canvas.offset, canvas.size
        tokens = canvas.tokens if canvas.known.all() else guessed(canvas)
        decoded = self._model.decode(tokens, canvas.style, canvas.shown_in)
        # (rows * stride, columns * stride)
        known = canvas.known.repeat_interleave(self._stride, 0).repeat_interleave(self._stride, 1)
        decoded = torch.where(known, decoded, 0)[..., top : top + height, left : left + width]
        if canvas.feather is None or canvas.given is None:
            return decoded
        return self._restored(decoded, canvas.given, canvas.feather)

    @property
    def _prior(self) -> Prior:
        if self._model.prior is None:
            raise UserError(
                "this model has no prior and can only translate: train stage 2 and use its bundle"
            )
        return self._model.prior

    def _told(self, canvas: Canvas, *, upside_down: bool) -> Tensor:
        """What the prior is told about pictures (b,), which may be turned upside down.

        Raises:
            UserError: one that reads in raster order has not learned such pictures.
        """
        prior, index = self._prior, self._model.domains.index(canvas.domain)
        domains = torch.full((len(canvas.tokens),), index, device=canvas.tokens.device)
        return (
            prior.upside_down(domains)
            if upside_down and isinstance(prior, CausalPrior)
            else domains
        )

    def _mirrored(
        self,
        canvas: Canvas,
        sampling: Sampling,
        generators: Sequence[torch.Generator],
        more: int,
        *,
        axis: int,
    ) -> Canvas:
        """Continue pictures at the side where an axis (2: y, 3: x) begins."""
        left, top = (more, 0) if axis == 3 else (0, more)
        # A part of a canvas may be smaller than what the encoder takes, and stays so.
        grown = canvas.grown(left=left, top=top, right=0, bottom=0, stride=self._stride, least=0)
        # Tokens (b, rows, columns) have no axis of channels: theirs is one before.
        new = grown.tokens.shape[axis - 1] - canvas.tokens.shape[axis - 1]
        if not new:  # there was room on the canvas
            return grown
        pixels = self._whole(canvas)
        tokens = self._read_mirrored(pixels, canvas.domain, axis)
        after = (0, new) if axis == 3 else (0, 0, 0, new)
        # Mirrored, what is new lies to the right or below, and raster order meets the known first.
        mirror = canvas.infilled(F.pad(tokens, after), F.pad(torch.ones_like(canvas.known), after))
        mirror = last(self.infilled(mirror, sampling, generators, upside_down=axis == 2))
        # Back through pixels: mirrored tokens would decode to patches of the wrong orientation.
        wide = self._in_its_own(mirror.tokens, canvas).flip(axis)
        strip = wide.narrow(axis, 0, new * self._stride)
        # The new strip beside the pixels that it joins, so that its tokens know no edge.
        read = self._model.encode(torch.cat([strip, pixels], dim=axis), canvas.domain).tokens
        rows, columns = grown.known.shape
        tokens = torch.where(grown.known, grown.tokens, read[:, :rows, :columns])
        return grown.infilled(tokens, torch.ones_like(grown.known))

    def _whole(self, canvas: Canvas) -> Tensor:
        """The whole canvas in its own domain and style, given pixels put back."""
        tokens = canvas.tokens if canvas.known.all() else guessed(canvas)
        decoded = self._in_its_own(tokens, canvas)
        if canvas.given is None:
            return decoded
        (top, left), (height, width) = canvas.offset, canvas.size
        picture = decoded[..., top : top + height, left : left + width]
        # A view: what is written to it changes `decoded`.
        picture.copy_(self._restored(picture, canvas.given))
        return decoded

    def _in_its_own(self, tokens: Tensor, canvas: Canvas) -> Tensor:
        """Tokens (b, rows, columns) as images of a canvas's own domain and style."""
        rows, columns = tokens.shape[1:]
        # Parts of canvases may be smaller than what the layers take: their last tokens go on.
        down, right = (
            torch.arange(max(side, self._least), device=tokens.device).clamp(max=side - 1)
            for side in (rows, columns)
        )
        whole = tokens[:, down][:, :, right]
        decoded = self._model.decode(whole, canvas.own, canvas.domain)
        return decoded[..., : rows * self._stride, : columns * self._stride]

    def _restored(self, made: Tensor, given: Given, feather: int = 0) -> Tensor:
        """A picture with the given pixels put back."""
        return paste(made, given.pixels, given.kept, feather=feather, reach=8 * self._stride)

    def _read_mirrored(self, pixels: Tensor, domain: str, axis: int) -> Tensor:
        """Tokens of a mirrored canvas that goes on where it ends."""
        rows, columns = (side // self._stride for side in pixels.shape[2:])
        margin = MARGIN * self._stride
        wide = F.pad(
            pixels.flip(axis),
            (0, margin, 0, 0) if axis == 3 else (0, 0, 0, margin),
            mode="replicate",
        )
        return self._model.encode(wide, domain).tokens[:, :rows, :columns]

    def _uncovered(
        self,
        canvas: Canvas,
        sampling: Sampling,
        generators: Sequence[torch.Generator],
        *,
        axis: int,
    ) -> Canvas:
        """Imagine what lies before the known part along an axis (2: y, 3: x).

        It reaches as far as the known part does along the other axis.

        For a prior that reads in raster order, which would not see the known part: that one is
        extended instead.
        """
        rows, columns = bounding_box(canvas.known)
        start = (rows if axis == 2 else columns).start * self._stride
        # The known part as a picture of its own, extended by all that lies before it.
        part = self._mirrored(
            canvas.cut(rows, columns, self._stride), sampling, generators, start, axis=axis
        )
        tokens, known = canvas.tokens.clone(), canvas.known.clone()
        place = (slice(0, rows.stop), columns) if axis == 2 else (rows, slice(0, columns.stop))
        new = ~known[place]
        inner = canvas.known[rows, columns]
        # The known part is the end of it; what is missing inside of that comes later.
        new[-inner.shape[0] :, -inner.shape[1] :] = False
        tokens[(slice(None), *place)] = torch.where(new, part.tokens, tokens[(slice(None), *place)])
        known[place] |= new
        return canvas.infilled(tokens, known)

    def _read(self, canvas: Canvas) -> Tensor:
        """Tokens (b, rows, columns) of known cells, by given pixels alone."""
        assert canvas.given is not None
        sides = canvas.borders(self._stride)
        pixels, kept = F.pad(canvas.given.pixels, sides), F.pad(canvas.given.kept, sides)
        return read_known(
            lambda images: self._model.encode(images, canvas.domain).tokens,
            pixels,
            kept,
            canvas.known,
            self._least,
        )

    def _read_on(self, canvas: Canvas, *, left: int, right: int, top: int, bottom: int) -> Canvas:
        """Read given pictures as they go on past the borders that are to be extended."""
        sides = {"left": left, "right": right, "top": top, "bottom": bottom}
        grown = canvas.grown(**sides, stride=self._stride, least=self._least)
        if not grown.known.any():  # no whole token
            return canvas
        rows, columns = canvas.tokens.shape[1:]
        # Row and column of the grown canvas at which the old one begins.
        first = [
            (after + more - before) // self._stride
            for after, more, before in zip(grown.offset, (top, left), canvas.offset, strict=True)
        ]
        place = slice(first[0], first[0] + rows), slice(first[1], first[1] + columns)
        known, tokens = grown.known[place], self._read(grown)[(slice(None), *place)]
        whole = canvas.tokens.clone()
        # A view of the cells that both have; the grown canvas may have kept fewer.
        part = whole[:, : known.shape[0], : known.shape[1]]
        part.copy_(torch.where(known, tokens, part))
        return canvas.infilled(whole, canvas.known)

    def _read_without_lost(self, canvas: Canvas) -> Canvas:
        """Read kept pixels again, so that lost ones disturb neither their tokens nor the style."""
        assert canvas.given is not None
        given = canvas.given
        # Styles come from the box around what is kept, its holes filled by the mean colour.
        mean = (given.pixels * given.kept).sum(dim=(2, 3), keepdim=True) / given.kept.sum()
        rows, columns = bounding_box(given.kept)
        own = self._model.encode(
            torch.where(given.kept, given.pixels, mean)[..., rows, columns], canvas.domain
        ).style
        style = own if canvas.shows_its_own else canvas.style
        return replace(canvas, tokens=self._read(canvas), own=own, style=style)


def last(canvases: Iterator[Canvas]) -> Canvas:
    """The end of what was yielded on the way."""
    *_, canvas = canvases
    return canvas
