"""A baseline as a stage: generators translate and fool discriminators."""

from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from baselines.networks import Generators
from baselines.translator import BaselineTranslator
from imaging.codec import Pixels
from training.checkpointing.data_state import DataState
from training.distributed.collectives import Collectives
from training.hardware import autocast
from training.stages.baselines.config import CUTConfig, CycleGANConfig
from training.stages.baselines.objectives import make_objective
from training.stages.baselines.previews import cycle_psnr, translation_grid
from training.stages.image_batches import ImageFeed
from training.stages.nan_guard import Guard
from training.stages.optimizer import OptimizedNetwork
from training.stages.rng import StepRandom
from vqi2i.networks.discriminator import Discriminator
from vqi2i.networks.domain_rows import merge, part
from vqi2i.networks.layers import channels_last
from vqi2i.objective.losses import Judged, discriminator_loss, fooling, weighted_sum


class Baseline:
    """Networks, optimisers and progress of a baseline: one object that is checkpointed whole."""

    def __init__(
        self,
        config: CycleGANConfig | CUTConfig,
        collectives: Collectives,
        feed: ImageFeed,
        provenance: Mapping[str, Any],
    ):
        self.config = config
        self.collectives = collectives
        self.feed = feed
        self.provenance = provenance
        self.position = 0  # images of each domain seen
        torch.manual_seed(config.seed)
        self.generators = channels_last(Generators(config.network).to(collectives.device))
        self.discriminator = channels_last(Discriminator(config.discriminator, config.domains))
        self.discriminator.to(collectives.device)
        self.objective = make_objective(config, self.generators).to(collectives.device)
        self.averaged = AveragedModel(
            self.generators, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay), use_buffers=False
        )
        self.players = {
            "generators": OptimizedNetwork(
                nn.ModuleList([self.generators, self.objective]), config.optim
            ),
            "discriminators": OptimizedNetwork(self.discriminator, config.discriminator_optim),
        }
        self.guard = Guard(collectives, config.max_nonfinite, feed.names)
        self._phase = collectives.stopwatch.phase

    def train_step(self, images: Tensor, time_gone: float = 0.0) -> dict[str, Tensor]:
        """Teach both players on one batch: each answers the other as it was before the step.

        Args:
            images: (n, 3, h, w) in [-1, 1], rows ordered domain by domain, equally many of each.
            time_gone: share of the schedule's minutes that has passed.

        Returns:
            Every term of the objective under its own name and the discriminators' loss; nothing if
            one of them was not finite and nothing was learned.

        Raises:
            DivergenceError: that happened too often in a row; the networks are as before.
        """
        for player in self.players.values():
            player.adam.zero_grad()
        terms = self._teach(images)
        with self._phase("optimiser"):
            verdict = self.guard.verdict(terms)
            self.collectives.exchange((player.network for player in self.players.values()), verdict)
            # Of the mean gradients, so that all workers clip and judge alike.
            norms = {f"gradients of the {n}": player.clip() for n, player in self.players.items()}
            if taken := self.guard.passes(verdict, terms, norms, self.position):
                rate = self.config.schedule.learning_rate_factor(self.position, time_gone)
                for player in self.players.values():
                    player.descend(rate)
                self.averaged.update_parameters(self.generators)
        # Also where the step was left out: the next batch is another one.
        self.position += self.config.batch_size
        return terms if taken else {}

    def _teach(self, images: Tensor) -> dict[str, Tensor]:
        """Both players' gradients; what they descend, by name."""
        config, domains = self.config, self.config.domains
        draws = StepRandom(
            self.collectives, "baseline", config.seed, self.position, num_domains=len(domains)
        )
        # The same for all images of a step: 1 where there are two domains.
        shift = draws.integer("shift", 1, len(domains))
        with autocast(self.collectives.device, config.precision):
            made = self.objective(self.generators, images, shift, draws.generator("patches"))
            # Detached: the discriminators' loss is not to teach the generators.
            shown = merge([images, made.translations.detach()], len(domains))
            real, *others = part(self.discriminator(shown), len(domains), 2)
            answer = discriminator_loss(real, Judged(*others), game=config.game, reconstructed=0.0)
        with self._phase("backward"):
            answer.backward()
        # Gradients pass through the discriminators to the images, and stop at their weights.
        self.discriminator.requires_grad_(False)
        with autocast(self.collectives.device, config.precision):
            fooled = fooling(self.discriminator(made.translations), config.game)
        self.discriminator.requires_grad_(True)
        terms = {"adversarial": fooled, **made.terms}
        with self._phase("backward"):
            weighted_sum(terms, config.weights.model_dump()).backward()
        terms["discriminator"] = answer
        return {name: term.detach().float() for name, term in terms.items()}

    @property
    def images_per_position(self) -> int:
        """Images read for each step of `position`."""
        return len(self.config.domains)

    def batches(self, start: int) -> Generator[Tensor, None, None]:
        """Endless training batches from position `start` on."""
        return self.feed.batches(start)

    def measure(self) -> dict[str, float]:
        """Held-out images there and back by the averaged weights, images replaced."""
        return {
            "held_out_cycle_psnr": cycle_psnr(self.translator(), self.feed.held_out()),
            "replaced_images": self.feed.replaced_anywhere(),
            "left_out_steps": float(self.guard.left_out),
            "learning_rate": self.players["generators"].learning_rate,
        }

    def samples(self) -> dict[str, Pixels]:
        """Held-out images and their translations by the averaged weights."""
        return {"translations": translation_grid(self.translator(), self.feed.held_out())}

    def translator(self, chosen_by: str = "") -> BaselineTranslator:
        """The averaged weights: what is shown, measured and exported; see `export`."""
        generators = self.averaged.module
        assert isinstance(generators, Generators)
        provenance = {**self.provenance, **self.feed.provenance(self.position, chosen_by)}
        return BaselineTranslator(generators, self.config.method, provenance)

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
        return {"position": self.position, **changing}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`, made by `state_dict` under the same configuration."""
        self.position = state["position"]
        for name, changing in self._changing().items():
            changing.load_state_dict(state[name])

    def _changing(self) -> dict[str, nn.Module | Adam | Guard]:
        players = {
            **{name: player.network for name, player in self.players.items()},
            **{f"{name}_adam": player.adam for name, player in self.players.items()},
        }
        return {**players, "averaged": self.averaged, "guard": self.guard}
