"""Named runs: functions of the data's domains that return a full configuration."""

from collections.abc import Callable, Sequence

from errors import UserError
from training.config import (
    CodebookConfig,
    GameConfig,
    LossWeights,
    OptimConfig,
    PatchNCEConfig,
    PerceptualConfig,
    ScheduleConfig,
    Stage1Config,
    Stage2Config,
)
from training.stages.baselines.config import CUTConfig, CycleGANConfig
from training.stages.baselines.recipes import BASELINES
from vqi2i.checking.typed import meant
from vqi2i.config import DiscriminatorConfig, NetworkConfig, PriorConfig


def stage1_laptop64(domains: Sequence[str]) -> Stage1Config:
    """64 px in minutes on two cores of any kind: a shared generator, style at every level, one
    token for 4x4 px.

    Made for float32 on AVX2, .45 s per step of 4 + 4 images: narrow, no reconstructions for the
    discriminators, and PatchNCE on 64 patches (docs/LOG.md).
    """
    return Stage1Config(
        recipe="laptop64",
        batch_size=4,
        crop=64,
        network=NetworkConfig(
            domains=tuple(domains),
            resolution=64,
            base_channels=32,
            num_res_blocks=1,
            num_style_blocks=2,
            style_channels=16,
        ),
        optim=OptimConfig(learning_rate=1e-3),
        discriminator=DiscriminatorConfig(num_layers=2, norm="none"),
        discriminator_optim=OptimConfig(learning_rate=1e-3),
        schedule=ScheduleConfig(
            images=10_000,
            minutes=9,
            warmup_images=250,
            log_every=1000,
            sample_every=4000,
            save_every=2000,
            save_seconds=5,
            best="held_out_psnr",
        ),
        weights=LossWeights(
            pixel=5,
            perceptual=2.5,
            commitment=2,
            adversarial=0.3,
            adversarial_reconstruction=0,
            style=1,
            content=0.5,
            patch_nce=1,
            total_variation=1,
        ),
        recolor=1,
        perceptual=PerceptualConfig(kind="multiscale"),
        patch_nce=PatchNCEConfig(num_patches=64),
        codebook=CodebookConfig(start_at=300),
        game=GameConfig(discriminator_from=500, generator_from=750, reconstructed=0),
    )


def stage1_paper64(domains: Sequence[str]) -> Stage1Config:
    """The paper's networks and objective at the size and the pace of `laptop64`: what the two
    differ by is the method.

    Its codes learn by gradients, style enters at the bottleneck alone, and each domain has a
    generator and a discriminator of its own. The learning rates are the laptop's: at the paper's
    1e-5 nothing is learned in minutes.
    """
    ours, published = stage1_laptop64(domains), stage1_paper256(domains)
    network = ours.network.model_copy(
        update={"quantizer": "vq", "decoder": "per_domain", "adain": "bottleneck"}
    )
    return ours.model_copy(
        update={
            "recipe": "paper64",
            "network": network,
            "discriminator": ours.discriminator.model_copy(update={"trunk": "per_domain"}),
            "weights": published.weights,
            "recolor": 0.0,
            "game": published.game,
            "patch_nce": published.patch_nce,
            "codebook": published.codebook,
        }
    )


def stage1_paper256(domains: Sequence[str]) -> Stage1Config:
    """The method as published, at the published sizes, with the release's defects repaired; needs a
    GPU.

    Both regressions count (weights of the authors' history) and beta weighs the commitment, as in
    the paper. The perceptual term needs no download; `perceptual.kind=lpips` brings the release's.
    """
    return Stage1Config(
        recipe="paper256",
        batch_size=1,
        crop=256,
        network=_paper_network(domains),
        discriminator=DiscriminatorConfig(
            base_channels=64, num_layers=3, norm="instance", trunk="per_domain"
        ),
        optim=OptimConfig(learning_rate=1e-5, betas=(0.5, 0.999)),
        discriminator_optim=OptimConfig(learning_rate=1e-5, betas=(0.5, 0.999)),
        schedule=ScheduleConfig(
            images=1_231_000,
            constant_until=1,
            log_every=1000,
            sample_every=20_000,
            save_every=20_000,
            save_seconds=300,
            best="held_out_psnr",
        ),
        weights=LossWeights(
            pixel=5,
            perceptual=5,
            commitment=0.25,
            codebook=1,
            adversarial=0.1,
            adversarial_reconstruction=0.02,
            style=1.0,
            content=0.2,
        ),
        perceptual=PerceptualConfig(kind="multiscale"),
        ema_decay=0.999,
    )


def stage1_reference256(domains: Sequence[str]) -> Stage1Config:
    """The released code's objective, for comparisons: no regressions, beta on the codebook term, no
    perceptual term.

    The release's own perceptual term is LPIPS: `--set perceptual.kind=lpips --set
    weights.perceptual=5` and the files.
    """
    published = stage1_paper256(domains)
    weights = published.weights.model_copy(
        update={
            "perceptual": 0.0,
            "commitment": 1.0,
            "codebook": 0.25,
            "style": 0.0,
            "content": 0.0,
        }
    )
    return published.model_copy(
        update={
            "recipe": "reference256",
            "weights": weights,
            "perceptual": PerceptualConfig(),
            "precision": "float32",
        }
    )


