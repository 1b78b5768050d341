"""A trained model: its bundle read and written, images to tokens and styles, and back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from vqi2i.bundle import (
    BundleConfig,
    BundleError,
    fill,
    model_card,
    read_config,
    read_tensors,
    write_bundle,
)
from vqi2i.checking.typed import check_domain
from vqi2i.networks.autoencoder import Autoencoder
from vqi2i.networks.batching import CallLimits, in_calls, padded
from vqi2i.networks.layers import channels_last
from vqi2i.priors.prior import Prior, build_prior
from vqi2i.priors.style_prior import StylePrior
from vqi2i.seeds import Seeds, generators

Own = TypeVar("Own", bound="Model")


class Encoded(NamedTuple):
    """An image as the model sees it."""

    tokens: Tensor  # (b, rows, columns) int64
    style: Tensor  # (b, style_dim)


class Model:
    """Networks, priors and what they are called.

    Images are float tensors (b, 3, h, w) in [-1, 1] of any size.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        styles: StylePrior,
        prior: Prior | None = None,
        provenance: Mapping[str, Any] | None = None,
        limits: CallLimits | None = None,
    ):
        self.limits = limits or CallLimits()
        self.autoencoder = autoencoder.eval().requires_grad_(False)
        self.style_prior = styles.eval()
        self.prior = prior.eval().requires_grad_(False) if prior is not None else None
        self.provenance = dict(provenance or {})
        self.network = autoencoder.config

    @classmethod
    def load(
        cls: type[Own],
        path: str | Path,
        device: str | torch.device = "cpu",
        limits: CallLimits | None = None,
    ) -> Own:
        """Load a bundle directory.

        Args:
            path: the directory.
            device: where the weights go.
            limits: how much a model call may hold.

        Raises:
            BundleError: the directory is not a bundle, or a file of it is missing, damaged or does
                not fit.
        """
        path = Path(path)
        config = read_config(path)
        autoencoder = Autoencoder(config.network)
        fill(autoencoder, path, "autoencoder")
        styles = StylePrior.from_tensors(read_tensors(path, "styles"))
        # None at all is fine: an imported model has no training images.
        if styles.domains and set(styles.domains) != set(config.network.domains):
            raise BundleError(
                f"{path}/styles.safetensors holds styles of {', '.join(styles.domains)} only"
            )
        prior = None
        if config.prior is not None:
            prior = build_prior(config.prior, config.network)
            fill(prior, path, "prior")
            prior.to(device)
        return cls(
            channels_last(autoencoder.to(device)),
            styles.to(device),
            prior,
            config.provenance,
            limits,
        )

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
        # By the size alone: whatever shares the call, a picture's tokens are the same bits.
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
            # (b, d, rows, columns)
            codes = self.autoencoder.codebook.lookup(tokens)
            decoded = self.autoencoder.decode(
                codes, style.to(codes), domain, max_pixels=self.limits.tile_pixels
            )
            return decoded.clamp(-1, 1)

        rows = self.limits.rows_for(tokens.shape[1] * tokens.shape[2] * self.network.stride**2)
        return in_calls(call, rows, tokens, style)

    def fit_styles(self, images: Mapping[str, Tensor]) -> None:
        """Fit the style prior on training images (n, 3, h, w) of every domain, to sample from."""
        self.style_prior = StylePrior(
            {d: self.encode(images[d], d).style for d in self.domains}
        ).to(self.device)

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

    def check_domain(self, domain: str) -> None:
        """Raise a UserError that lists the domains if `domain` is none of them."""
        check_domain(domain, self.domains)

    def _padded(self, images: Tensor, domain: str) -> Tensor:
        self.check_domain(domain)
        return padded(images.to(self.device), self.network.stride, least=self.network.min_tokens)
