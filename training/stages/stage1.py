"""Stage 1: encoders, codebook and generators rebuild, translate and fool discriminators."""

from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from imaging.codec import Pixels
from training.checkpointing.data_state import DataState
from training.config import PerceptualConfig, Stage1Config
from training.distributed.collectives import Collectives
from training.hardware import autocast
from training.stages.adversarial import Adversaries, Loss, Shown
from training.stages.codebook_sync import Assigned, RollingUsage, SharedCodebook
from training.stages.image_batches import ImageFeed
from training.stages.nan_guard import Guard
from training.stages.optimizer import OptimizedNetwork
from training.stages.previews import reconstruction_psnr, translation_grid, usage_picture
from training.stages.rng import StepRandom
from training.stages.weight_files import fetch
from vqi2i.networks.autoencoder import Autoencoder, Views
from vqi2i.networks.discriminator import Discriminator
from vqi2i.networks.domain_rows import places_of_parts, put_back
from vqi2i.networks.layers import channels_last
from vqi2i.networks.quantizers import EmaCodebook
from vqi2i.objective import diff_augment
from vqi2i.objective.patch_nce import PatchNCE
from vqi2i.objective.perceptual import LPIPS, MultiScale
from vqi2i.objective.recolor import NUM_DRAWS, recolor
from vqi2i.priors.style_prior import StylePrior
from vqi2i.translator import Translator


