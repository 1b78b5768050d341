"""Stage 1: teach encoders, codebook and generators to rebuild, translate and fool the discriminators."""

import hashlib
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from imaging.codec import Pixels
from training.config import OptimConfig, PerceptualConfig, Stage1Config
from training.feed import ImageFeed
from training.snapshots import reconstruction_psnr, translation_grid
from training.worker import Worker
from vqi2i.autoencoder import Autoencoder, Views
from vqi2i.discriminator import Discriminator
from vqi2i.losses import discriminator_loss, generator_terms, weighted_sum
from vqi2i.perceptual import LPIPS, MultiScale
from vqi2i.quantizer import Usage
from vqi2i.style_prior import StylePrior
from vqi2i.translator import Translator


class DivergenceError(RuntimeError):
    """The objective is no longer a number; the message names the terms and the place."""


class Stage1:
    """Networks, optimisers and progress of stage 1: one object that is checkpointed whole."""

    def __init__(self, config: Stage1Config, worker: Worker, feed: ImageFeed, provenance: Mapping[str, Any]):
        self.config = config
        self.worker = worker
        self.feed = feed
        self.provenance = provenance
        self.position = 0  # images of each domain seen
        torch.manual_seed(config.seed)
        self.autoencoder = Autoencoder(config.network).to(worker.device)
        self.discriminator = Discriminator(config.discriminator, config.network.domains).to(worker.device)
        self.perceptual = _perceptual(config.perceptual, worker.device)
        average = get_ema_multi_avg_fn(config.ema_decay)
        self.averaged = AveragedModel(self.autoencoder, multi_avg_fn=average, use_buffers=False)
        self.generator_adam = _adam(self.autoencoder, config.optim)
        self.discriminator_adam = _adam(self.discriminator, config.discriminator_optim)
        self.code_counts = torch.zeros(config.network.codebook_size, device=worker.device)  # since the last report
        codebook = self.autoencoder.codebook
        codebook.decay, codebook.restart_below = config.codebook.decay, config.codebook.restart_below

    def train_step(self, images: Tensor) -> dict[str, Tensor]:
        """Teach the discriminators, then the generators, on one batch (paper, first stage).

        Args:
            images: (n, 3, h, w) in [-1, 1], rows ordered domain by domain, equally many of each.

        Returns:
            Every term of the objective under its own name, the discriminators' loss, restarted codes.

        Raises:
            DivergenceError: a term is not finite; the networks that would learn from it are as before.
        """
        config = self.config
        draws = self._draws()
        quantize = self.position >= config.codebook.start_at
        if quantize and self.position < config.codebook.start_at + config.batch_size:
            self._start_codebook(images, draws)
        shift = int(torch.randint(1, len(config.network.domains), (), generator=draws))
        with self._autocast():
            views = self.autoencoder(images, shift, quantize=quantize)

        metrics = {"discriminator": images.new_zeros(()), "restarted_codes": images.new_zeros(())}
        if self.position >= config.discriminator_from:
            metrics["discriminator"] = self._teach_discriminator(images, views)
        metrics |= self._teach_generator(images, views)
        if quantize:
            metrics["restarted_codes"] += self._move_codebook(views, draws)
        self.averaged.update_parameters(self.autoencoder)
        self.position += config.batch_size
        return {name: value.detach().float() for name, value in metrics.items()}

    def _teach_discriminator(self, images: Tensor, views: Views) -> Tensor:
        with self._autocast():
            loss = discriminator_loss(self.discriminator, images, views, self.config.discriminator_reconstruction)
        self._check_finite({"discriminator": loss})
        self._descend(self.discriminator, self.discriminator_adam, loss, self.config.discriminator_optim)
        return loss

    def _teach_generator(self, images: Tensor, views: Views) -> dict[str, Tensor]:
        adversary = self.discriminator if self.position >= self.config.adversarial_from else None
        self.discriminator.requires_grad_(False)
        with self._autocast():
            terms = generator_terms(views, images, adversary, self.perceptual)
        self.discriminator.requires_grad_(True)
        self._check_finite(terms)
        objective = weighted_sum(terms, self.config.weights.model_dump())
        self._descend(self.autoencoder, self.generator_adam, objective, self.config.optim)
        return terms

    def _check_finite(self, terms: Mapping[str, Tensor]) -> None:
        if torch.isfinite(torch.stack([term.float() for term in terms.values()])).all():
            return
        bad = ", ".join(name for name, term in terms.items() if not torch.isfinite(term))
        raise DivergenceError(f"{bad} not finite after {self.position} images: lower optim.learning_rate")

    def _descend(self, module: nn.Module, adam: Adam, loss: Tensor, optim: OptimConfig) -> None:
        adam.zero_grad()
        loss.backward()
        self.worker.average_gradients(module)
        nn.utils.clip_grad_norm_(module.parameters(), optim.clip_norm)
        for group in adam.param_groups:
            group["lr"] = optim.learning_rate * self.config.schedule.learning_rate_factor(self.position)
        adam.step()

    def _start_codebook(self, images: Tensor, draws: torch.Generator) -> None:
        with torch.no_grad(), self._autocast():
            content = self.autoencoder.content_encoder(images)
        self.autoencoder.codebook.start_from(self.worker.gather(_rows(content)), draws)

    def _move_codebook(self, views: Views, draws: torch.Generator) -> int:
        codebook = self.autoencoder.codebook
        vectors = _rows(views.content)
        counts, sums = codebook.assignments(vectors, views.quantized.tokens)
        self.worker.sum(counts, sums)
        self.code_counts += counts
        return codebook.update(counts, sums, self.worker.gather(vectors), draws)

    def _draws(self) -> torch.Generator:
        """This step's random draws: the same on every worker, a function of seed and position alone."""
        digest = hashlib.blake2b(f"stage1/{self.config.seed}/{self.position}".encode(), digest_size=8).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.worker.device.type, torch.bfloat16, enabled=self.config.precision == "bf16")

    @property
    def images_per_position(self) -> int:
        """Images read for each step of `position`."""
        return len(self.config.network.domains)

    def batches(self, start: int) -> Generator[Tensor, None, None]:
        """Endless training batches from position `start` on."""
        return self.feed.batches(start)

    def measure(self) -> dict[str, float]:
        """Codes used since the last call; held-out reconstruction with the averaged weights."""
        usage = Usage.of(self.code_counts)
        self.code_counts.zero_()
        return {
            "codes_used": usage.used,
            "perplexity": usage.perplexity,
            "held_out_psnr": reconstruction_psnr(self._preview(), self.feed.held_out()),
            "learning_rate": self.generator_adam.param_groups[0]["lr"],
        }

    def samples(self) -> dict[str, Pixels]:
        """Held-out images, reconstructions and translations by the averaged weights."""
        return {"translations": translation_grid(self._preview(), self.feed.held_out())}

    @property
    def model(self) -> Autoencoder:
        """The averaged weights: what is shown, measured and exported."""
        assert isinstance(self.averaged.module, Autoencoder)
        return self.averaged.module

    def _preview(self) -> Translator:
        """The averaged weights without a style prior, which takes time to fit."""
        return Translator(self.model, StylePrior({}))

    def translator(self) -> Translator:
        """The averaged weights and a style prior fitted on training images."""
        model = self.model.eval()
        with torch.no_grad():
            styles = {
                d: model.encode_style(self.feed.styled(d).to(self.worker.device), d)
                for d in self.config.network.domains
            }
        provenance = {**self.provenance, "images_seen": self.position}
        return Translator(model, StylePrior(styles).to(self.worker.device), provenance=provenance)

    def export(self, path: Path) -> None:
        """Write the bundle of the averaged weights."""
        self.translator().save(path)

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes during training."""
        return {"position": self.position, **{name: part.state_dict() for name, part in self._parts().items()},
                "code_counts": self.code_counts}  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`, made by `state_dict` under the same configuration."""
        self.position = state["position"]
        self.code_counts.copy_(state["code_counts"])
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parts(self) -> dict[str, nn.Module | Adam]:
        return {"autoencoder": self.autoencoder, "averaged": self.averaged, "discriminator": self.discriminator,
                "generator_adam": self.generator_adam, "discriminator_adam": self.discriminator_adam}  # fmt: skip


def _adam(module: nn.Module, optim: OptimConfig) -> Adam:
    return Adam(module.parameters(), optim.learning_rate, optim.betas, weight_decay=optim.weight_decay, fused=True)


def _rows(content: Tensor) -> Tensor:
    """Content maps (b, d, h, w) as vectors (b * h * w, d)."""
    return content.detach().float().permute(0, 2, 3, 1).flatten(0, 2)


def _perceptual(config: PerceptualConfig, device: torch.device) -> nn.Module | None:
    if config.kind == "none":
        return None
    if config.kind == "multiscale":
        return MultiScale().to(device)
    assert config.vgg is not None
    assert config.heads is not None
    return LPIPS(config.vgg, config.heads).to(device)
