"""Frozen configurations of the networks: what a bundle needs to build them again."""

import json
import math
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from vqi2i.checking.frozen import Frozen
from vqi2i.checking.typed import domain_name
from vqi2i.errors import UserError

Domain = Annotated[str, AfterValidator(domain_name)]
LearnedQuantizer = Literal["vq", "l2", "simvq"]  # by gradients: `weights.codebook` teaches codes
QuantizerKind = Literal["ema_restart", LearnedQuantizer, "fsq"]


def assignment(text: str, origin: str) -> tuple[str, Any]:
    """Name and value of a setting as it is typed, `name=value`; the value is JSON or plain text.

    Args:
        text: what was typed.
        origin: where, for the message.

    Raises:
        UserError: there is no `=`.
    """
    name, separator, value = text.partition("=")
    if not separator:
        raise UserError(f"{origin} {text!r} is not of the form name=value")
    try:
        return name, json.loads(value)
    except (ValueError, RecursionError):  # no JSON, or more digits or brackets than are read
        return name, value


class NetworkConfig(Frozen):
    """Content encoder, codebook, style encoders and generators of one model."""

    domains: tuple[Domain, ...] = Field(min_length=2)
    resolution: int = Field(
        default=64,
        gt=0,
        description="nominal image side in pixels; decides where attention is placed",
    )
    patch: int = Field(
        default=2,
        gt=0,
        description="space-to-depth factor of the stem and of the head; 1 in the paper",
    )
    base_channels: int = Field(default=48, gt=0)
    channel_multipliers: tuple[int, ...] = Field(default=(1, 2), min_length=1)
    num_res_blocks: int = Field(default=2, gt=0)
    attention_resolutions: tuple[int, ...] = ()
    z_channels: int = Field(
        default=64, gt=0, description="channels on either side of the bottleneck"
    )
    embed_dim: int = Field(default=64, gt=0, description="channels of a codebook vector")
    codebook_size: int = Field(default=256, gt=1)
    quantizer: QuantizerKind = Field(
        default="ema_restart", description="vq in the paper; see `vqi2i.networks.quantizers`"
    )
    fsq_levels: tuple[int, ...] = Field(default=(), description="levels of each channel, for fsq")
    style_dim: int = Field(
        default=8, ge=0, description="0 for uni-VQ-I2I: generators decode content alone"
    )
    style_channels: int = Field(
        default=32, gt=0, description="channels of the style encoder's first layer"
    )
    decoder: Literal["shared", "per_domain"] = Field(
        default="shared", description="one generator for all domains, or one each"
    )
    num_style_blocks: int = Field(default=4, gt=0, description="AdaIN blocks at the smallest scale")
    adain: Literal["bottleneck", "every_level"] = Field(
        default="every_level",
        description="where style enters: the style blocks only (paper), or those and all levels",
    )

    @property
    def stride(self) -> int:
        """Image pixels per token along each side."""
        return self.patch * 2 ** (len(self.channel_multipliers) - 1)

    @property
    def min_tokens(self) -> int:
        """Tokens along a side of the smallest grid that every layer can take.

        Four, or what 16 pixels have: fewer do not reach the end of the style encoder.
        """
        return max(4, -(-16 // self.stride))

    @property
    def learns_codes(self) -> bool:
        """Whether codes learn by gradients, and so by the codebook term of the objective."""
        return self.quantizer in get_args(LearnedQuantizer)

    @property
    def level_channels(self) -> tuple[int, ...]:
        return tuple(self.base_channels * multiplier for multiplier in self.channel_multipliers)

    def has_attention(self, level: int) -> bool:
        """Whether the blocks of `level` (0 = finest) are followed by attention."""
        return self.resolution // self.patch // 2**level in self.attention_resolutions

    @model_validator(mode="after")
    def _check(self) -> "NetworkConfig":
        if len(set(self.domains)) != len(self.domains):
            raise UserError(f"domains must differ from one another, got {', '.join(self.domains)}")
        if self.resolution % self.stride:
            raise UserError(
                f"resolution {self.resolution} is not a multiple of the stride {self.stride}"
            )
        if (self.quantizer == "fsq") != bool(self.fsq_levels):
            raise UserError("quantizer=fsq and fsq_levels go together: set both or neither")
        if self.fsq_levels and (math.prod(self.fsq_levels), len(self.fsq_levels)) != (
            self.codebook_size,
            self.embed_dim,
        ):
            raise UserError(
                f"fsq_levels {self.fsq_levels} make {math.prod(self.fsq_levels)} codes of "
                f"{len(self.fsq_levels)} channels: set codebook_size and embed_dim to these"
            )
        if any(level < 2 for level in self.fsq_levels):
            raise UserError("every one of fsq_levels must be at least 2")
        return self


class DiscriminatorConfig(Frozen):
    """Patch discriminators: one answer per patch, per domain."""

    base_channels: int = Field(default=32, gt=0)
    num_layers: int = Field(default=3, gt=0, description="convolutions of stride 2")
    norm: Literal["none", "instance"] = "instance"
    detail: float = Field(
        default=0.0,
        ge=0,
        description="gain of a high-pass copy shown beside the image; 0 in the paper",
    )
    trunk: Literal["shared", "per_domain"] = Field(
        default="shared", description="one trunk with a head per domain, or one each"
    )


class PriorConfig(Frozen):
    """The transformer over content tokens."""

    kind: Literal["causal", "masked"] = Field(
        default="causal",
        description="one token after the other in raster order, or any tokens from any others",
    )
    num_layers: int = Field(default=4, gt=0)
    num_heads: int = Field(default=4, gt=0)
    width: int = Field(default=128, gt=0)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    window: tuple[int, int] = Field(
        default=(16, 16), description="rows and columns of tokens seen at once"
    )
    condition: Literal["domain", "coordinates"] = Field(
        default="domain",
        description=(
            "what precedes the tokens: their domain, or the release's constant grid of coordinates"
        ),
    )
    positions: Literal["learned", "rotary"] = Field(
        default="learned",
        description=(
            "a vector per place, or distances in both directions (rotary) with a vector per row "
            "and column"
        ),
    )
    local: bool = Field(
        default=False, description="every block first mixes each token with its neighbours"
    )
    upwards: bool = Field(
        default=False,
        description=(
            "causal prior: it learns pictures turned upside down, too, and continues pictures "
            "upwards by that"
        ),
    )

    @property
    def all_sides(self) -> bool:
        """Whether it continues pictures upwards, too."""
        return self.upwards or self.kind == "masked"

    @property
    def prefix_length(self) -> int:
        """Inputs of the causal prior before the first token."""
        return 1 if self.condition == "domain" else math.prod(self.window)

    @property
    def num_positions(self) -> int:
        """Longest input of the causal prior; the last token is never an input, so that the
        release's last is idle.
        """
        return math.prod(self.window) * (1 if self.condition == "domain" else 2)

    @model_validator(mode="after")
    def _check(self) -> "PriorConfig":
        if self.width % self.num_heads:
            raise UserError(
                f"prior.width {self.width} is not a multiple of prior.num_heads {self.num_heads}"
            )
        if self.positions == "rotary" and self.width // self.num_heads % 4:
            raise UserError(
                f"prior.positions=rotary needs heads of 4, 8, 12... channels: {self.num_heads} do "
                "not fit"
            )
        if self.kind == "masked" and (self.positions, self.condition) != ("rotary", "domain"):
            raise UserError(
                "prior.kind=masked needs prior.positions=rotary and prior.condition=domain"
            )
        if self.upwards and (self.kind, self.condition) != ("causal", "domain"):
            raise UserError(
                "prior.upwards is for prior.kind=causal (masked ones see all sides) and "
                "prior.condition=domain: set it to false"
            )
        if self.condition == "coordinates" and (self.positions == "rotary" or self.local):
            raise UserError(
                "prior.condition=coordinates goes with prior.positions=learned and "
                "prior.local=false"
            )
        return self
