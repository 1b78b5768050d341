"""The stage-1 model: shared content, style per domain, and everything the objective needs from one
pass.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vqi2i.config import NetworkConfig
from vqi2i.networks.decoder import Decoder
from vqi2i.networks.domain_rows import merge, part, partners
from vqi2i.networks.encoders import ContentEncoder, DomainStyle, StyleEncoder, StyleMLP
from vqi2i.networks.quantizers import Quantized, build_quantizer
from vqi2i.networks.tiling import decode_in_tiles


class Views(NamedTuple):
    """What one pass over n = domains x batch images gives; rows are ordered domain by domain."""

    content: Tensor  # (n, d, h, w) continuous content, before the codebook
    features: list[Tensor]  # of the content encoder, on the way to `content`
    quantized: Quantized
    reconstructions: Tensor  # (n, 3, H, W) each image from its own content and style
    translations: (
        Tensor  # (n, 3, H, W) row i: another domain's content in the domain and style of image i
    )
    style_error: Tensor | None  # scalar, equation (5); None if not asked for
    content_error: Tensor | None  # scalar, equation (6); None if not asked for
    translated_features: list[
        Tensor
    ]  # as `features`, of the translations; empty if their content was not asked for


class Autoencoder(nn.Module):
    """Content encoder, codebook, style encoders and generators of all domains."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.config = config
        self.content_encoder = ContentEncoder(config)
        self.codebook = build_quantizer(config)
        self.from_embedding = nn.Conv2d(config.embed_dim, config.z_channels, 1)
        self.style_encoders = nn.ModuleDict(
            {d: StyleEncoder(config) for d in config.domains if config.style_dim}
        )
        owners = ("shared",) if config.decoder == "shared" else config.domains
        self.decoders = nn.ModuleDict({owner: Decoder(config) for owner in owners})
        adain_channels = self._decoder(config.domains[0]).adain_channels
        self.style_mlps = nn.ModuleDict(
            {
                d: StyleMLP(config.style_dim, adain_channels)
                if config.style_dim
                else DomainStyle(adain_channels)
                for d in config.domains
            }
        )

    def recompute_activations(self, active: bool) -> None:
        """Whether training keeps activations or, for less memory and more time, computes them
        twice.
        """
        for module in self.modules():
            if isinstance(module, ContentEncoder | Decoder):
                module.recompute = active

    def _decoder(self, domain: str) -> Decoder:
        decoder = self.decoders["shared" if self.config.decoder == "shared" else domain]
        assert isinstance(decoder, Decoder)
        return decoder

    def encode_content(self, images: Tensor) -> Quantized:
        """Tokens and codes of images (b, 3, h, w) in [-1, 1]; sides must be multiples of the
        stride.
        """
        return self.codebook(self.content_encoder(images))

    def encode_style(self, images: Tensor, domain: str) -> Tensor:
        """Styles (b, style_dim) of images of one domain."""
        return (
            self.style_encoders[domain](images)
            if self.config.style_dim
            else images.new_zeros(len(images), 0)
        )

    def decode(
        self, codes: Tensor, styles: Tensor, domain: str, *, max_pixels: int | None = None
    ) -> Tensor:
        """Images (b, 3, H, W) of one domain from codes (b, d, h, w) and styles (b, style_dim[, m,
        n]).

        Larger canvases than `max_pixels` are decoded in tiles of about that size, overlap included.
        """
        decoder, content, stride = (
            self._decoder(domain),
            self.from_embedding(codes),
            self.config.stride,
        )
        parameters = self.style_mlps[domain](styles)
        if max_pixels is None or codes.shape[2] * codes.shape[3] * stride**2 <= max_pixels:
            return decoder(content, parameters)
        side = max(math.isqrt(max_pixels) // stride - 2 * decoder.reach, decoder.reach)
        return decode_in_tiles(decoder, content, parameters, side=side, stride=stride)

    def _styles(self, images: Tensor) -> Tensor:
        """Styles of images ordered domain by domain, each by its own domain's encoder."""
        chunks = images.chunk(len(self.config.domains))
        return torch.cat(
            [self.encode_style(x, d) for d, x in zip(self.config.domains, chunks, strict=True)]
        )

    def _decode_all(self, codes: Tensor, styles: Tensor) -> Tensor:
        """Decode rows ordered domain by domain; a shared generator takes them in one pass."""
        domains = self.config.domains
        content = self.from_embedding(codes)
        parameters = [
            self.style_mlps[d](s) for d, s in zip(domains, styles.chunk(len(domains)), strict=True)
        ]
        if self.config.decoder == "shared":
            return self._decoder("shared")(content, torch.cat(parameters))
        chunks = zip(domains, content.chunk(len(domains)), parameters, strict=True)
        return torch.cat([self._decoder(d)(c, p) for d, c, p in chunks])

    def forward(
        self,
        images: Tensor,
        shift: int = 1,
        *,
        quantize: bool = True,
        style_back: bool = True,
        content_back: bool = True,
        recolored: Tensor | None = None,
    ) -> Views:
        """Reconstruct and translate images (n, 3, H, W), rows ordered domain by domain, equally
        many of each.

        Every network is applied once to all that it has to see: per pair of images 4 content
        encodes and 4 decodes with both regressions, 2 and 4 without.

        Args:
            images: pixels in [-1, 1].
            shift: translations take their content from the domain `shift` places on, 1 <= shift <
                domains.
            quantize: False passes continuous content to the generators, while the codebook has no
                vectors yet.
            style_back: whether to ask translations for their style, equation (5).
            content_back: whether to ask translations for their content, equation (6).
            recolored: the images as the content encoder is to see them; as they are if None.
        """
        num_domains = len(self.config.domains)
        content, features = self.content_encoder.with_features(
            images if recolored is None else recolored
        )
        quantized = self.codebook(content)
        if not quantize:
            quantized = Quantized(self.codebook.bounded(content), quantized.tokens, None, None)
        codes = quantized.codes
        styles = self._styles(images)

        partner = partners(codes, num_domains, shift)
        both = self._decode_all(
            merge([codes, partner], num_domains), merge([styles, styles], num_domains)
        )
        reconstructions, translations = part(both, num_domains, 2)

        style_error = content_error = None
        translated_features: list[Tensor] = []
        if style_back and self.config.style_dim:
            style_error = (self._styles(translations) - styles.detach()).abs().mean()
        if content_back:
            translated_content, translated_features = self.content_encoder.with_features(
                translations
            )
            content_error = (
                (self.codebook.bounded(translated_content) - partner.detach()).abs().mean()
            )
        return Views(
            content,
            features,
            quantized,
            reconstructions,
            translations,
            style_error,
            content_error,
            translated_features,
        )
