"""What a training run is made of: frozen, typed, and overridden by dotted names."""

from abc import abstractmethod
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from errors import UserError
from pipelines.reading.order import OrderKind
from training.hardware import Precision
from training.metrics import METRICS, MODES, Mode
from vqi2i.checking.frozen import Frozen
from vqi2i.checking.typed import meant, seed_number
from vqi2i.config import DiscriminatorConfig, NetworkConfig, PriorConfig
from vqi2i.objective.diff_augment import Augmentation
from vqi2i.objective.losses import Game
from vqi2i.objective.perceptual import PerceptualKind


class LossWeights(Frozen):
    """Weights of the generators' objective; the names are those of the terms and of the metrics."""

    pixel: float = Field(default=5.0, ge=0)
    perceptual: float = Field(default=0.0, ge=0)
    commitment: float = Field(default=1.0, ge=0)
    codebook: float = Field(default=0.0, ge=0, description="for codebooks that learn by gradients")
    adversarial: float = Field(default=0.1, ge=0)
    adversarial_reconstruction: float = Field(default=0.02, ge=0)
    style: float = Field(default=1.0, ge=0)
    content: float = Field(default=0.2, ge=0)
    cross_pixel: float = Field(
        default=0.0, ge=0, description="translations to the truth, for paired images"
    )
    patch_nce: float = Field(
        default=0.0, ge=0, description="patches of translations to those of their sources"
    )
    total_variation: float = Field(
        default=0.0, ge=0, description="of translations: against fine noise"
    )


class WeightFile(Frozen):
    """A file of weights: a path, or a URL whose content has a known sha256."""

    source: str = ""
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")

    @property
    def is_remote(self) -> bool:
        """Whether it has to be fetched."""
        return self.source.startswith(("http://", "https://"))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.is_remote and not self.sha256:
            raise UserError(
                f"{self.source} needs its sha256: what is fetched is checked before it is read"
            )
        return self