def stage1_plus256(domains: Sequence[str]) -> Stage1Config:
    """What we would train at 256 px: a codebook that stays alive, one generator for all domains, a
    fair game.
    """
    published = stage1_paper256(domains)
    network = published.network.model_copy(
        update={
            "quantizer": "ema_restart",
            "embed_dim": 64,
            "decoder": "shared",
            "adain": "every_level",
        }
    )
    return published.model_copy(
        update={
            "recipe": "plus256",
            "batch_size": 8,
            "network": network,
            "discriminator": published.discriminator.model_copy(update={"trunk": "shared"}),
            "optim": OptimConfig(learning_rate=1e-4),
            "discriminator_optim": OptimConfig(learning_rate=2e-4),
            "game": GameConfig(
                discriminator_from=1000,
                generator_from=2000,
                r1=1.0,
                augment=("translation", "cutout"),
            ),
            "weights": published.weights.model_copy(update={"commitment": 1.0, "codebook": 0.0}),
            "schedule": published.schedule.model_copy(
                update={"images": 400_000, "warmup_images": 4000, "constant_until": 0.6}
            ),
            "codebook": CodebookConfig(start_at=500),
        }
    )


def _paper_network(domains: Sequence[str]) -> NetworkConfig:
    """The networks of the paper for Yosemite; attention where features are 16x16."""
    return NetworkConfig(
        domains=tuple(domains),
        resolution=256,
        patch=1,
        base_channels=128,
        channel_multipliers=(1, 1, 2, 2, 4),
        num_res_blocks=2,
        attention_resolutions=(16,),
        z_channels=256,
        embed_dim=512,
        codebook_size=512,
        quantizer="vq",
        style_channels=64,
        num_style_blocks=4,
        decoder="per_domain",
        adain="bottleneck",
    )


def stage2_laptop64(domains: Sequence[str]) -> Stage2Config:
    """A small transformer over 16x16 tokens: two minutes on two cores."""
    return Stage2Config(
        recipe="laptop64",
        batch_size=8,
        prior=PriorConfig(num_layers=4, num_heads=4, width=128, dropout=0.1, window=(16, 16)),
        optim=OptimConfig(learning_rate=1e-3, betas=(0.9, 0.95), weight_decay=0.01, clip_norm=1.0),
        schedule=ScheduleConfig(
            images=6400,
            minutes=2,
            warmup_images=400,
            log_every=1600,
            sample_every=6400,
            save_every=3200,
            save_seconds=5,
            best="held_out_nll",
        ),
    )


def stage2_plus64(domains: Sequence[str]) -> Stage2Config:
    """As laptop64, with distances in both directions, a look at the neighbours and what the
    codebook knows of codes.

    Fewer bits at equal size, also because it bears twice the learning rate.
    """
    small = stage2_laptop64(domains)
    prior = small.prior.model_copy(update={"positions": "rotary", "local": True})
    optim = small.optim.model_copy(update={"learning_rate": 2e-3})
    return small.model_copy(
        update={"recipe": "plus64", "prior": prior, "optim": optim, "embeddings": "codebook"}
    )


def stage2_masked64(domains: Sequence[str]) -> Stage2Config:
    """As plus64, but for any mask, all four sides and few steps: every token from any others."""
    plus = stage2_plus64(domains)
    prior = plus.prior.model_copy(update={"kind": "masked"})
    optim = plus.optim.model_copy(update={"learning_rate": 4e-3})
    return plus.model_copy(update={"recipe": "masked64", "prior": prior, "optim": optim})


def stage2_plus256(domains: Sequence[str]) -> Stage2Config:
    """The published size for any mask, all four sides and few steps; windows are cut out of larger
    crops if there are.

    Needs a GPU.
    """
    published = stage2_paper256(domains)
    prior = published.prior.model_copy(
        update={"kind": "masked", "positions": "rotary", "local": True}
    )
    return published.model_copy(
        update={"recipe": "plus256", "prior": prior, "embeddings": "codebook", "ema_decay": 0.999}
    )


def stage2_paper256(domains: Sequence[str]) -> Stage2Config:
    """The published transformer: 24 layers, 16 heads, 512 wide, over 16x16 tokens."""
    return Stage2Config(
        recipe="paper256",
        batch_size=8,
        variants=4,
        prior=PriorConfig(num_layers=24, num_heads=16, width=512, dropout=0.1, window=(16, 16)),
        optim=OptimConfig(learning_rate=3e-4, betas=(0.9, 0.95), weight_decay=0.01, clip_norm=1.0),
        schedule=ScheduleConfig(
            images=300_000,
            warmup_images=4000,
            log_every=4000,
            sample_every=40_000,
            save_every=20_000,
            save_seconds=300,
            best="held_out_nll",
        ),
    )


STAGE1: dict[str, Callable[[Sequence[str]], Stage1Config]] = {
    "laptop64": stage1_laptop64,
    "paper64": stage1_paper64,
    "paper256": stage1_paper256,
    "reference256": stage1_reference256,
    "plus256": stage1_plus256,
}
STAGE2: dict[str, Callable[[Sequence[str]], Stage2Config]] = {
    "laptop64": stage2_laptop64,
    "plus64": stage2_plus64,
    "masked64": stage2_masked64,
    "paper256": stage2_paper256,
    "plus256": stage2_plus256,
}


def recipe(
    stage: str, name: str, domains: Sequence[str]
) -> Stage1Config | Stage2Config | CycleGANConfig | CUTConfig:
    """The configuration of a named run for data of these domains.

    Raises:
        UserError: there is no such recipe (the message lists those there are), or fewer than two
            domains.
    """
    table = {"stage1": STAGE1, "stage2": STAGE2, "baseline": BASELINES}[stage]
    if name not in table:
        raise UserError(
            f"there is no {stage} recipe {name!r}{meant(name, table)}: choose one of "
            f"{', '.join(table)}"
        )
    if len(domains) < 2:
        raise UserError(
            f"the data hold {', '.join(domains)} alone: translation needs two domains or more"
        )
    return table[name](domains)
