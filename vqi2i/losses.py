"""The objective of stage 1: named terms, and the discriminators' hinge loss."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqi2i.autoencoder import Views
from vqi2i.discriminator import Discriminator
from vqi2i.rows import merge, part


def generator_terms(
    views: Views, images: Tensor, discriminator: Discriminator | None, perceptual: nn.Module | None
) -> dict[str, Tensor]:
    """Every term of the generators' objective, unweighted.

    Args:
        views: what the autoencoder made of `images`.
        images: the real images (n, 3, h, w), rows ordered domain by domain.
        discriminator: answers per patch, its parameters frozen; None while it is not trained yet.
        perceptual: distance of reconstructions to images; None leaves the term at zero.
    """
    zero = images.new_zeros(())
    translated, reconstructed = zero, zero
    if discriminator is not None:
        num_domains = len(discriminator.domains)
        logits = discriminator(merge([views.translations, views.reconstructions], num_domains))
        translated, reconstructed = part(logits, num_domains, 2)
    return {
        "pixel": F.l1_loss(views.reconstructions, images),  # (7)
        "perceptual": perceptual(views.reconstructions, images) if perceptual is not None else zero,
        "commitment": views.quantized.commitment,  # (2)
        "adversarial": -translated.mean(),
        "adversarial_reconstruction": -reconstructed.mean(),
        "style": views.style_error,  # (5)
        "content": views.content_error,  # (6)
    }


def weighted_sum(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """The objective; no term can be computed and forgotten, and no weight can be set in vain.

    Raises:
        ValueError: terms and weights do not have the same names.
    """
    if terms.keys() != weights.keys():
        raise ValueError(
            f"loss terms and weights differ: without weight {sorted(terms.keys() - weights.keys())}, "
            f"without term {sorted(weights.keys() - terms.keys())}"
        )
    return torch.stack([weights[name] * term.float() for name, term in terms.items()]).sum()


def discriminator_loss(
    discriminator: Discriminator, images: Tensor, views: Views, reconstruction_weight: float
) -> Tensor:
    """Hinge loss: real patches above 1, translated and (weighted) reconstructed ones below -1."""
    num_domains = len(discriminator.domains)
    fakes = [views.translations.detach(), views.reconstructions.detach()]
    real, translated, reconstructed = part(discriminator(merge([images, *fakes], num_domains)), num_domains, 3)
    on_real = F.relu(1 - real).mean()
    on_translated, on_reconstructed = (F.relu(1 + fake).mean() for fake in (translated, reconstructed))
    weight = 1 + reconstruction_weight
    return 0.5 * (weight * on_real + on_translated + reconstruction_weight * on_reconstructed)
