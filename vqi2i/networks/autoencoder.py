"""The stage-1 model: all that the objective needs comes from one pass."""

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
    # (n, 3, H, W) row i: another domain's content in the domain and style of image i
    translations: Tensor
    style_error: Tensor | None  # scalar, eq. (5); None if not asked for
    content_error: Tensor | None  # scalar, eq. (6); None if not asked for
    # as `features`, of the translations; empty if their content was not asked for
    translated_features: list[Tensor]


class Autoencoder(nn.Module):
    """Content encoder, codebook, style encoders and generators of all domains."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.config = config
        self.content_encoder = ContentEncoder(config)
        self.codebook = build_quantizer(config)
        # the release's `post_quant_conv`
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
        """Whether training computes activations twice: less memory, more time."""
        for module in self.modules():
            if isinstance(module, ContentEncoder | Decoder):
                module.recompute = active

    def _decoder(self, domain: str) -> Decoder:
        decoder = self.decoders["shared" if self.config.decoder == "shared" else domain]
        assert isinstance(decoder, Decoder)
        return decoder

    def encode_content(self, images: Tensor) -> Quantized:
        """Tokens and codes of images (b, 3, h, w) in [-1, 1]; sides are multiples of the stride."""
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
        """Images (b, 3, H, W) of one domain from codes and styles.

        Codes are (b, d, h, w) with H = h * stride; styles are (b, style_dim), or (b, style_dim, m,
        n) for a style that varies over the canvas.

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
        # The window of a tile is its core and the reach on all sides; the core at least the reach.
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
        """Reconstruct and translate images (n, 3, H, W), rows ordered domain by domain.

        Every network is applied once to all that it has to see: per pair of images 4 content
        encodes and 4 decodes with both regressions, 2 and 4 without.

        Args:
            images: pixels in [-1, 1], equally many of each domain.
            shift: translations take their content from the domain `shift` places on, 1 <= shift <
                domains.
            quantize: False passes continuous content to the generators, while the codebook has no
                vectors yet.
            style_back: whether to ask translations for their style, eq. (5).
            content_back: whether to ask translations for their content, eq. (6).
            recolored: the images as the content encoder is to see them; as they are if None.
        """
        num_domains = len(self.config.domains)
        # content: (n, d, H/stride, W/stride)
        content, features = self.content_encoder.with_features(
            images if recolored is None else recolored
        )
        quantized = self.codebook(content)
        if not quantize:
            quantized = Quantized(self.codebook.bounded(content), quantized.tokens, None, None)
        codes = quantized.codes
        # The style is read from the image as it is, also where content is read recoloured.
        styles = self._styles(images)

        # partner[i] is the content c_y that image i lends its domain and style to: G_x(c_y, s_x).
        partner = partners(codes, num_domains, shift)
        # (2n, 3, H, W): reconstructions and translations in one pass of the generators
        both = self._decode_all(
            merge([codes, partner], num_domains), merge([styles, styles], num_domains)
        )
        reconstructions, translations = part(both, num_domains, 2)

        style_error = content_error = None
        translated_features: list[Tensor] = []
        if style_back and self.config.style_dim:
            # eq. (5): |E^s_x(G_x(c_y, s_x)) - s_x|, the target detached
            style_error = (self._styles(translations) - styles.detach()).abs().mean()
        if content_back:
            translated_content, translated_features = self.content_encoder.with_features(
                translations
            )
            # eq. (6): |E^c(G_x(c_y, s_x)) - c_y|: continuous content to quantised; target detached
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