class PerceptualConfig(Frozen):
    """Which perceptual distance joins the pixel term, and where its weights lie."""

    kind: PerceptualKind = "none"
    vgg: WeightFile = Field(default=WeightFile(), description="VGG-16 state dictionary, for lpips")
    heads: WeightFile = Field(
        default=WeightFile(), description="LPIPS v0.1 linear heads, for lpips"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = bool(self.vgg.source), bool(self.heads.source)
        if self.kind == "lpips" and not all(given):
            raise UserError(
                "perceptual.kind=lpips needs perceptual.vgg.source and perceptual.heads.source, "
                "paths or URLs"
            )
        if self.kind != "lpips" and any(given):
            raise UserError(
                f"perceptual.vgg and perceptual.heads do nothing with perceptual.kind={self.kind}"
            )
        return self


class GameConfig(Frozen):
    """How discriminators and generators play against each other."""

    loss: Game = "hinge"
    discriminator_from: int = Field(
        default=0, ge=0, description="images of the schedule before the discriminators learn"
    )
    generator_from: int = Field(
        default=0, ge=0, description="images of the schedule before the generators hear them"
    )
    translated: float = Field(
        default=1.0, ge=0, description="weight of translations in the discriminators' loss"
    )
    reconstructed: float = Field(default=0.2, ge=0, description="weight of reconstructions in it")
    r1: float = Field(
        default=0.0, ge=0, description="weight of the gradient penalty on real images"
    )
    r1_every: int = Field(
        default=16, gt=0, description="steps from one penalty to the next, which weighs as many"
    )
    augment: tuple[Augmentation, ...] = Field(
        default=(), description="what is done to all that is judged"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.generator_from < self.discriminator_from:
            raise UserError(
                "game.generator_from must not come before game.discriminator_from: untrained "
                "answers mislead"
            )
        if len(set(self.augment)) != len(self.augment):
            raise UserError(f"game.augment names a kind twice: {', '.join(self.augment)}")
        return self


class PatchNCEConfig(Frozen):
    """How patches are compared, where `weights.patch_nce` is above 0."""

    num_patches: int = Field(default=256, gt=1)
    temperature: float = Field(default=0.07, gt=0)


class OptimConfig(Frozen):
    """Adam, with gradients clipped by their norm."""

    learning_rate: float = Field(gt=0)
    betas: tuple[float, float] = (0.5, 0.99)
    weight_decay: float = Field(default=0.0, ge=0)
    clip_norm: float = Field(default=5.0, gt=0)


class ScheduleConfig(Frozen):
    """Everything that happens at a time, counted in images seen of each domain.

    Where the clock will end a run, what begins in its course (the warm-up's end, the codebook, both
    players) begins by the clock as well, whichever is ahead: a slow machine would otherwise never
    come to it.
    """

    images: int = Field(gt=0, description="length of the run")
    minutes: float | None = Field(
        default=None, gt=0, description="wall clock after which the run stops early"
    )
    warmup_images: int = Field(
        default=0, ge=0, description="images over which the learning rate rises"
    )
    constant_until: float = Field(
        default=0.6, ge=0, le=1, description="share of the run after which the rate falls to zero"
    )
    log_every: int = Field(default=400, gt=0)
    log_seconds: float | None = Field(
        default=60, gt=0, description="time after which a report is due as well"
    )
    sample_every: int = Field(default=2000, gt=0)
    save_every: int = Field(default=1000, gt=0)
    save_seconds: float | None = Field(
        default=60, gt=0, description="time after which a checkpoint is due as well"
    )
    keep_checkpoints: int = Field(default=2, gt=0, description="so many of the newest stay")
    best: str = Field(
        default="", description="measured figure by which one more stays, the best; empty: none"
    )

    @property
    def best_mode(self) -> Mode:
        """Whether more or less of the figure `best` is better."""
        return MODES.get(self.best, "max")

    def gone(self, position: int, time_gone: float) -> float:
        """How much of the schedule lies behind, in images of each domain: those seen, or the
        clock's share of all.

        Args:
            position: images of each domain seen.
            time_gone: share of `minutes` that has passed.
        """
        return max(position, time_gone * self.images)

    def learning_rate_factor(self, position: int, time_gone: float = 0.0) -> float:
        """Linear warm-up, constant, linear fall to zero.

        Args:
            position: images seen of each domain.
            time_gone: share of `minutes` that has passed: where it is ahead of the images, the rate
                follows it, so that a run which its clock will end does not end at full speed.
        """
        gone = self.gone(position, time_gone)
        rising = min(1.0, (gone + 1) / self.warmup_images) if self.warmup_images else 1.0
        left = 1 - min(gone / self.images, 1.0)
        falling = min(1.0, left / (1 - self.constant_until)) if self.constant_until < 1 else 1.0
        return rising * falling


class CodebookConfig(Frozen):
    """How the codebook follows the content and stays alive."""

    start_at: int = Field(
        default=0,
        ge=0,
        description=(
            "images of the schedule before the content is quantised; it starts from a batch"
        ),
    )
    decay: float = Field(default=0.98, gt=0, lt=1)
    restart_below: float = Field(
        default=0.03, ge=0, lt=1, description="restart codes used less than this share of uniform"
    )


class RunConfig(Frozen):
    """What both stages share."""

    recipe: str
    seed: Annotated[int, AfterValidator(seed_number)] = 0
    batch_size: int = Field(gt=0, description="images of each domain in a step, over all workers")
    precision: Precision = Field(
        default="auto", description="auto: bf16 where the processor has it, else float32"
    )
    max_corrupt: int = Field(
        default=16,
        ge=0,
        description="damaged images that a process may meet; others take their place",
    )
    max_nonfinite: int = Field(
        default=5,
        ge=0,
        description="steps in a row that may be left out because their loss is not finite",
    )
    optim: OptimConfig
    schedule: ScheduleConfig

    @model_validator(mode="after")
    def _check_best(self) -> Self:
        stage, best = getattr(self, "stage", ""), self.schedule.best
        if best and stage and best not in METRICS[stage]:
            near, known = meant(best, METRICS[stage]), " or ".join(METRICS[stage])
            remedy = (
                f"choose {known}" if known else "leave it empty, since nothing ranks its weights"
            )
            raise UserError(f"{stage} does not measure schedule.best={best}{near}: {remedy}")
        return self

    def dump(self) -> str:
        """The whole configuration as JSON."""
        return self.model_dump_json(indent=2)


class ImagesConfig(RunConfig):
    """What stages share that learn from images, against discriminators."""

    crop: int = Field(default=64, gt=0, description="side of the training crops in pixels")
    jitter: float = Field(
        default=0.0, ge=0, le=1, description="how far the colours of training images are varied"
    )
    order: OrderKind = Field(
        default="samples",
        description="blocks: what is stored together comes near each other, for slow storage",
    )
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    discriminator_optim: OptimConfig
    ema_decay: float = Field(
        default=0.995, ge=0, lt=1, description="moving average of the weights that the bundle holds"
    )

    @property
    @abstractmethod
    def domains(self) -> tuple[str, ...]:
        """Names of the domains, in the order of a batch's rows."""

    @property
    def is_paired(self) -> bool:
        """Whether the i-th images of all domains show the same thing."""
        return False


class Stage1Config(ImagesConfig):
    """Autoencoder and discriminators."""

    stage: Literal["stage1"] = "stage1"
    network: NetworkConfig
    game: GameConfig = GameConfig()
    pairing: Literal["unpaired", "paired"] = Field(
        default="unpaired", description="paired: the i-th images of all domains show the same thing"
    )
    weights: LossWeights = LossWeights()
    perceptual: PerceptualConfig = PerceptualConfig()
    patch_nce: PatchNCEConfig = PatchNCEConfig()
    codebook: CodebookConfig = CodebookConfig()
    recolor: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="how strongly colours are changed in what the content encoder sees",
    )
    accumulate: int = Field(
        default=1, gt=0, description="parts in which a worker takes its share of a batch"
    )
    recompute: bool = Field(
        default=False, description="save memory: compute activations again on the way back"
    )
    compile: bool = Field(
        default=False, description="torch.compile the autoencoder; pays on GPUs only"
    )

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains, in the order of a batch's rows."""
        return self.network.domains

    @property
    def is_paired(self) -> bool:
        """Whether the i-th images of all domains show the same thing."""
        return self.pairing == "paired"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.crop % self.network.stride:
            raise UserError(
                f"crop {self.crop} is not a multiple of the network's stride {self.network.stride}"
            )
        if (self.perceptual.kind == "none") != (self.weights.perceptual == 0):
            raise UserError(
                "set perceptual.kind and weights.perceptual together: one without the other does "
                "nothing"
            )
        for name, value, needed, reason in (
            (
                "codebook",
                self.weights.codebook,
                self.network.learns_codes,
                "a learned codebook",
            ),
            (
                "commitment",
                self.weights.commitment,
                self.network.quantizer != "fsq",
                "a quantizer other than fsq",
            ),
            ("cross_pixel", self.weights.cross_pixel, self.pairing == "paired", "pairing=paired"),
            ("style", self.weights.style, self.network.style_dim > 0, "network.style_dim above 0"),
        ):
            if value and not needed:
                raise UserError(f"weights.{name} does nothing without {reason}: set it to 0")
        if self.network.learns_codes and not self.weights.codebook:
            raise UserError(
                f"quantizer {self.network.quantizer} learns by weights.codebook alone: set it "
                "above 0"
            )
        return self


class Stage2Config(RunConfig):
    """The prior over tokens."""

    stage: Literal["stage2"] = "stage2"
    prior: PriorConfig = PriorConfig()
    variants: int = Field(
        default=2,
        gt=0,
        description="crops and mirror images of each picture that are turned into tokens",
    )
    crop: int | None = Field(
        default=None,
        gt=0,
        description="side in pixels of what is turned into tokens; more than a window is cut anew",
    )
    domain_dropout: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="masked prior: share of grids whose domain is not told, for guidance",
    )
    embeddings: Literal["random", "codebook"] = Field(
        default="random",
        description="how tokens begin: anywhere, or near those whose codes are near",
    )
    ema_decay: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="moving average of the weights that the bundle holds; 0 for none",
    )

    def crop_for(self, stride: int) -> int:
        """Side in pixels of what is turned into tokens: a window unless `crop` says more.

        Raises:
            UserError: a window does not fit into it, or it is no multiple of the stride.
        """
        window = max(self.prior.window) * stride
        crop = self.crop or window
        if crop < window or crop % stride:
            raise UserError(
                f"crop {crop} must be a multiple of the model's {stride} px per token and hold a "
                f"window of {window} px"
            )
        return crop
