"""Frozen configurations of the baselines: what their bundles need to build the networks again."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from errors import UserError
from vqi2i.checking.frozen import Frozen
from vqi2i.config import Domain

Method = Literal["cyclegan", "cut"]


class GeneratorConfig(Frozen):
    """The generators of one baseline, one for each ordered pair of domains."""

    domains: tuple[Domain, ...] = Field(min_length=2)
    resolution: int = Field(default=64, gt=0, description="nominal image side in pixels")
    patch: int = Field(
        default=2, gt=0, description="space-to-depth factor of the stem and of the head"
    )
    base_channels: int = Field(default=32, gt=0)
    channel_multipliers: tuple[int, ...] = Field(default=(1, 2), min_length=1)
    num_res_blocks: int = Field(default=6, gt=1, description="at the smallest scale")

    @property
    def stride(self) -> int:
        """Image pixels per feature along each side at the smallest scale."""
        return self.patch * 2 ** (len(self.channel_multipliers) - 1)

    @property
    def level_channels(self) -> tuple[int, ...]:
        """Channels from the finest level to the coarsest."""
        return tuple(self.base_channels * multiplier for multiplier in self.channel_multipliers)

    @property
    def style_dim(self) -> int:
        """As of a VQ-I2I model without style: a translation follows from the picture alone."""
        return 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.domains)) != len(self.domains):
            raise UserError(f"domains must differ from one another, got {', '.join(self.domains)}")
        if self.resolution % self.stride:
            raise UserError(
                f"resolution {self.resolution} is not a multiple of the stride {self.stride}"
            )
        return self


class BaselineBundleConfig(Frozen):
    """What a baseline's `config.json` holds."""

    kind: Literal["baseline"] = "baseline"
    format_version: Literal[1] = 1
    method: Method
    network: GeneratorConfig
    provenance: dict[str, Any] = Field(
        default_factory=dict, description="recipe, data, images seen"
    )
