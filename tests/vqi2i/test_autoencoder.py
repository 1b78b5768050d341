"""One pass gives reconstructions and translations that are what they claim to be."""

from typing import Any

import pytest
import torch

from tests.conftest import TINY
from vqi2i.autoencoder import Autoencoder
from vqi2i.config import DiscriminatorConfig, NetworkConfig
from vqi2i.discriminator import Discriminator
from vqi2i.losses import discriminator_loss, generator_terms, weighted_sum
from vqi2i.rows import merge, part


def network(**changes: Any) -> NetworkConfig:
    return NetworkConfig.model_validate(TINY.model_dump() | changes)


VARIANTS = [
    {},
    {"decoder": "per_domain"},
    {"adain": "bottleneck"},
    {"patch": 1, "attention_resolutions": (16,)},
    {"domains": ("spring", "summer", "winter"), "decoder": "per_domain"},
]


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_translations_join_the_partners_content_with_the_own_style(changes: dict[str, Any]) -> None:
    config = network(**changes)
    torch.manual_seed(0)
    model = Autoencoder(config).eval()
    images = torch.rand(2 * len(config.domains), 3, 32, 32) * 2 - 1
    views = model(images)
    for number, domain in enumerate(config.domains):
        own = slice(2 * number, 2 * number + 2)
        partner = slice(2 * ((number + 1) % len(config.domains)), 2 * ((number + 1) % len(config.domains)) + 2)
        style = model.encode_style(images[own], domain)
        for shown, content in ((views.reconstructions, own), (views.translations, partner)):
            codes = model.encode_content(images[content]).codes
            torch.testing.assert_close(shown[own], model.decode(codes, style, domain), atol=1e-4, rtol=1e-4)


def test_before_the_codebook_starts_content_passes_continuously() -> None:
    model = Autoencoder(TINY)
    views = model(torch.rand(4, 3, 32, 32), quantize=False)
    assert views.quantized.commitment == 0
    assert torch.equal(views.quantized.codes, views.content)


def test_batches_are_joined_and_parted_domain_by_domain() -> None:
    a, b = torch.arange(6), torch.arange(6) + 10
    joined = merge([a, b], 3)
    assert joined.tolist() == [0, 1, 10, 11, 2, 3, 12, 13, 4, 5, 14, 15]
    assert [group.tolist() for group in part(joined, 3, 2)] == [a.tolist(), b.tolist()]


@pytest.mark.parametrize("trunk", ["shared", "per_domain"])
@pytest.mark.parametrize("norm", ["none", "instance"])
def test_every_domain_has_its_own_discriminator(trunk: Any, norm: Any) -> None:
    judge = Discriminator(DiscriminatorConfig(base_channels=4, trunk=trunk, norm=norm), ("a", "b"))
    images = torch.rand(2, 3, 32, 32)
    first = judge(torch.cat([images, images]))
    assert first.shape[:2] == (4, 1)
    assert not torch.allclose(first[:2], first[2:])


def test_a_term_without_weight_or_a_weight_without_term_raises() -> None:
    terms = {"pixel": torch.ones(()), "style": torch.ones(())}
    assert weighted_sum(terms, {"pixel": 2.0, "style": 0.5}) == 2.5
    with pytest.raises(ValueError, match=r"without weight \['style'\]"):
        weighted_sum(terms, {"pixel": 1.0})
    with pytest.raises(ValueError, match=r"without term \['content'\]"):
        weighted_sum(terms, {"pixel": 1.0, "style": 1.0, "content": 1.0})


def test_the_hinge_loss_counts_real_translated_and_reconstructed_patches() -> None:
    class Judge(Discriminator):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean(dim=(1, 2, 3), keepdim=True)

    judge = Judge(DiscriminatorConfig(base_channels=4), ("a", "b"))
    views = Autoencoder(TINY)(torch.rand(4, 3, 32, 32))
    views = views._replace(
        translations=torch.full((4, 3, 32, 32), 0.5), reconstructions=torch.full((4, 3, 32, 32), -2.0)
    )
    loss = discriminator_loss(judge, torch.full((4, 3, 32, 32), 0.25), views, 0.2)
    torch.testing.assert_close(loss, torch.tensor(0.5 * (1.2 * 0.75 + 1.5 + 0.2 * 0.0)))


def test_terms_are_measured_on_the_right_pictures() -> None:
    images = torch.rand(4, 3, 32, 32)
    views = Autoencoder(TINY)(images)
    terms = generator_terms(views, images, None, None)
    torch.testing.assert_close(terms["pixel"], (views.reconstructions - images).abs().mean())
    assert terms["adversarial"] == terms["perceptual"] == 0
    judged = generator_terms(views, images, Discriminator(DiscriminatorConfig(base_channels=4), TINY.domains), None)
    assert judged["adversarial"] != 0
