"""The terms of the objective, and the two sides of the game."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from tests.conftest import TINY
from vqi2i.config import DiscriminatorConfig
from vqi2i.networks.autoencoder import Autoencoder
from vqi2i.networks.discriminator import Discriminator
from vqi2i.objective.diff_augment import NUM_DRAWS, Augmentation, augment
from vqi2i.objective.losses import (
    Game,
    Judged,
    discriminator_loss,
    fooling,
    generator_terms,
    gradient_penalty,
    total_variation,
    weighted_sum,
)
from vqi2i.objective.patch_nce import PatchNCE


def softplus(value: float) -> float:
    return math.log1p(math.exp(value))


def test_a_term_without_weight_or_a_weight_without_term_raises() -> None:
    terms = {"pixel": torch.ones(()), "style": torch.ones(())}
    assert weighted_sum(terms, {"pixel": 2.0, "style": 0.5}) == 2.5
    assert weighted_sum({**terms, "style": None}, {"pixel": 2.0, "style": 0.5}) == 2
    with pytest.raises(ValueError, match=r"without weight \['style'\]"):
        weighted_sum(terms, {"pixel": 1.0})
    with pytest.raises(ValueError, match=r"without term \['content'\]"):
        weighted_sum(terms, {"pixel": 1.0, "style": 1.0, "content": 1.0})


@pytest.mark.parametrize(
    ("game", "wanted"), [("hinge", 0.5 * (1.2 * 0.75 + 1.5 + 0.2 * 0.0)), ("non_saturating", None)]
)
def test_discriminators_weigh_real_translated_and_reconstructed_patches(
    game: Game, wanted: float | None
) -> None:
    real, judged = (
        torch.full((4, 1, 3, 3), 0.25),
        Judged(torch.full((4, 1, 3, 3), 0.5), torch.full((4, 1, 3, 3), -2.0)),
    )
    if wanted is None:
        wanted = 0.5 * (1.2 * softplus(-0.25) + softplus(0.5) + 0.2 * softplus(-2.0))
    torch.testing.assert_close(discriminator_loss(real, judged, game=game), torch.tensor(wanted))


def test_terms_are_measured_on_the_right_pictures() -> None:
    images = torch.rand(4, 3, 32, 32)
    views = Autoencoder(TINY)(images)
    terms = generator_terms(views, images)
    torch.testing.assert_close(terms["pixel"], (views.reconstructions - images).abs().mean())
    assert (
        terms["adversarial"]
        is terms["perceptual"]
        is terms["cross_pixel"]
        is terms["patch_nce"]
        is None
    )
    judged = generator_terms(
        views, images, judged=Judged(torch.full((4, 1, 3, 3), 2.0), torch.zeros(4, 1, 3, 3))
    )
    assert judged["adversarial"] == -2
    assert judged["adversarial_reconstruction"] == 0


def test_where_no_reconstructions_are_judged_only_translations_count() -> None:
    real, translated = torch.full((4, 1, 3, 3), 0.25), torch.full((4, 1, 3, 3), 0.5)
    loss = discriminator_loss(
        real, Judged(translated), game="hinge", translated=1.0, reconstructed=0.0
    )
    torch.testing.assert_close(loss, torch.tensor(0.5 * (0.75 + 1.5)))
    images = torch.rand(4, 3, 32, 32)
    terms = generator_terms(Autoencoder(TINY)(images), images, judged=Judged(translated))
    # not computed
    assert (terms["adversarial"], terms["adversarial_reconstruction"]) == (
        -0.5,
        None,
    )


def test_paired_images_are_compared_with_their_truth() -> None:
    images = torch.rand(4, 3, 32, 32)
    views = Autoencoder(TINY)(images)
    partners = views.content.roll(-2, dims=0)
    terms = generator_terms(views, images, truth=partners)
    torch.testing.assert_close(terms["cross_pixel"], (views.translations - images).abs().mean())
    torch.testing.assert_close(terms["content"], (views.content - partners).abs().mean())


def test_total_variation_counts_steps_between_neighbours() -> None:
    images = torch.zeros(1, 3, 4, 4)
    images[..., 2:] = 1.0  # one step in each row of three differences
    torch.testing.assert_close(total_variation(images), torch.tensor(1 / 3))
    terms = generator_terms(Autoencoder(TINY)(torch.rand(4, 3, 32, 32)), torch.rand(4, 3, 32, 32))
    assert terms["total_variation"] > 0


@pytest.mark.parametrize("game", ["hinge", "non_saturating"])
def test_generators_pay_less_for_images_that_look_real(game: Game) -> None:
    assert fooling(torch.tensor([2.0]), game) < fooling(torch.tensor([-2.0]), game)


def test_the_gradient_penalty_is_the_squared_slope_at_real_images() -> None:
    class Slope(Discriminator):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.steepness * images.sum(dim=(1, 2, 3), keepdim=True)

    judge = Slope(DiscriminatorConfig(base_channels=4), TINY.domains)
    judge.steepness = nn.Parameter(torch.tensor(0.5))
    penalty = gradient_penalty(judge, torch.rand(4, 3, 8, 8))
    torch.testing.assert_close(penalty, torch.tensor(0.25 * 3 * 64))
    penalty.backward()
    torch.testing.assert_close(judge.steepness.grad, torch.tensor(2 * 0.5 * 3 * 64))


POLICIES: list[tuple[Augmentation, ...]] = [
    ("color",),
    ("translation",),
    ("cutout",),
    ("color", "translation", "cutout"),
]


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_augmentation_follows_its_draws_and_lets_gradients_through(
    policy: tuple[Augmentation, ...],
) -> None:
    images = torch.rand(3, 3, 16, 16, requires_grad=True)
    draws = torch.rand(3, NUM_DRAWS)
    shown = augment(images, draws, policy)
    assert shown.shape == images.shape
    assert not torch.equal(shown, images)
    assert torch.equal(augment(images, draws, policy), shown)
    # rows do not disturb each other
    torch.testing.assert_close(augment(images[1:2], draws[1:2], policy), shown[1:2])
    shown.sum().backward()
    assert images.grad is not None
    assert images.grad.any()


def test_translation_moves_pixels_by_whole_steps() -> None:
    images = torch.arange(64.0).reshape(1, 1, 8, 8).expand(1, 3, 8, 8)
    draws = torch.zeros(1, NUM_DRAWS)
    draws[:, 3], draws[:, 4] = 0.99, 0.5  # one row up, no column
    moved = augment(images, draws, ["translation"])
    assert torch.equal(moved[:, :, :-1], images[:, :, 1:])
    assert not moved[:, :, -1].any()


def test_no_policy_leaves_images_alone() -> None:
    images = torch.rand(2, 3, 8, 8)
    assert augment(images, torch.rand(2, NUM_DRAWS), ()) is images


def features(*shapes: Any) -> list[torch.Tensor]:
    return [torch.randn(shape) for shape in shapes]


def test_patches_that_match_their_source_cost_less() -> None:
    torch.manual_seed(0)
    contrast = PatchNCE((8, 4), num_patches=16, width=8)
    keys = features((2, 8, 6, 6), (2, 4, 3, 3))
    others = features((2, 8, 6, 6), (2, 4, 3, 3))

    def loss(queries: list[torch.Tensor]) -> torch.Tensor:
        return contrast(queries, keys, torch.Generator().manual_seed(0))

    assert loss(keys) < loss(others)
    assert loss([key.roll(1, dims=3) for key in keys]) > loss(keys)


def test_patch_nce_is_the_cross_entropy_of_cosines_at_drawn_places() -> None:
    torch.manual_seed(0)
    contrast = PatchNCE((8, 4), num_patches=16, temperature=0.2, width=8)
    queries = features((2, 8, 6, 6), (2, 4, 3, 3))
    keys = features((2, 8, 6, 6), (2, 4, 3, 3))
    generator, wanted = torch.Generator().manual_seed(5), []
    for head, query, key in zip(contrast.heads, queries, keys, strict=True):
        places = torch.randperm(query[0, 0].numel(), generator=generator)[:16]
        for row in range(2):
            # (places, width)
            found, sought = (head(x[row].flatten(1)[:, places].T) for x in (query, key))
            cosines = torch.cosine_similarity(found[:, None], sought[None], dim=-1)
            wanted.append(-(cosines / 0.2).log_softmax(1).diagonal().mean())
    found = contrast(queries, keys, torch.Generator().manual_seed(5))
    torch.testing.assert_close(found, torch.stack(wanted).mean())


def test_patch_nce_has_the_published_settings() -> None:
    contrast = PatchNCE((8,))
    assert (contrast.num_patches, contrast.temperature) == (256, 0.07)
    assert [tuple(p.shape) for p in contrast.parameters()] == [(256, 8), (256,), (256, 256), (256,)]


def test_patch_nce_trains_its_heads_and_the_translation_but_not_the_source() -> None:
    contrast = PatchNCE((8,), num_patches=16, width=8)
    (query,), (key,) = features((2, 8, 6, 6)), features((2, 8, 6, 6))
    query.requires_grad_()
    key.requires_grad_()
    contrast([query], [key], torch.Generator()).backward()
    assert query.grad is not None
    assert key.grad is None
    assert all(parameter.grad is not None for parameter in contrast.parameters())
