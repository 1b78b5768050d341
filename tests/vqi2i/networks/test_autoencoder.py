"""One pass gives reconstructions and translations that are what they claim to be."""

from typing import Any, get_args

import pytest
import torch

from tests.conftest import TINY
from vqi2i.config import DiscriminatorConfig, LearnedQuantizer, NetworkConfig
from vqi2i.networks.autoencoder import Autoencoder
from vqi2i.networks.discriminator import Discriminator
from vqi2i.networks.domain_rows import merge, part


def network(**changes: Any) -> NetworkConfig:
    return NetworkConfig.model_validate(TINY.model_dump() | changes)


VARIANTS = [
    {},
    {"decoder": "per_domain"},
    {"adain": "bottleneck"},
    {"patch": 1, "attention_resolutions": (16,)},
    {"domains": ("spring", "summer", "winter"), "decoder": "per_domain"},
    {"style_dim": 0},
    {"style_dim": 0, "decoder": "per_domain", "adain": "bottleneck"},
    *({"quantizer": kind} for kind in get_args(LearnedQuantizer)),
    {"quantizer": "fsq", "fsq_levels": (4, 4), "codebook_size": 16, "embed_dim": 2},
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
        partner = slice(
            2 * ((number + 1) % len(config.domains)), 2 * ((number + 1) % len(config.domains)) + 2
        )
        style = model.encode_style(images[own], domain)
        for shown, content in ((views.reconstructions, own), (views.translations, partner)):
            codes = model.encode_content(images[content]).codes
            torch.testing.assert_close(
                shown[own], model.decode(codes, style, domain), atol=1e-4, rtol=1e-4
            )


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
@pytest.mark.parametrize("quantize", [True, False])
def test_contents_of_translations_are_compared_where_codes_lie(
    changes: dict[str, Any], quantize: bool
) -> None:
    model = Autoencoder(network(**changes))
    views = model(torch.rand(2 * len(model.config.domains), 3, 32, 32) * 2 - 1, quantize=quantize)
    read = model.codebook.bounded(model.content_encoder(views.translations))
    error = (read - views.quantized.codes.roll(-2, dims=0)).abs().mean()
    torch.testing.assert_close(views.content_error, error, atol=1e-5, rtol=1e-4)
    if "fsq_levels" in changes:
        assert views.quantized.codes.abs().max() <= 1  # before the codebook starts, too


def test_what_is_not_asked_for_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = Autoencoder(TINY), torch.rand(4, 3, 32, 32)
    calls: list[int] = []
    encode = model.content_encoder.with_features
    monkeypatch.setattr(
        model.content_encoder, "with_features", lambda x: calls.append(len(x)) or encode(x)
    )
    views = model(images, style_back=False, content_back=False)
    assert calls == [4]
    assert views.style_error is views.content_error is None
    assert views.translated_features == []
    model(images)
    assert calls == [4, 4, 4]


def test_recomputed_activations_give_the_same_gradients() -> None:
    torch.manual_seed(0)
    model, images = Autoencoder(TINY), torch.rand(4, 3, 32, 32)
    gradients = []
    for active in (False, True):
        model.recompute_activations(active)
        model.zero_grad()
        model(images).translations.square().mean().backward()
        gradients.append(
            {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        )
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


@pytest.mark.parametrize("quantizer", ["ema_restart", "vq"])
def test_regressions_move_what_comes_back_and_not_their_targets(quantizer: Any) -> None:
    """Equations (5) and (6): the style and content that a translation is to have are given."""
    torch.manual_seed(0)
    model, images = Autoencoder(network(quantizer=quantizer)), torch.rand(4, 3, 32, 32)
    views = model(images)
    shown = zip(TINY.domains, images.chunk(2), views.translations.chunk(2), strict=True)
    style = torch.cat(
        [
            model.encode_style(made, domain) - model.encode_style(own, domain).detach()
            for domain, own, made in shown
        ]
    )
    wanted = model.encode_content(images.roll(2, dims=0)).codes.detach()
    content = model.content_encoder(views.translations) - wanted
    parameters = list(model.parameters())
    for found, given in ((views.style_error, style), (views.content_error, content)):
        torch.testing.assert_close(found, given.abs().mean())
        both = (
            torch.autograd.grad(e, parameters, retain_graph=True, allow_unused=True)
            for e in (found, given.abs().mean())
        )
        for one, other in zip(*both, strict=True):
            assert (one is None) == (other is None)
            if one is not None and other is not None:
                torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-3)


def test_before_the_codebook_starts_content_passes_continuously() -> None:
    model = Autoencoder(TINY)
    views = model(torch.rand(4, 3, 32, 32), quantize=False)
    assert views.quantized.commitment is views.quantized.codebook is None
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