class Stage1:
    """Networks, optimisers and progress of stage 1: one object that is checkpointed whole."""

    def __init__(
        self,
        config: Stage1Config,
        collectives: Collectives,
        feed: ImageFeed,
        provenance: Mapping[str, Any],
    ):
        self.config = config
        self.collectives = collectives
        self.feed = feed
        self.provenance = provenance
        self.position = 0  # images of each domain seen
        self._quantizes = False  # whether the codebook has begun
        torch.manual_seed(config.seed)
        self.autoencoder = channels_last(Autoencoder(config.network).to(collectives.device))
        self.autoencoder.recompute_activations(config.recompute)
        self.discriminator = channels_last(
            Discriminator(config.discriminator, config.network.domains)
        )
        self.discriminator.to(collectives.device)
        perceptual = _perceptual(config.perceptual, collectives.device)
        self.patch_nce = _patch_nce(config, self.autoencoder).to(collectives.device)
        self.adversaries = Adversaries(
            config, self.discriminator, perceptual, self.patch_nce, collectives.device
        )
        # Averages weights; buffers are copied, among them the codebook of moving averages.
        self.averaged = AveragedModel(
            self.autoencoder, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay), use_buffers=False
        )
        self.generators = OptimizedNetwork(
            nn.ModuleList([self.autoencoder, self.patch_nce]), config.optim
        )
        self.discriminators = OptimizedNetwork(self.discriminator, config.discriminator_optim)
        self.usage = RollingUsage(config.network.codebook_size, window=feed.epoch)
        self.codebook = SharedCodebook(
            self.autoencoder.codebook, collectives, len(config.network.domains), self.usage
        )
        if isinstance(codebook := self.autoencoder.codebook, EmaCodebook):
            codebook.decay, codebook.restart_below = (
                config.codebook.decay,
                config.codebook.restart_below,
            )
        self.guard = Guard(collectives, config.max_nonfinite, feed.names)
        self._phase = collectives.stopwatch.phase
        self._pass = torch.compile(self.autoencoder) if config.compile else self.autoencoder

    def train_step(self, images: Tensor, time_gone: float = 0.0) -> dict[str, Tensor]:
        """Teach both players on one batch: each answers the other as it was before the step.

        Args:
            images: (n, 3, h, w) in [-1, 1], rows ordered domain by domain, equally many of each.
            time_gone: share of the schedule's minutes that has passed.

        Returns:
            Every term of the objective that was computed under its own name, the discriminators'
            loss, restarted codes; nothing if one of them was not finite and nothing was learned.

        Raises:
            DivergenceError: that happened too often in a row; the networks are as before.
        """
        config = self.config
        gone = config.schedule.gone(self.position, time_gone)
        if not self._quantizes and gone >= config.codebook.start_at:
            self._start_codebook(images)
        draws = self._draws()
        self.generators.adam.zero_grad()
        self.discriminators.adam.zero_grad()
        # The same for all images of a step: 1 where there are two domains.
        shift = draws.integer("shift", 1, len(config.network.domains))
        augmentation = draws.uniform("augmentation", 5, len(images), diff_augment.NUM_DRAWS)
        recolored = self._recolored(images, draws)
        metrics: list[dict[str, Tensor]] = []
        content, tokens = [], []
        parts = self._parts(len(images))
        # Terms are means over rows, and so are those of the batch.
        shares = [len(rows) / len(images) for rows in parts]
        for rows, share in zip(parts, shares, strict=True):
            some = images[rows].contiguous(memory_format=torch.channels_last)
            views = self._look(some, shift, None if recolored is None else recolored[rows])
            metrics.append(
                self._teach(Shown(some, views, shift, augmentation[:, rows]), share, gone)
            )
            content.append(views.content.detach())
            tokens.append(views.quantized.tokens)
        means = {
            name: torch.stack(
                [share * terms[name] for share, terms in zip(shares, metrics, strict=True)]
            ).sum()
            for name in metrics[0]
        }
        with self._phase("optimiser"):
            players = self._players(gone)
            # Everything that workers have to tell each other is known before they meet, once.
            assigned = self._assigned(put_back(content, parts), put_back(tokens, parts))
            verdict = self.guard.verdict(means)
            self.collectives.exchange(
                (player.network for player in players.values()), verdict, *(assigned or ())
            )
            # Of the mean gradients, so that all workers clip and judge alike.
            norms = {f"gradients of the {name}": player.clip() for name, player in players.items()}
            if taken := self.guard.passes(verdict, means, norms, self.position):
                rate = config.schedule.learning_rate_factor(self.position, time_gone)
                for player in players.values():
                    player.descend(rate)
                if assigned is not None:
                    means["restarted_codes"] = images.new_tensor(self._move_codebook(assigned))
                # Behind the codebook: its newest vectors are copied.
                self.averaged.update_parameters(self.autoencoder)
        # Also where the step was left out: the next batch is another one.
        self.position += config.batch_size
        return means if taken else {}

    def _recolored(self, images: Tensor, draws: StepRandom) -> Tensor | None:
        """The images as the content encoder sees them; colours of label maps are content."""
        if not self.config.recolor:
            return None
        domains = self.config.network.domains
        recolored = recolor(
            images, draws.uniform("recolor", 1, len(images), NUM_DRAWS)[0], self.config.recolor
        )
        shown = zip(domains, images.chunk(len(domains)), recolored.chunk(len(domains)), strict=True)
        return torch.cat(
            [own if domain in self.feed.labels else other for domain, own, other in shown]
        )

    def _look(self, images: Tensor, shift: int, recolored: Tensor | None) -> Views:
        """What the autoencoder makes of images; what no weight asks for is not computed."""
        weights, paired = self.config.weights, self.config.pairing == "paired"
        with self._autocast():
            return self._pass(
                images,
                shift,
                quantize=self._quantizes,
                style_back=weights.style > 0,
                # PatchNCE needs the features on the way; pairs compare their own two contents.
                content_back=weights.patch_nce > 0 or (weights.content > 0 and not paired),
                recolored=recolored,
            )

    def _teach(self, shown: Shown, share: float, gone: float) -> dict[str, Tensor]:
        """Add to both players' gradients what a part of a batch, a share of it, contributes."""
        game, terms = self.config.game, dict[str, Tensor]()
        if gone >= game.discriminator_from:
            # By the position, so that a resumed run penalises the same steps.
            penalised = game.r1 > 0 and self.position // self.config.batch_size % game.r1_every == 0
            terms |= self._descend(
                self.adversaries.discriminators(shown, penalised=penalised), share
            )
        # A fresh stream for each part: all parts compare the same patches, as one batch would.
        patches, heard = self._draws().generator("patches"), gone >= game.generator_from
        return terms | self._descend(
            self.adversaries.generators(shown, patches, heard=heard), share
        )

    def _descend(self, loss: Loss, share: float) -> dict[str, Tensor]:
        with self._phase("backward"):
            (share * loss.total).backward()
        return loss.terms

    def _players(self, gone: float) -> dict[str, OptimizedNetwork]:
        """Who learns from this step."""
        if gone < self.config.game.discriminator_from:
            return {"generators": self.generators}
        return {"generators": self.generators, "discriminators": self.discriminators}

    def _start_codebook(self, images: Tensor) -> None:
        with torch.no_grad(), self._autocast():
            parts = self._parts(len(images))
            content = put_back(
                [self.autoencoder.content_encoder(images[rows]) for rows in parts], parts
            )
        self.codebook.start_from(content, self._draws().generator("codebook"))
        self._quantizes = True

    def _assigned(self, content: Tensor, tokens: Tensor) -> Assigned | None:
        return self.codebook.assigned(content, tokens) if self._quantizes else None

    def _move_codebook(self, assigned: Assigned) -> int:
        return self.codebook.follow(assigned, self.position, self._draws().generator("codebook"))

    def _parts(self, rows: int) -> list[Tensor]:
        """Indices of so many rows in the parts that are taken one after the other."""
        config = self.config
        return places_of_parts(
            rows, len(config.network.domains), config.accumulate, self.collectives.device
        )

    def _draws(self) -> StepRandom:
        domains = self.config.network.domains
        return StepRandom(
            self.collectives, "stage1", self.config.seed, self.position, num_domains=len(domains)
        )

    def _autocast(self) -> torch.autocast:
        return autocast(self.collectives.device, self.config.precision)

    @property
    def images_per_position(self) -> int:
        """Images read for each step of `position`."""
        return len(self.config.network.domains)

    def batches(self, start: int) -> Generator[Tensor, None, None]:
        """Endless training batches from position `start` on."""
        return self.feed.batches(start)

    def measure(self) -> dict[str, float]:
        """Use of the codes, images replaced, held-out reconstruction by the averaged weights."""
        return {
            **self.usage.figures(),
            "held_out_psnr": reconstruction_psnr(self._preview(), self.feed.held_out()),
            "replaced_images": self.feed.replaced_anywhere(),
            "left_out_steps": float(self.guard.left_out),
            "learning_rate": self.generators.learning_rate,
        }

    def samples(self) -> dict[str, Pixels]:
        """Held-out images, reconstructions, translations by averaged weights; use of the codes."""
        return {
            "translations": translation_grid(self._preview(), self.feed.held_out()),
            "codes": usage_picture(self.usage.history()),
        }

    @property
    def model(self) -> Autoencoder:
        """The averaged weights: what is shown, measured and exported."""
        assert isinstance(self.averaged.module, Autoencoder)
        return self.averaged.module

    def _preview(self) -> Translator:
        """The averaged weights without a style prior, which takes time to fit."""
        return Translator(self.model, StylePrior({}))

    def translator(self, chosen_by: str = "") -> Translator:
        """The averaged weights and a style prior fitted on training images; see `export`."""
        provenance = {**self.provenance, **self.feed.provenance(self.position, chosen_by)}
        translator = Translator(self.model, StylePrior({}), provenance=provenance)
        translator.fit_styles(
            {domain: self.feed.styled(domain) for domain in self.config.network.domains}
        )
        return translator

    def export(self, path: Path, chosen_by: str = "") -> None:
        """Write the bundle of the averaged weights.

        Args:
            path: where.
            chosen_by: the figure by which they are the best; empty: they are the last.
        """
        self.translator(chosen_by).save(path)

    def data_state(self) -> DataState:
        """Which images come next."""
        return self.feed.state(self.position)

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes during training."""
        changing = {name: each.state_dict() for name, each in self._changing().items()}
        return {"position": self.position, "quantizes": self._quantizes, **changing}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`, made by `state_dict` under the same configuration."""
        self.position = state["position"]
        # Checkpoints of before the codebook could begin by the clock do not say so.
        self._quantizes = state.get("quantizes", self.position > self.config.codebook.start_at)
        for name, changing in self._changing().items():
            changing.load_state_dict(state[name])

    def _changing(self) -> dict[str, nn.Module | Adam | RollingUsage | Guard]:
        return {
            "generators": self.generators.network,
            "averaged": self.averaged,
            "discriminator": self.discriminator,
            "generator_adam": self.generators.adam,
            "discriminator_adam": self.discriminators.adam,
            "usage": self.usage,
            "guard": self.guard,
        }


def _patch_nce(config: Stage1Config, autoencoder: Autoencoder) -> PatchNCE:
    """Heads for every feature map of the content encoder; none where the loss has no weight."""
    channels = autoencoder.content_encoder.feature_channels if config.weights.patch_nce else ()
    settings = config.patch_nce
    return PatchNCE(channels, num_patches=settings.num_patches, temperature=settings.temperature)


def _perceptual(config: PerceptualConfig, device: torch.device) -> nn.Module | None:
    if config.kind == "none":
        return None
    if config.kind == "multiscale":
        return MultiScale().to(device)
    return LPIPS(fetch(config.vgg), fetch(config.heads)).to(device)
