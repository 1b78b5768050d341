"""The public object: one trained model and everything it can do with images."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vqi2i.bundle import BundleConfig, BundleError, fill, model_card, read_config, read_tensors, write_bundle
from vqi2i.checking.typed import meant
from vqi2i.editing.canvas import Draft
from vqi2i.editing.chain import Chain, perform
from vqi2i.editing.context import MIN_TOKENS
from vqi2i.editing.editor import Studio, last
from vqi2i.editing.style_blending import Direction
from vqi2i.errors import UserError
from vqi2i.networks.autoencoder import Autoencoder
from vqi2i.networks.batching import CallLimits, in_calls
from vqi2i.networks.layers import channels_last
from vqi2i.priors.prior import Prior, build_prior
from vqi2i.priors.sampling import Sampling
from vqi2i.priors.style_prior import StylePrior
from vqi2i.seeds import Seeds, generators


class Encoded(NamedTuple):
    """An image as the model sees it."""

    tokens: Tensor  # (b, rows, columns) int64
    style: Tensor  # (b, style_dim)


class Translator:
    """A trained VQ-I2I model: translate, generate, extend, complete and blend images.

    Images are float tensors (b, 3, h, w) in [-1, 1] of any size; they are padded to the stride inside and cut back.
    The same seed gives the same pixels, bit for bit, whatever else is in the batch: an int `seed` gives image i the
    seed `seed + i`, a sequence gives each image its own.
    """

    def __init__(
        self, autoencoder: Autoencoder, styles: StylePrior, prior: Prior | None = None,
        provenance: Mapping[str, Any] | None = None, limits: CallLimits | None = None,
    ):  # fmt: skip
        self.limits = limits or CallLimits()
        self.autoencoder = autoencoder.eval().requires_grad_(False)
        self.style_prior = styles.eval()
        self.prior = prior.eval().requires_grad_(False) if prior is not None else None
        self.provenance = dict(provenance or {})
        self.network = autoencoder.config

    @classmethod
    def load(
        cls, path: str | Path, device: str | torch.device = "cpu", limits: CallLimits | None = None
    ) -> "Translator":
        """Load a bundle directory.

        Args:
            path: the directory.
            device: where the weights go.
            limits: how much a model call may hold.

        Raises:
            BundleError: the directory is not a bundle, or a file of it is missing, damaged or does not fit.
        """
        path = Path(path)
        config = read_config(path)
        autoencoder = Autoencoder(config.network)
        fill(autoencoder, path, "autoencoder")
        styles = StylePrior.from_tensors(read_tensors(path, "styles"))
        if styles.domains and set(styles.domains) != set(config.network.domains):
            raise BundleError(f"{path}/styles.safetensors holds styles of {', '.join(styles.domains)} only")
        prior = None
        if config.prior is not None:
            prior = build_prior(config.prior, config.network)
            fill(prior, path, "prior")
            prior.to(device)
        return cls(channels_last(autoencoder.to(device)), styles.to(device), prior, config.provenance, limits)

    def save(self, path: str | Path) -> None:
        """Write the model as a bundle; an older bundle at `path` is replaced in one step."""
        prior = self.prior.config if self.prior is not None else None
        config = BundleConfig(network=self.network, prior=prior, provenance=self.provenance)
        parts = {"autoencoder": self.autoencoder, "styles": self.style_prior}
        if self.prior is not None:
            parts["prior"] = self.prior
        write_bundle(Path(path), config, parts, card=model_card(config))

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains, in training order."""
        return self.network.domains

    @property
    def device(self) -> torch.device:
        """Where the weights lie and inputs are moved."""
        return next(self.autoencoder.parameters()).device

    @torch.no_grad()
    def encode(self, images: Tensor, domain: str) -> Encoded:
        """Tokens (content) and style of images of one domain."""
        images = self._padded(images, domain)
        rows = self.limits.rows_for(images.shape[2] * images.shape[3])
        return Encoded(
            in_calls(lambda part: self.autoencoder.encode_content(part).tokens, rows, images),
            in_calls(lambda part: self.autoencoder.encode_style(part, domain), rows, images),
        )

    @torch.no_grad()
    def decode(self, tokens: Tensor, style: Tensor, domain: str) -> Tensor:
        """Images (b, 3, rows * stride, columns * stride) of a domain from tokens and styles.

        Args:
            tokens: int64 (b, rows, columns).
            style: (b, style_dim), or (b, style_dim, m, n) for a style that varies over the canvas.
            domain: one of `domains`.
        """
        self.check_domain(domain)

        def call(tokens: Tensor, style: Tensor) -> Tensor:
            codes = self.autoencoder.codebook.lookup(tokens)
            decoded = self.autoencoder.decode(codes, style.to(codes), domain, max_pixels=self.limits.tile_pixels)
            return decoded.clamp(-1, 1)

        rows = self.limits.rows_for(tokens.shape[1] * tokens.shape[2] * self.network.stride**2)
        return in_calls(call, rows, tokens, style)

    def fit_styles(self, images: Mapping[str, Tensor]) -> None:
        """Fit the style prior on training images (n, 3, h, w) of every domain: afterwards styles can be sampled."""
        self.style_prior = StylePrior({d: self.encode(images[d], d).style for d in self.domains}).to(self.device)

    def sample_styles(self, domain: str, count: int, seed: Seeds = 0, *, step: int = 0) -> Tensor:
        """Styles (count, style_dim) drawn from the domain's style prior: no image needed.

        Args:
            domain: one of `domains`.
            count: how many.
            seed: of the first one, or of each.
            step: place in a chain of applications, each of which draws styles of its own.
        """
        self.check_domain(domain)
        return self.style_prior.sample(domain, generators(seed, count, "style", step=step))

    def translate(
        self, images: Tensor, *, source: str, target: str, style: Tensor | None = None, seed: Seeds = 0
    ) -> Tensor:
        """Show each image's content in the target domain; `source == target` restyles within the domain.

        Args:
            images: (b, 3, h, w) of domain `source`.
            source: the images' domain.
            target: the domain to show them in.
            style: (b, style_dim) or (1, style_dim), for example an exemplar's `encode(...).style`; sampled if None.
            seed: for the sampled styles.
        """
        draft = self._studio.photograph(images, source)
        style = self.sample_styles(target, len(images), seed) if style is None else style
        return self._studio.painted(self._studio.translated(draft, target, style))

    def generate(
        self, count: int, *, domain: str, height: int | None = None, width: int | None = None,
        style: Tensor | None = None, seed: Seeds = 0, sampling: Sampling | None = None,
    ) -> Tensor:  # fmt: skip
        """Make `count` new images (count, 3, height, width) of a domain from nothing.

        Raises:
            UserError: the model has no prior (stage 2 was not trained).
        """
        height, width = height or self.network.resolution, width or self.network.resolution
        style = self.sample_styles(domain, count, seed) if style is None else style.expand(count, -1)
        blank = self._studio.blank(style, domain, height=height, width=width)
        made = self._studio.imagined(blank, sampling or Sampling(), generators(seed, count, "tokens"))
        return self._studio.painted(last(made))

    def extend(
        self, images: Tensor, *, domain: str, left: int = 0, right: int = 0, top: int = 0, bottom: int = 0,
        target: str | None = None, style: Tensor | None = None, seed: Seeds = 0, sampling: Sampling | None = None,
        feather: int | None = None,
    ) -> Tensor:  # fmt: skip
        """Continue images past their borders: (b, 3, top + h + bottom, left + w + right).

        The whole canvas is decoded, so that the known part appears as the model rebuilds it, unless `feather` puts the
        given pixels back.

        Args:
            images: (b, 3, h, w) of `domain`.
            domain: the images' domain, in which the new content is imagined.
            left: pixels to add on the left.
            right: pixels to add on the right.
            top: pixels to add above.
            bottom: pixels to add below.
            target: show the canvas in this domain; `domain` if None.
            style: (b, style_dim) of `target`; the image's own if None and `target` is `domain`, else sampled.
            seed: for the new content and a sampled style.
            sampling: how boldly tokens are drawn.
            feather: put the given pixels back, with a border so many pixels wide; 0 changes none of them.

        Raises:
            UserError: nothing to add, or the model has no prior; `feather` with another domain or style.
        """
        draft = self._studio.photograph(images, domain)
        draws = generators(seed, len(images), "tokens")
        sides = {"left": left, "right": right, "top": top, "bottom": bottom}
        draft = last(self._studio.extended(draft, sampling or Sampling(), draws, **sides))
        return self._studio.painted(self._finished(draft, target, style, seed, feather))

    def complete(
        self, images: Tensor, *, mask: Tensor, domain: str, target: str | None = None, style: Tensor | None = None,
        seed: Seeds = 0, sampling: Sampling | None = None, feather: int | None = None,
    ) -> Tensor:  # fmt: skip
        """Imagine the part of images that a mask takes away; tokens of the kept part stay as they are.

        Args:
            images: (b, 3, h, w); pixels outside the mask are ignored.
            mask: bool (h, w), True = keep.
            domain: the images' domain.
            target: show the result in this domain; `domain` if None.
            style: (b, style_dim) of `target`; the kept part's own if None and `target` is `domain`, else sampled.
            seed: for the new content and a sampled style.
            sampling: how boldly tokens are drawn.
            feather: put the kept pixels back, with a border so many pixels wide; 0 changes none of them.

        Raises:
            UserError: the mask has another size, or keeps nothing or everything; the model has no prior; `feather`
                with another domain or style.
        """
        draft = self._studio.photograph(images, domain)
        draws = generators(seed, len(images), "tokens")
        draft = last(self._studio.completed(draft, mask, sampling or Sampling(), draws))
        return self._studio.painted(self._finished(draft, target, style, seed, feather))

    def transition(
        self, images: Tensor, *, domain: str, styles: Tensor, target: str | None = None,
        direction: Direction = "horizontal",
    ) -> Tensor:  # fmt: skip
        """Show images under a style that changes across the canvas, from the first of `styles` to the last.

        Args:
            images: (b, 3, h, w) of `domain`.
            domain: the images' domain.
            styles: (k, style_dim) of `target`, k >= 2, met at equal distances.
            target: the styles' domain; `domain` if None.
            direction: from left to right, from top to bottom, or from the middle to the corners.
        """
        draft = self._studio.photograph(images, domain)
        return self._studio.painted(self._studio.blended(draft, target or domain, styles, direction))

    def compose(
        self, images: Tensor | None, chain: Chain, *, pictures: Mapping[str, Tensor] | None = None, seed: Seeds = 0
    ) -> Tensor:
        """Apply a chain of steps with one decode at the end; see `vqi2i.editing.chain`.

        Args:
            images: (b, 3, h, w) of the chain's domain, or None for a chain that begins by generating.
            chain: what to do.
            pictures: images (1, 3, h, w) under the names by which steps ask for exemplars and masks.
            seed: for all that is drawn; every step draws from streams of its own.

        Raises:
            UserError: a step does not fit the model, the images or the step before it; the message names the step.
        """
        return self._studio.painted(last(perform(self, chain, images, pictures or {}, seed)))

    def unfold(
        self, images: Tensor | None, chain: Chain, *, pictures: Mapping[str, Tensor] | None = None, seed: Seeds = 0
    ) -> Iterator[Tensor]:
        """What `compose` paints, while it comes into being: pictures with grey where nothing is imagined yet.

        The last one is what `compose` returns.
        """
        for draft in perform(self, chain, images, pictures or {}, seed):
            yield self._studio.painted(draft)

    def check_domain(self, domain: str) -> None:
        """Raise a UserError that lists the domains if `domain` is none of them."""
        if domain not in self.domains:
            near = meant(domain, self.domains)
            raise UserError(f"unknown domain {domain!r}{near}: this model knows {', '.join(self.domains)}")

    @property
    def _studio(self) -> Studio:
        return Studio(self)

    def _finished(
        self, draft: Draft, target: str | None, style: Tensor | None, seed: Seeds, feather: int | None
    ) -> Draft:
        """Show a draft as asked; the styles are those of a chain's second step."""
        if style is None and target not in (None, draft.domain):
            style = self.sample_styles(target, len(draft.tokens), seed, step=1)
        if style is not None:
            draft = self._studio.translated(draft, target or draft.domain, style)
        return draft if feather is None else self._studio.pasted(draft, feather)

    def _padded(self, images: Tensor, domain: str) -> Tensor:
        self.check_domain(domain)
        stride = self.network.stride
        height, width = (max(-(-side // stride), MIN_TOKENS) * stride for side in images.shape[2:])
        padding = (0, width - images.shape[3], 0, height - images.shape[2])
        return F.pad(images.to(self.device), padding, mode="replicate")
