"""Pairs per second of one optimisation step at the paper's size, against a step with the release's
pass counts.

Both teach the same networks on the same pair, batch 1, with the LPIPS of random weights. The
release's step makes 10 content encodes, 6 decodes, 8 style encodes and 12 VGG passes in float32 on
contiguous tensors, one image at a time; its regressions are computed but take no part in the
objective. Ours makes 4 content encodes and 4 decodes, both regressions counting, in bfloat16,
channels last, domains together. The release's step is measured twice: as PyTorch runs it, and with
the allocator's settings of our training.

    python benchmarks/train_step.py [--steps 2] [--resolution 256] [--batch 1]
"""

import argparse
import copy
import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import torch
from torch import Tensor

from training.config import PerceptualConfig, Stage1Config, WeightFile
from training.distributed.worker import LocalWorker
from training.hardware import keep_freed_memory
from training.recipes import stage1_paper256
from training.stages.stage1 import Stage1
from vqi2i.objective.losses import Judged, discriminator_loss, fooling
from vqi2i.objective.perceptual import VGG_WIDTHS

Network = TypeVar("Network", bound=torch.nn.Module)
DOMAINS: tuple[str, ...] = ("a", "b")


def main() -> None:
    """Measure both steps in turn and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--steps", type=int, default=2, help="measured steps of each kind, after two to warm up"
    )
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument(
        "--batch", type=int, default=1, help="pairs in our step; the release's is always 1"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stage = build_stage(random_lpips(Path(folder)), options.resolution, options.batch)
    side = options.resolution
    pairs = torch.rand(2 * options.batch, 3, side, side, device=stage.collectives.device) * 2 - 1
    released = ReleasedStep(stage, pairs[:: options.batch])
    theirs = seconds(released, options.steps)
    keep_freed_memory()  # as our training does, and the release does not
    theirs_kept = seconds(released, options.steps)
    ours = seconds(
        lambda: stage.train_step(pairs.contiguous(memory_format=torch.channels_last)), options.steps
    )
    ours_per_pair = ours / options.batch
    device = (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else platform.processor() or platform.machine()
    )
    print(
        json.dumps(
            {
                "benchmark": "train_step",
                "speedup": round(theirs / ours_per_pair, 2),
                "speedup_same_allocator": round(theirs_kept / ours_per_pair, 2),
                "seconds_per_pair": round(ours_per_pair, 3),
                "seconds_per_pair_released": round(theirs, 3),
                "seconds_per_pair_released_same_allocator": round(theirs_kept, 3),
                "resolution": side,
                "batch": options.batch,
                "steps": options.steps,
                "threads": torch.get_num_threads(),
                "device": device,
                "torch": torch.__version__,
            }
        )
    )


def build_stage(perceptual: PerceptualConfig, resolution: int, batch: int) -> Stage1:
    """The paper's networks and objective with LPIPS, in the form we train them."""
    config: Stage1Config = stage1_paper256(DOMAINS).model_copy(
        update={"perceptual": perceptual, "crop": resolution, "batch_size": batch}
    )
    nothing: Any = None  # a step writes no checkpoint and reports to nobody
    feed: Any = SimpleNamespace(epoch=1)  # and reads no data
    return Stage1(config, LocalWorker(nothing, nothing), feed, {})


def random_lpips(folder: Path) -> PerceptualConfig:
    """Weight files of the right layout; speed does not depend on the numbers."""
    vgg, channels, index = {}, 3, 0
    for stage in VGG_WIDTHS:
        for width in stage:
            vgg[f"features.{index}.weight"] = (
                torch.randn(width, channels, 3, 3) * (2 / (9 * channels)) ** 0.5
            )
            vgg[f"features.{index}.bias"] = torch.zeros(width)
            channels, index = width, index + 2
        index += 1
    heads = {
        f"lin{i}.model.1.weight": torch.rand(1, widths[-1], 1, 1)
        for i, widths in enumerate(VGG_WIDTHS)
    }
    torch.save(vgg, folder / "vgg.pth")
    torch.save(heads, folder / "heads.pth")
    return PerceptualConfig(
        kind="lpips",
        vgg=WeightFile(source=str(folder / "vgg.pth")),
        heads=WeightFile(source=str(folder / "heads.pth")),
    )


