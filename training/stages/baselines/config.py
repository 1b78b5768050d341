"""What a training of a baseline is made of."""

from typing import Literal, Self

from pydantic import Field, model_validator

from baselines.config import GeneratorConfig
from errors import UserError
from training.config import ImagesConfig, PatchNCEConfig
from vqi2i.checking.frozen import Frozen
from vqi2i.objective.losses import Game


class CycleGANWeights(Frozen):
    """Weights of CycleGAN's objective; the names are those of the terms and of the metrics."""

    adversarial: float = Field(default=1.0, ge=0)
    cycle: float = Field(default=10.0, ge=0, description="images translated there and back")
    identity: float = Field(
        default=5.0, ge=0, description="images of the target domain, which are to stay"
    )


class CUTWeights(Frozen):
    """Weights of CUT's objective; the names are those of the terms and of the metrics."""

    adversarial: float = Field(default=1.0, ge=0)
    patch_nce: float = Field(
        default=1.0, ge=0, description="patches of translations to those of their sources"
    )
    identity_nce: float = Field(
        default=1.0, ge=0, description="the same for images of the target domain"
    )


class BaselineConfig(ImagesConfig):
    """Generators for each ordered pair of domains, against discriminators."""

    stage: Literal["baseline"] = "baseline"
    network: GeneratorConfig
    game: Game = "hinge"

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains, in the order of a batch's rows."""
        return self.network.domains

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.crop % self.network.stride:
            raise UserError(
                f"crop {self.crop} is not a multiple of the network's stride {self.network.stride}"
            )
        return self


class CycleGANConfig(BaselineConfig):
    """A translation that is translated back is the image again (Zhu et al., 2017)."""

    method: Literal["cyclegan"] = "cyclegan"
    weights: CycleGANWeights = CycleGANWeights()


class CUTConfig(BaselineConfig):
    """A patch of a translation resembles its own source more than others (Park et al., 2020)."""

    method: Literal["cut"] = "cut"
    weights: CUTWeights = CUTWeights()
    patch_nce: PatchNCEConfig = PatchNCEConfig()
