"""The public object: one trained model and everything it can do with images."""

from collections.abc import Iterator, Mapping

from torch import Tensor

from vqi2i.editing.canvas import Canvas
from vqi2i.editing.chain import Chain, perform
from vqi2i.editing.editor import Editor, last
from vqi2i.editing.style_blending import Direction
from vqi2i.model import Model
from vqi2i.priors.sampling import Sampling
from vqi2i.seeds import Seeds, generators


class Translator(Model):
    """A trained VQ-I2I model: translate, generate, extend, complete and blend images.

    Images are float tensors (b, 3, h, w) in [-1, 1] of any size; they are padded to the stride
    inside and cut back. The same seed gives the same pixels, bit for bit, whatever else is in the
    batch: an int `seed` gives image i the seed `seed + i`, a sequence gives each image its own.
    """

    def translate(
        self,
        images: Tensor,
        *,
        source: str,
        target: str,
        style: Tensor | None = None,
        seed: Seeds = 0,
    ) -> Tensor:
        """Show each image's content in the target domain; `source == target` restyles it.

        Args:
            images: (b, 3, h, w) of domain `source`.
            source: the images' domain.
            target: the domain to show them in.
            style: (b, style_dim) or (1, style_dim), for example an exemplar's `encode(...).style`;
                sampled if None.
            seed: for the sampled styles.
        """
        canvas = self._editor.from_images(images, source)
        style = self.sample_styles(target, len(images), seed) if style is None else style
        return self._editor.render(self._editor.translated(canvas, target, style))

    def generate(
        self,
        count: int,
        *,
        domain: str,
        height: int | None = None,
        width: int | None = None,
        style: Tensor | None = None,
        seed: Seeds = 0,
        sampling: Sampling | None = None,
    ) -> Tensor:
        """Make `count` new images (count, 3, height, width) of a domain from nothing.

        Raises:
            UserError: the model has no prior (stage 2 was not trained).
        """
        height, width = height or self.network.resolution, width or self.network.resolution
        style = (
            self.sample_styles(domain, count, seed) if style is None else style.expand(count, -1)
        )
        blank = self._editor.blank(style, domain, height=height, width=width)
        made = self._editor.infilled(
            blank, sampling or Sampling(), generators(seed, count, "tokens")
        )
        return self._editor.render(last(made))

    def extend(
        self,
        images: Tensor,
        *,
        domain: str,
        left: int = 0,
        right: int = 0,
        top: int = 0,
        bottom: int = 0,
        target: str | None = None,
        style: Tensor | None = None,
        seed: Seeds = 0,
        sampling: Sampling | None = None,
        feather: int | None = None,
    ) -> Tensor:
        """Continue images past their borders: (b, 3, top + h + bottom, left + w + right).

        The whole canvas is decoded, so that the known part appears as the model rebuilds it, unless
        `feather` puts the given pixels back.

        Args:
            images: (b, 3, h, w) of `domain`.
            domain: the images' domain, in which the new content is imagined.
            left: pixels to add on the left.
            right: pixels to add on the right.
            top: pixels to add above.
            bottom: pixels to add below.
            target: show the canvas in this domain; `domain` if None.
            style: (b, style_dim) of `target`; the image's own if None and `target` is `domain`,
                else sampled.
            seed: for the new content and a sampled style.
            sampling: how boldly tokens are drawn.
            feather: put the given pixels back, with a border so many pixels wide; 0 changes none of
                them.

        Raises:
            UserError: nothing to add, or the model has no prior; `feather` with another domain or
                style.
        """
        canvas = self._editor.from_images(images, domain)
        # As a chain's first step would draw, so that both give the same pixels.
        draws = generators(seed, len(images), "tokens")
        sides = {"left": left, "right": right, "top": top, "bottom": bottom}
        canvas = last(self._editor.extended(canvas, sampling or Sampling(), draws, **sides))
        return self._editor.render(self._finished(canvas, target, style, seed, feather))

    def complete(
        self,
        images: Tensor,
        *,
        mask: Tensor,
        domain: str,
        target: str | None = None,
        style: Tensor | None = None,
        seed: Seeds = 0,
        sampling: Sampling | None = None,
        feather: int | None = None,
    ) -> Tensor:
        """Imagine the part of images that a mask takes away; tokens of the kept part stay.

        Args:
            images: (b, 3, h, w); pixels outside the mask are ignored.
            mask: bool (h, w), True = keep.
            domain: the images' domain.
            target: show the result in this domain; `domain` if None.
            style: (b, style_dim) of `target`; the kept part's own if None and `target` is `domain`,
                else sampled.
            seed: for the new content and a sampled style.
            sampling: how boldly tokens are drawn.
            feather: put the kept pixels back, with a border so many pixels wide; 0 changes none of
                them.

        Raises:
            UserError: the mask has another size, or keeps nothing or everything; the model has no
                prior; `feather` with another domain or style.
        """
        canvas = self._editor.from_images(images, domain)
        draws = generators(seed, len(images), "tokens")
        canvas = last(self._editor.completed(canvas, mask, sampling or Sampling(), draws))
        return self._editor.render(self._finished(canvas, target, style, seed, feather))

    def transition(
        self,
        images: Tensor,
        *,
        domain: str,
        styles: Tensor,
        target: str | None = None,
        direction: Direction = "horizontal",
    ) -> Tensor:
        """Show images under a style that changes across the canvas, along `styles`.

        Args:
            images: (b, 3, h, w) of `domain`.
            domain: the images' domain.
            styles: (k, style_dim) of `target`, k >= 2, met at equal distances.
            target: the styles' domain; `domain` if None.
            direction: from left to right, from top to bottom, or from the middle to the corners.
        """
        canvas = self._editor.from_images(images, domain)
        return self._editor.render(
            self._editor.blended(canvas, target or domain, styles, direction)
        )

    def compose(
        self,
        images: Tensor | None,
        chain: Chain,
        *,
        pictures: Mapping[str, Tensor] | None = None,
        seed: Seeds = 0,
    ) -> Tensor:
        """Apply a chain of steps with one decode at the end; see `vqi2i.editing.chain`.

        Args:
            images: (b, 3, h, w) of the chain's domain, or None for a chain that begins by
                generating.
            chain: what to do.
            pictures: images (1, 3, h, w) under the names by which steps ask for exemplars and
                masks.
            seed: for all that is drawn; every step draws from streams of its own.

        Raises:
            UserError: a step does not fit the model, the images or the step before it; the message
                names the step.
        """
        return self._editor.render(last(perform(self, chain, images, pictures or {}, seed)))

    def unfold(
        self,
        images: Tensor | None,
        chain: Chain,
        *,
        pictures: Mapping[str, Tensor] | None = None,
        seed: Seeds = 0,
    ) -> Iterator[Tensor]:
        """What `compose` paints, while it comes into being; what is not imagined yet is grey.

        The last one is what `compose` returns.
        """
        for canvas in perform(self, chain, images, pictures or {}, seed):
            yield self._editor.render(canvas)

    @property
    def _editor(self) -> Editor:
        return Editor(self)

    def _finished(
        self,
        canvas: Canvas,
        target: str | None,
        style: Tensor | None,
        seed: Seeds,
        feather: int | None,
    ) -> Canvas:
        """Show a canvas as asked; the styles are those of a chain's second step."""
        # A sampled style; with none asked for and no other domain, the picture keeps its own.
        if style is None and target not in (None, canvas.domain):
            style = self.sample_styles(target, len(canvas.tokens), seed, step=1)
        if style is not None:
            canvas = self._editor.translated(canvas, target or canvas.domain, style)
        return canvas if feather is None else self._editor.pasted(canvas, feather)
