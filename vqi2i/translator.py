"""The public object: one trained model and everything it can do with images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vqi2i.autoencoder import Autoencoder
from vqi2i.bundle import BundleConfig, BundleError, fill, read_config, read_tensors, write_bundle
from vqi2i.calls import CallLimits, in_calls
from vqi2i.card import model_card
from vqi2i.imagination import complete, imagine
from vqi2i.layers import channels_last
from vqi2i.priors import Prior, build_prior
from vqi2i.sampling import Sampling
from vqi2i.style_prior import StylePrior

Direction = Literal["horizontal", "vertical"]
Seeds = int | Sequence[int]
MIN_TOKENS = 4  # sides of the smallest grid that every layer can take


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
        self._check_domain(domain)

        def call(tokens: Tensor, style: Tensor) -> Tensor:
            codes = self.autoencoder.codebook.lookup(tokens)
            decoded = self.autoencoder.decode(codes, style.to(codes), domain, max_pixels=self.limits.tile_pixels)
            return decoded.clamp(-1, 1)

        rows = self.limits.rows_for(tokens.shape[1] * tokens.shape[2] * self.network.stride**2)
        return in_calls(call, rows, tokens, style)

    def fit_styles(self, images: Mapping[str, Tensor]) -> None:
        """Fit the style prior on training images (n, 3, h, w) of every domain: afterwards styles can be sampled."""
        self.style_prior = StylePrior({d: self.encode(images[d], d).style for d in self.domains}).to(self.device)

    def sample_styles(self, domain: str, count: int, seed: Seeds = 0) -> Tensor:
        """Styles (count, style_dim) drawn from the domain's style prior: no image needed."""
        self._check_domain(domain)
        generators = [torch.Generator().manual_seed(seed) for seed in _seeds(seed, count, stream=1)]
        return self.style_prior.sample(domain, generators)

    @torch.no_grad()
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
        tokens = self.encode(images, source).tokens
        if style is None:
            style = self.sample_styles(target, len(images), seed)
        decoded = self.decode(tokens, style.expand(len(images), -1), target)
        return decoded[..., : images.shape[2], : images.shape[3]]

    def generate(
        self, count: int, *, domain: str, height: int | None = None, width: int | None = None,
        style: Tensor | None = None, seed: Seeds = 0, sampling: Sampling | None = None,
    ) -> Tensor:  # fmt: skip
        """Make `count` new images (count, 3, height, width) of a domain from nothing.

        Raises:
            ValueError: the model has no prior (stage 2 was not trained).
        """
        height = height or self.network.resolution
        width = width or self.network.resolution
        rows, columns = (-(-side // self.network.stride) for side in (height, width))
        tokens = torch.zeros(count, rows, columns, dtype=torch.long, device=self.device)
        known = torch.zeros(rows, columns, dtype=torch.bool)
        tokens = self._fill(tokens, known, domain, seed, sampling)
        style = self.sample_styles(domain, count, seed) if style is None else style.expand(count, -1)
        return self.decode(tokens, style, domain)[..., :height, :width]

    def extend(
        self, images: Tensor, *, domain: str, left: int = 0, right: int = 0, target: str | None = None,
        style: Tensor | None = None, seed: Seeds = 0, sampling: Sampling | None = None,
    ) -> Tensor:  # fmt: skip
        """Continue images past their left and right borders: (b, 3, h, left + w + right).

        The whole canvas is decoded, so the known part appears as the model rebuilds it. To the left the mirror image
        is extended, since mirrored *tokens* would decode to patches of the wrong orientation.

        Args:
            images: (b, 3, h, w) of `domain`.
            domain: the images' domain, in which the new content is imagined.
            left: pixels to add on the left.
            right: pixels to add on the right.
            target: show the canvas in this domain; `domain` if None.
            style: (b, style_dim) of `target`; the image's own if None and `target` is `domain`, else sampled.
            seed: for the new content and a sampled style.
            sampling: how boldly tokens are drawn.

        Raises:
            ValueError: nothing to add, or the model has no prior.
        """
        if left < 0 or right < 0 or left + right == 0:
            raise ValueError("say how many pixels to add: left or right must be above 0, neither below")
        target = target or domain
        own = self.encode(images, domain).style
        if style is None:
            style = own if target == domain else self.sample_styles(target, len(images), seed)
        style = style.expand(len(images), -1)
        if left:
            mirrored = self._widen(images.flip(3), domain, left, seed, sampling)
            shown = self.decode(mirrored, own, domain) if right else self.decode(mirrored, style, target)
            images = shown[..., : images.shape[2], : images.shape[3] + left].flip(3)
            if not right:
                return images
        height, width = images.shape[2], images.shape[3] + right
        tokens = self._widen(images, domain, right, seed, sampling)
        return self.decode(tokens, style, target)[..., :height, :width]

    def complete(
        self, images: Tensor, *, mask: Tensor, domain: str, target: str | None = None, style: Tensor | None = None,
        seed: Seeds = 0, sampling: Sampling | None = None,
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

        Raises:
            ValueError: the mask has another size, or keeps nothing or everything; the model has no prior.
        """
        height, width = images.shape[2:]
        if mask.shape != (height, width):
            raise ValueError(
                f"the mask is {mask.shape[1]}x{mask.shape[0]} but the image {width}x{height}: same size, please"
            )
        mask = mask.to(images.device)
        if mask.all() or not mask.any():
            raise ValueError("the mask must keep a part of the image and take a part away (white = keep)")
        target = target or domain
        if style is None:
            style = self._style_of_kept(images, mask, domain) if target == domain else self.sample_styles(
                target, len(images), seed
            )  # fmt: skip
        encoded = self.encode(_without_masked(images, mask), domain)
        known = self._known_cells(mask, encoded.tokens.shape[1:])
        tokens = self._fill(encoded.tokens, known, domain, seed, sampling)
        return self.decode(tokens, style.expand(len(images), -1), target)[..., :height, :width]

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
            direction: from left to right, or from top to bottom.
        """
        if len(styles) < 2:
            raise ValueError(f"a transition needs at least two styles, got {len(styles)}")
        tokens = self.encode(images, domain).tokens
        length = tokens.shape[2] if direction == "horizontal" else tokens.shape[1]
        ramp = F.interpolate(styles.T[None].float(), size=length, mode="linear", align_corners=True)
        field = ramp[:, :, None, :] if direction == "horizontal" else ramp[:, :, :, None]
        decoded = self.decode(tokens, field.expand(len(images), -1, *tokens.shape[1:]), target or domain)
        return decoded[..., : images.shape[2], : images.shape[3]]

    def _check_domain(self, domain: str) -> None:
        if domain not in self.domains:
            raise ValueError(f"unknown domain {domain!r}: this model knows {', '.join(self.domains)}")

    def _padded(self, images: Tensor, domain: str) -> Tensor:
        self._check_domain(domain)
        stride = self.network.stride
        height, width = (max(-(-side // stride), MIN_TOKENS) * stride for side in images.shape[2:])
        padding = (0, width - images.shape[3], 0, height - images.shape[2])
        return F.pad(images.to(self.device), padding, mode="replicate")

    def _fill(self, tokens: Tensor, known: Tensor, domain: str, seed: Seeds, sampling: Sampling | None) -> Tensor:
        self._check_domain(domain)
        if self.prior is None:
            raise ValueError("this model has no prior and can only translate: train stage 2 and use its bundle")
        prior, index = self.prior, self.domains.index(domain)

        def call(tokens: Tensor, seeds: Sequence[int]) -> Tensor:
            domains = torch.full((len(tokens),), index, device=self.device)
            generators = [torch.Generator().manual_seed(seed) for seed in seeds]
            return complete(imagine(prior, tokens, known.to(self.device), domains, sampling or Sampling(), generators))

        return in_calls(call, self.limits.rows, tokens, _seeds(seed, len(tokens), stream=0))

    def _widen(self, images: Tensor, domain: str, pixels: int, seed: Seeds, sampling: Sampling | None) -> Tensor:
        """Tokens of images and of enough new columns to their right for `pixels` more."""
        tokens = self.encode(images, domain).tokens
        stride = self.network.stride
        kept = images.shape[3] // stride  # a column that is partly padding is imagined anew
        columns = -(-(images.shape[3] + pixels) // stride)
        canvas = F.pad(tokens[:, :, :kept], (0, columns - kept))
        known = torch.zeros(canvas.shape[1:], dtype=torch.bool)
        known[:, :kept] = True
        return self._fill(canvas, known, domain, seed, sampling)

    def _known_cells(self, mask: Tensor, grid: Sequence[int]) -> Tensor:
        """Cells (rows, columns) all of whose pixels are kept; padding beyond the image counts as kept."""
        stride = self.network.stride
        padding = (0, grid[1] * stride - mask.shape[1], 0, grid[0] * stride - mask.shape[0])
        lost = F.pad((~mask).float()[None, None], padding)
        return F.max_pool2d(lost, stride)[0, 0] == 0

    @torch.no_grad()
    def _style_of_kept(self, images: Tensor, mask: Tensor, domain: str) -> Tensor:
        """Style of the smallest rectangle around what is kept."""
        rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        box = _without_masked(images, mask)[..., rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return self.encode(box, domain).style


def _seeds(seed: Seeds, count: int, *, stream: int) -> list[int]:
    """One seed of a random stream per image; tokens and styles draw from different streams."""
    seeds = [seed + index for index in range(count)] if isinstance(seed, int) else list(seed)
    if len(seeds) != count:
        raise ValueError(f"{count} images need {count} seeds, got {len(seeds)}")
    # The generator mixes its seed (mt19937 initialisation), so neighbouring seeds are independent streams.
    return [2 * value + stream for value in seeds]


def _without_masked(images: Tensor, mask: Tensor) -> Tensor:
    """Images whose lost pixels take the mean colour of the kept ones, so that no border disturbs its neighbours."""
    mean = (images * mask).sum(dim=(2, 3), keepdim=True) / mask.sum()
    return torch.where(mask, images, mean)
