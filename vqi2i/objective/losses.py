"""The objective of stage 1: named terms, and the two sides of the adversarial game."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqi2i.networks.autoencoder import Views
from vqi2i.networks.discriminator import Discriminator

Game = Literal["hinge", "non_saturating"]


class Judged(NamedTuple):
    """Logits of the discriminators for what the generators made."""

    translated: Tensor  # (n, 1, h, w)
    reconstructed: Tensor | None = None  # None where nothing asks for them


def generator_terms(
    views: Views,
    images: Tensor,
    *,
    judged: Judged | None = None,
    game: Game = "hinge",
    perceptual: nn.Module | None = None,
    contrast: Tensor | None = None,
    truth: Tensor | None = None,
) -> dict[str, Tensor | None]:
    """Every term of the generators' objective, unweighted; None if it is not computed.

    Each is a mean over all images and elements.

    The release sums its objective over the domains: for two of them, twice the weighted sum of
    these.

    Args:
        views: what the autoencoder made of `images`.
        images: the real images (n, 3, h, w), rows ordered domain by domain.
        judged: the discriminators' opinion, their parameters frozen; None while they are not heard.
        game: which loss they play by.
        perceptual: distance of reconstructions to images; None leaves the term out.
        contrast: the PatchNCE loss; None leaves the term out.
        truth: for paired images, the continuous content (n, d, h, w) of each image's partner.
    """
    return {
        "pixel": F.l1_loss(views.reconstructions, images),  # eq. (7)
        "perceptual": perceptual(views.reconstructions, images) if perceptual is not None else None,
        "commitment": views.quantized.commitment,  # eq. (2)
        "codebook": views.quantized.codebook,  # eq. (2)
        "adversarial": fooling(judged.translated, game) if judged else None,
        "adversarial_reconstruction": (
            fooling(judged.reconstructed, game)
            if judged and judged.reconstructed is not None
            else None
        ),
        "style": views.style_error,  # eq. (5)
        # eq. (6); between the two images of a pair, the same content must be read from both.
        "content": views.content_error if truth is None else F.l1_loss(views.content, truth),
        "cross_pixel": None if truth is None else F.l1_loss(views.translations, images),
        "patch_nce": contrast,
        "total_variation": total_variation(views.translations),
    }


def total_variation(images: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels, down and across (Rudin et al., 1992).

    Nothing else in the objective looks at single pixels of a translation, and small discriminators
    miss fine noise.
    """
    return images.diff(dim=2).abs().mean() + images.diff(dim=3).abs().mean()


def weighted_sum(terms: Mapping[str, Tensor | None], weights: Mapping[str, float]) -> Tensor:
    """The objective of what is computed.

    No term can be computed and forgotten, and no weight can be set in vain.

    Raises:
        ValueError: terms and weights do not have the same names.
    """
    if terms.keys() != weights.keys():
        raise ValueError(
            "loss terms and weights differ: without weight "
            f"{sorted(terms.keys() - weights.keys())}, "
            f"without term {sorted(weights.keys() - terms.keys())}"
        )
    return torch.stack(
        [weights[name] * term.float() for name, term in terms.items() if term is not None]
    ).sum()


def fooling(logits: Tensor, game: Game) -> Tensor:
    """What the generators pay for images that the discriminators take for generated."""
    # -log sigmoid(x) = softplus(-x): the non-saturating loss (Goodfellow et al., 2014)
    return -logits.mean() if game == "hinge" else F.softplus(-logits).mean()


def discriminator_loss(
    real: Tensor, judged: Judged, *, game: Game, translated: float = 1.0, reconstructed: float = 0.2
) -> Tensor:
    """Tell real patches (logits `real`) from translated and reconstructed ones, by weight."""
    # relu(1 - real) and relu(1 + made), or softplus(-real) and softplus(made)
    margin = F.relu if game == "hinge" else F.softplus
    one = 1.0 if game == "hinge" else 0.0
    # t h(translated) + r h(reconstructed), h(f) = 0.5 (relu(1 - D(real)) + relu(1 + D(f))).
    loss = (translated + reconstructed) * margin(one - real).mean() + translated * margin(
        one + judged.translated
    ).mean()
    if judged.reconstructed is not None:
        loss = loss + reconstructed * margin(one + judged.reconstructed).mean()
    return 0.5 * loss


def gradient_penalty(discriminator: Discriminator, images: Tensor) -> Tensor:
    """R1 (Mescheder et al., 2018) at real images (n, 3, h, w).

    The mean over images of the squared norm of the gradient of their mean logit.
    """
    images = images.detach().float().requires_grad_(True)
    with torch.autocast(images.device.type, enabled=False):
        logits = discriminator(images).mean(dim=(1, 2, 3))
    # A logit depends on its own image alone, so one pass for the sum gives each image's gradient.
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()
