"""What can be done with a draft: every application is a change of it, and `painted` is the only decode at the end."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from vqi2i.editing import style_blending as style_field
from vqi2i.editing.canvas import Draft, Given, guessed, known_cells
from vqi2i.editing.context import MARGIN, MIN_TOKENS, bounding_box, read_known
from vqi2i.editing.poisson_paste import paste
from vqi2i.editing.style_blending import Direction
from vqi2i.errors import UserError
from vqi2i.priors.causal import CausalPrior
from vqi2i.priors.infill import imagine
from vqi2i.priors.masked import MaskedPrior
from vqi2i.priors.prior import Prior
from vqi2i.priors.sampling import Sampling

if TYPE_CHECKING:
    from vqi2i.translator import Translator


class Studio:
    """Applies a model to drafts. Generators are one per picture; drafts on the way to a result are yielded."""

    def __init__(self, translator: "Translator"):
        self._model = translator
        self._stride = translator.network.stride

    def photograph(self, images: Tensor, domain: str) -> Draft:
        """A draft of images (b, 3, h, w) of a domain, as they are."""
        tokens, style = self._model.encode(images, domain)
        height, width = images.shape[2:]
        whole = torch.ones(height, width, dtype=torch.bool, device=tokens.device)
        return Draft(
            tokens=tokens, known=torch.ones_like(tokens[0], dtype=torch.bool), size=(height, width), domain=domain,
            own=style, shown_in=domain, style=style, given=Given(pixels=images.to(tokens.device), kept=whole),
        )  # fmt: skip

    def blank(self, styles: Tensor, domain: str, *, height: int, width: int) -> Draft:
        """Empty canvases of a domain, one for each style."""
        rows, columns = (max(-(-side // self._stride), MIN_TOKENS) for side in (height, width))
        tokens = torch.zeros(len(styles), rows, columns, dtype=torch.long, device=self._model.device)
        return Draft(
            tokens=tokens, known=torch.zeros_like(tokens[0], dtype=torch.bool), size=(height, width), domain=domain,
            own=styles, shown_in=domain, style=styles,
        )  # fmt: skip

    def imagined(
        self, draft: Draft, sampling: Sampling, generators: Sequence[torch.Generator], *, upside_down: bool = False
    ) -> Iterator[Draft]:  # fmt: skip
        """Fill the cells that are not known, of pictures that may be turned upside down."""
        domains = self._told(draft, upside_down=upside_down)
        for canvas in imagine(self._prior, draft.tokens, draft.known, domains, sampling, generators):
            yield draft.imagined(canvas.tokens, canvas.known)

    def extended(
        self, draft: Draft, sampling: Sampling, generators: Sequence[torch.Generator],
        *, left: int = 0, right: int = 0, top: int = 0, bottom: int = 0,
    ) -> Iterator[Draft]:  # fmt: skip
        """Continue pictures past their borders, by pixels.

        A prior that sees all sides fills the whole ring around a picture at once. One that reads in raster order knows
        nothing of what lies to the right or below: for it the pictures are mirrored (their pixels, since mirrored
        tokens would decode to patches of the wrong orientation), continued, mirrored back and read again; upwards only
        if it has learned pictures that are turned upside down.

        Raises:
            UserError: nothing to add, the model has no prior, or its prior cannot continue pictures upwards.
        """
        if min(left, right, top, bottom) < 0 or left + right + top + bottom == 0:
            raise UserError("say how many pixels to add: left, right, top or bottom above 0, none below")
        if top > draft.offset[0]:
            self._told(draft, upside_down=True)
        if draft.is_as_given:
            draft = self._read_on(draft, left=left, right=right, top=top, bottom=bottom)
        sees_all_sides = isinstance(self._prior, MaskedPrior)
        if not sees_all_sides and left:
            yield (draft := self._mirrored(draft, sampling, generators, left, axis=3))
            left = 0
        if not sees_all_sides and top:
            yield (draft := self._mirrored(draft, sampling, generators, top, axis=2))
            top = 0
        if left + right + top + bottom:
            grown = draft.grown(
                left=left, right=right, top=top, bottom=bottom, stride=self._stride, least=MIN_TOKENS
            )  # fmt: skip
            yield from self.imagined(grown, sampling, generators)

    def completed(
        self, draft: Draft, mask: Tensor, sampling: Sampling, generators: Sequence[torch.Generator]
    ) -> Iterator[Draft]:
        """Imagine the part that a mask (h, w; True = keep) takes away; tokens of the kept part stay as they are.

        Raises:
            UserError: the mask has another size, or keeps nothing or everything; the model has no prior, or one that
                cannot continue what is kept upwards.
        """
        if mask.shape != draft.size:
            (height, width), (rows, columns) = draft.size, mask.shape
            raise UserError(f"the mask is {columns}x{rows} but the image {width}x{height}: same size, please")
        mask = mask.to(draft.tokens.device)
        if mask.all() or not mask.any():
            raise UserError("the mask must keep a part of the image and take a part away (white = keep)")
        known = draft.known & known_cells(mask, draft, self._stride)
        if not known.any():
            raise UserError(f"the mask keeps no whole token of {self._stride}x{self._stride} pixels: keep more")
        if bounding_box(known)[0].start > 0:
            self._told(draft, upside_down=True)
        lost = draft.losing(mask, known)
        draft = self._read_without_lost(lost) if draft.is_as_given else lost
        if not isinstance(self._prior, MaskedPrior):
            for axis in (3, 2):
                if bounding_box(draft.known)[axis - 2].start > 0:
                    yield (draft := self._uncovered(draft, sampling, generators, axis=axis))
        yield from self.imagined(draft, sampling, generators)

    def translated(self, draft: Draft, target: str, styles: Tensor) -> Draft:
        """Show pictures in a domain and styles (b or 1, style_dim) of it."""
        self._model.check_domain(target)
        return replace(draft, shown_in=target, style=styles.to(draft.own).expand(len(draft.tokens), -1))

    def blended(self, draft: Draft, target: str, styles: Tensor, direction: Direction) -> Draft:
        """Show pictures in a domain under styles (k, style_dim) of it that change across the canvas.

        Raises:
            UserError: fewer than two styles.
        """
        self._model.check_domain(target)
        share = style_field.shares(
            direction, draft.tokens.shape[1:], stride=self._stride, size=draft.size, offset=draft.offset
        )
        field = style_field.blend(styles.to(draft.own), share)
        return replace(draft, shown_in=target, style=field.expand(len(draft.tokens), *field.shape))

    @staticmethod
    def pasted(draft: Draft, feather: int) -> Draft:
        """Put the given pixels back, with a border that is `feather` pixels wide; 0 changes none of them.

        Raises:
            UserError: nothing was given, or the picture is to be shown otherwise than it was.
        """
        if draft.given is None or not draft.shows_its_own:
            raise UserError("only pixels of a picture that keeps its own domain and style can be put back")
        if feather < 0:
            raise UserError(f"a border cannot be {feather} pixels wide: 0 or more")
        return replace(draft, feather=feather)

    def painted(self, draft: Draft) -> Tensor:
        """Pictures (b, 3, h, w) in [-1, 1]; what is not known yet is grey."""
        (top, left), (height, width) = draft.offset, draft.size
        tokens = draft.tokens if draft.known.all() else guessed(draft)
        decoded = self._model.decode(tokens, draft.style, draft.shown_in)
        known = draft.known.repeat_interleave(self._stride, 0).repeat_interleave(self._stride, 1)
        decoded = torch.where(known, decoded, 0)[..., top : top + height, left : left + width]
        if draft.feather is None or draft.given is None:
            return decoded
        return self._restored(decoded, draft.given, draft.feather)

    @property
    def _prior(self) -> Prior:
        if self._model.prior is None:
            raise UserError("this model has no prior and can only translate: train stage 2 and use its bundle")
        return self._model.prior

    def _told(self, draft: Draft, *, upside_down: bool) -> Tensor:
        """What the prior is told about pictures (b,), which may be turned upside down.

        Raises:
            UserError: one that reads in raster order has not learned such pictures.
        """
        prior, index = self._prior, self._model.domains.index(draft.domain)
        domains = torch.full((len(draft.tokens),), index, device=draft.tokens.device)
        return prior.upside_down(domains) if upside_down and isinstance(prior, CausalPrior) else domains

    def _mirrored(
        self, draft: Draft, sampling: Sampling, generators: Sequence[torch.Generator], pixels: int, *, axis: int
    ) -> Draft:
        """Continue pictures at the side where an axis (2: y, 3: x) begins."""
        left, top = (pixels, 0) if axis == 3 else (0, pixels)
        grown = draft.grown(left=left, top=top, right=0, bottom=0, stride=self._stride, least=MIN_TOKENS)
        new = grown.tokens.shape[axis - 1] - draft.tokens.shape[axis - 1]
        if not new:  # there was room on the canvas
            return grown
        canvas = self._canvas(draft)
        tokens = self._read_mirrored(canvas, draft.domain, axis)
        after = (0, new) if axis == 3 else (0, 0, 0, new)
        mirror = draft.imagined(F.pad(tokens, after), F.pad(torch.ones_like(draft.known), after))
        mirror = last(self.imagined(mirror, sampling, generators, upside_down=axis == 2))
        wide = self._model.decode(mirror.tokens, draft.own, draft.domain).flip(axis)
        strip = wide.narrow(axis, 0, new * self._stride)
        read = self._model.encode(torch.cat([strip, canvas], dim=axis), draft.domain).tokens
        return grown.imagined(torch.where(grown.known, grown.tokens, read), torch.ones_like(grown.known))

    def _canvas(self, draft: Draft) -> Tensor:
        """The whole canvas in its own domain and style, given pixels put back."""
        tokens = draft.tokens if draft.known.all() else guessed(draft)
        decoded = self._model.decode(tokens, draft.own, draft.domain)
        if draft.given is None:
            return decoded
        (top, left), (height, width) = draft.offset, draft.size
        picture = decoded[..., top : top + height, left : left + width]
        picture.copy_(self._restored(picture, draft.given))
        return decoded

    def _restored(self, made: Tensor, given: Given, feather: int = 0) -> Tensor:
        """A picture with the given pixels put back."""
        return paste(made, given.pixels, given.kept, feather=feather, reach=8 * self._stride)

    def _read_mirrored(self, canvas: Tensor, domain: str, axis: int) -> Tensor:
        """Tokens of a mirrored canvas that goes on where it ends."""
        rows, columns = (side // self._stride for side in canvas.shape[2:])
        margin = MARGIN * self._stride
        wide = F.pad(canvas.flip(axis), (0, margin, 0, 0) if axis == 3 else (0, 0, 0, margin), mode="replicate")
        return self._model.encode(wide, domain).tokens[:, :rows, :columns]

    def _uncovered(
        self, draft: Draft, sampling: Sampling, generators: Sequence[torch.Generator], *, axis: int
    ) -> Draft:
        """Imagine what lies before the known part along an axis (2: y, 3: x), as far as that reaches along the other.

        For a prior that reads in raster order, which would not see the known part: that one is extended instead.
        """
        rows, columns = bounding_box(draft.known)
        start = (rows if axis == 2 else columns).start * self._stride
        part = self._mirrored(draft.cut(rows, columns, self._stride), sampling, generators, start, axis=axis)
        tokens, known = draft.tokens.clone(), draft.known.clone()
        place = (slice(0, rows.stop), columns) if axis == 2 else (rows, slice(0, columns.stop))
        new = ~known[place]
        inner = draft.known[rows, columns]
        new[-inner.shape[0] :, -inner.shape[1] :] = False  # what is missing inside of the known part comes later
        tokens[(slice(None), *place)] = torch.where(new, part.tokens, tokens[(slice(None), *place)])
        known[place] |= new
        return draft.imagined(tokens, known)

    def _read(self, draft: Draft) -> Tensor:
        """Tokens (b, rows, columns) of known cells, by given pixels alone."""
        assert draft.given is not None
        sides = draft.borders(self._stride)
        pixels, kept = F.pad(draft.given.pixels, sides), F.pad(draft.given.kept, sides)
        return read_known(lambda images: self._model.encode(images, draft.domain).tokens, pixels, kept, draft.known)

    def _read_on(self, draft: Draft, *, left: int, right: int, top: int, bottom: int) -> Draft:
        """Read given pictures as they go on past the borders that are to be extended."""
        sides = {"left": left, "right": right, "top": top, "bottom": bottom}
        grown = draft.grown(**sides, stride=self._stride, least=MIN_TOKENS)
        if not grown.known.any():  # no whole token
            return draft
        rows, columns = draft.tokens.shape[1:]
        first = [(after + more - before) // self._stride
                 for after, more, before in zip(grown.offset, (top, left), draft.offset, strict=True)]  # fmt: skip
        place = slice(first[0], first[0] + rows), slice(first[1], first[1] + columns)
        known, tokens = grown.known[place], self._read(grown)[(slice(None), *place)]
        whole = draft.tokens.clone()
        part = whole[:, : known.shape[0], : known.shape[1]]
        part.copy_(torch.where(known, tokens, part))
        return draft.imagined(whole, draft.known)

    def _read_without_lost(self, draft: Draft) -> Draft:
        """Read kept pixels again, so that lost ones disturb neither tokens nor styles of the kept."""
        assert draft.given is not None
        given = draft.given
        mean = (given.pixels * given.kept).sum(dim=(2, 3), keepdim=True) / given.kept.sum()
        rows, columns = bounding_box(given.kept)
        own = self._model.encode(torch.where(given.kept, given.pixels, mean)[..., rows, columns], draft.domain).style
        style = own if draft.shows_its_own else draft.style
        return replace(draft, tokens=self._read(draft), own=own, style=style)


def last(drafts: Iterator[Draft]) -> Draft:
    """The end of what was yielded on the way."""
    *_, draft = drafts
    return draft