class ReleasedStep:
    """One optimisation step on one pair with the passes that the release makes."""

    def __init__(self, stage: Stage1, pair: Tensor):
        self.model, self.judge = contiguous(stage.autoencoder), contiguous(stage.discriminator)
        self.perceptual = stage.adversaries.perceptual
        self.adams = [
            torch.optim.Adam(module.parameters(), 1e-5, (0.5, 0.999))
            for module in (self.model, self.judge)
        ]
        self.images = dict(zip(DOMAINS, pair.contiguous().split(1), strict=True))

    def __call__(self) -> None:
        """Both domains' generator graphs, the discriminators' step, the generators' step."""
        made = {
            domain: self.generate(domain, other)
            for domain, other in zip(DOMAINS, DOMAINS[::-1], strict=True)
        }
        self.watch(made)
        self.step(self.adams[1], [self.discriminator_objective(d, *made[d][:2]) for d in DOMAINS])
        self.step(self.adams[0], [self.generator_objective(d, *made[d]) for d in DOMAINS])

    def generate(self, domain: str, other: str) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruction, translation and quantiser loss of one domain: 2 content encodes, 2
        styles, 2 decodes.
        """
        model = self.model
        own, partner = (model.encode_content(self.images[d]) for d in (domain, other))
        styles = [model.encode_style(self.images[domain], domain) for _ in range(2)]
        reconstruction, translation = (
            model.decode(codes, style, domain)
            for codes, style in zip((own.codes, partner.codes), styles, strict=True)
        )
        assert own.commitment is not None
        assert own.codebook is not None
        return reconstruction, translation, own.commitment + 0.25 * own.codebook

    def watch(self, made: dict[str, tuple[Tensor, Tensor, Tensor]]) -> None:
        """What is computed for the log alone: 6 content encodes, 4 styles, 2 decodes."""
        for domain in DOMAINS:
            _, translation, _ = made[domain]
            self.model.encode_style(translation, domain)
            style = self.model.encode_style(self.images[domain], domain)
            for images in (translation, self.images[domain], self.images[domain]):
                codes = self.model.encode_content(images).codes
            self.model.decode(codes, style, domain)

    def perceive(self, images: Tensor, domain: str) -> Tensor:
        """LPIPS to the real image: 2 VGG passes."""
        assert self.perceptual is not None
        return self.perceptual(images, self.images[domain])

    def discriminator_objective(
        self, domain: str, reconstruction: Tensor, translation: Tensor
    ) -> Tensor:
        """Hinge loss; the release runs its whole loss here, with 2 evaluations of LPIPS that
        nothing uses.
        """
        real, *fakes = (
            self.judged(x, domain)
            for x in (self.images[domain], translation.detach(), reconstruction.detach())
        )
        for image in (reconstruction, translation):
            self.perceive(image, domain)
        return discriminator_loss(real, Judged(*fakes), game="hinge")

    def generator_objective(
        self, domain: str, reconstruction: Tensor, translation: Tensor, quantiser: Tensor
    ) -> Tensor:
        """The released objective of one domain."""
        pixel = (reconstruction - self.images[domain]).abs().mean()
        fooled = [fooling(self.judged(x, domain), "hinge") for x in (translation, reconstruction)]
        return (
            5 * (pixel + self.perceive(reconstruction, domain))
            + 0.1 * (fooled[0] + 0.2 * fooled[1])
            + quantiser
        )

    def judged(self, images: Tensor, domain: str) -> Tensor:
        """Logits of one domain's discriminator."""
        return self.judge.heads[domain](self.judge.trunks[domain](images))

    def step(self, adam: torch.optim.Adam, objectives: list[Tensor]) -> None:
        """Descend; as in the release, whatever else has gradients collects them in vain."""
        adam.zero_grad()
        torch.stack(objectives).sum().backward(retain_graph=adam is self.adams[1])
        adam.step()


def contiguous(network: Network) -> Network:
    """A copy with the layout that PyTorch gives by default."""
    copied = copy.deepcopy(network)
    for parameter in copied.parameters():
        parameter.data = parameter.data.contiguous()
    return copied


def seconds(step: Callable[[], Any], steps: int) -> float:
    """Mean time of a step after two that warm up: the first one makes the optimiser's state."""
    step()
    step()
    _wait()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    _wait()
    return (time.perf_counter() - start) / steps


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
