"""The losses of both players on a part of a batch.

Each answers the other as it was before the step.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.config import Stage1Config
from training.hardware import autocast
from vqi2i.networks.autoencoder import Views
from vqi2i.networks.discriminator import Discriminator
from vqi2i.networks.domain_rows import merge, part, partners
from vqi2i.objective.diff_augment import augment
from vqi2i.objective.losses import (
    Judged,
    discriminator_loss,
    generator_terms,
    gradient_penalty,
    weighted_sum,
)
from vqi2i.objective.patch_nce import PatchNCE


class Shown(NamedTuple):
    """A part of a batch and what the autoencoder makes of it."""

    images: Tensor  # (n, 3, h, w), rows ordered domain by domain
    views: Views
    shift: int  # domains from each image's own to the one that it is translated to
    # (5, n, NUM_DRAWS) draws: of three groups for the discriminators, of two for the generators
    augmentation: Tensor


class Loss(NamedTuple):
    """What a player descends."""

    total: Tensor  # with a gradient
    terms: dict[str, Tensor]  # without; by the names of their weights and metrics


class Adversaries:
    """Discriminators against encoders, codebook and generators.

    Args:
        config: weights and rules.
        discriminator: of all domains.
        perceptual: distance of images, if one is asked for.
        patch_nce: heads of the contrastive term.
        device: where all of them are.
    """

    def __init__(
        self,
        config: Stage1Config,
        discriminator: Discriminator,
        perceptual: nn.Module | None,
        patch_nce: PatchNCE,
        device: torch.device,
    ):
        self.discriminator = discriminator
        self.perceptual = perceptual
        self.patch_nce = patch_nce
        self._config = config
        self._device = device

    def discriminators(self, shown: Shown, *, penalised: bool) -> Loss:
        """What the discriminators descend: the adversarial loss on real and made images.

        Args:
            shown: a part of a batch.
            penalised: whether the gradient penalty on real images (R1) is due.
        """
        game = self._config.game
        with self._autocast():
            # Detached: the discriminators' loss is not to teach the generators.
            made = (picture.detach() for picture in _made(shown.views, game.reconstructed))
            judged = [shown.images, *made]
            real, *others = self._judge(judged, shown.augmentation[: len(judged)])
            weights = {"translated": game.translated, "reconstructed": game.reconstructed}
            loss = discriminator_loss(real, Judged(*others), game=game.loss, **weights)
        terms = {"discriminator": loss.detach().float()}
        if penalised:
            penalty = gradient_penalty(self.discriminator, shown.images)
            # r1 / 2 |grad D|^2 (Mescheder et al., 2018), as heavy as the steps that it stands for.
            loss = loss + 0.5 * game.r1 * game.r1_every * penalty
            terms["gradient_penalty"] = penalty.detach()
        return Loss(loss, terms)

    def generators(self, shown: Shown, patches: torch.Generator, *, heard: bool) -> Loss:
        """What encoders, codebook and generators descend.

        Eq. (2), (5), (6), (7) of the paper, the adversarial terms, and what `laptop64` adds.

        Args:
            shown: a part of a batch.
            patches: draws those that are compared.
            heard: whether the discriminators' answers count yet.
        """
        config, views = self._config, shown.views
        # Gradients pass through the discriminators to the images, and stop at their weights.
        self.discriminator.requires_grad_(False)
        with self._autocast():
            made = _made(views, config.weights.adversarial_reconstruction)
            # The first three groups were the discriminators'.
            draws = shown.augmentation[3 : 3 + len(made)]
            terms = generator_terms(
                views,
                shown.images,
                judged=Judged(*self._judge(made, draws)) if heard else None,
                game=config.game.loss,
                perceptual=self.perceptual,
                contrast=self._contrast(views, shown.shift, patches),
                truth=self._truth(views, shown.shift),
            )
        self.discriminator.requires_grad_(True)
        total = weighted_sum(terms, config.weights.model_dump())
        named = {name: term.detach().float() for name, term in terms.items() if term is not None}
        return Loss(total, named)

    def _judge(self, groups: list[Tensor], draws: Tensor) -> list[Tensor]:
        """Logits of equally large groups in one pass, each image augmented by its own draws."""
        domains = self._num_domains
        shown = augment(
            merge(groups, domains), merge(list(draws), domains), self._config.game.augment
        )
        return part(self.discriminator(shown), domains, len(groups))

    def _contrast(self, views: Views, shift: int, patches: torch.Generator) -> Tensor | None:
        if not self._config.weights.patch_nce:
            return None
        # Translation i has the content of the image `shift` domains on: that is its source.
        sources = [partners(features, self._num_domains, shift) for features in views.features]
        return self.patch_nce(views.translated_features, sources, patches)

    def _truth(self, views: Views, shift: int) -> Tensor | None:
        if self._config.pairing == "unpaired":
            return None
        return partners(views.content, self._num_domains, shift)

    @property
    def _num_domains(self) -> int:
        return len(self._config.network.domains)

    def _autocast(self) -> torch.autocast:
        return autocast(self._device, self._config.precision)


def _made(views: Views, reconstructed: float) -> list[Tensor]:
    """What is judged: translations, and reconstructions if they have a weight."""
    return [views.translations, views.reconstructions] if reconstructed else [views.translations]
