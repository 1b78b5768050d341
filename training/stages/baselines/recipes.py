"""Named runs of the baselines: the budget, the data and the discriminators of `laptop64`."""

from collections.abc import Callable, Sequence
from typing import Any

from baselines.config import GeneratorConfig
from training.config import OptimConfig, PatchNCEConfig, ScheduleConfig
from training.stages.baselines.config import CUTConfig, CycleGANConfig
from vqi2i.config import DiscriminatorConfig


def cyclegan64(domains: Sequence[str]) -> CycleGANConfig:
    """CycleGAN at 64 px on two cores: published weights and rates, no pool of old images."""
    return CycleGANConfig(recipe="cyclegan64", **_shared(domains))


def cut64(domains: Sequence[str]) -> CUTConfig:
    """CUT at 64 px on two cores: published weights and rates."""
    return CUTConfig(recipe="cut64", patch_nce=PatchNCEConfig(num_patches=64), **_shared(domains))


def _shared(domains: Sequence[str]) -> dict[str, Any]:
    adam = OptimConfig(learning_rate=2e-4, betas=(0.5, 0.999))
    return {
        "batch_size": 4,
        "crop": 64,
        "network": GeneratorConfig(domains=tuple(domains)),
        "optim": adam,
        "discriminator": DiscriminatorConfig(num_layers=2, norm="none"),
        "discriminator_optim": adam,
        "schedule": ScheduleConfig(
            images=10_000,
            minutes=9,
            warmup_images=250,
            log_every=1000,
            sample_every=4000,
            save_every=2000,
            save_seconds=5,
        ),
    }


BASELINES: dict[str, Callable[[Sequence[str]], CycleGANConfig | CUTConfig]] = {
    "cyclegan64": cyclegan64,
    "cut64": cut64,
}
