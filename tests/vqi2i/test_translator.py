"""The public object: any size in, the same size out, the same seed gives the same pixels."""

import pytest
import torch

from tests.conftest import TINY, untrained
from vqi2i import Translator
from vqi2i.networks.autoencoder import Autoencoder
from vqi2i.networks.batching import CallLimits
from vqi2i.priors.style_prior import StylePrior


@pytest.fixture(scope="module")
def translator() -> Translator:
    return untrained()


def images(count: int = 2, height: int = 32, width: int = 32) -> torch.Tensor:
    return (
        torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(height * width))
        * 2
        - 1
    )


def close(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Equal up to rounding."""
    return torch.allclose(first, second, atol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (5, 70), (1, 1)])
def test_a_translation_has_the_size_of_its_image(
    translator: Translator, height: int, width: int
) -> None:
    shown = translator.translate(images(2, height, width), source="summer", target="winter")
    assert shown.shape == (2, 3, height, width)
    assert shown.abs().max() <= 1


def test_an_exemplars_style_and_a_sampled_one_differ(translator: Translator) -> None:
    style = translator.encode(images(1, 40, 40), "winter").style
    batch = images()
    by_example = translator.translate(batch, source="summer", target="winter", style=style)
    sampled = translator.translate(batch, source="summer", target="winter", seed=3)
    assert not close(by_example, sampled)
    assert not close(sampled, translator.translate(batch, source="summer", target="winter", seed=4))
    assert close(sampled, translator.translate(batch, source="summer", target="winter", seed=3))


def test_a_seed_gives_the_same_pixels_in_any_company(translator: Translator) -> None:
    batch = images(6)
    together = translator.translate(
        batch, source="summer", target="winter", seed=[7, 8, 9, 4, 5, 6]
    )
    for row, seed in ((1, 8), (5, 6)):
        alone = translator.translate(
            batch[row : row + 1], source="summer", target="winter", seed=seed
        )
        assert torch.equal(together[row : row + 1], alone)
    made = translator.generate(6, domain="winter", seed=10)
    assert torch.equal(made[5:], translator.generate(1, domain="winter", seed=15))
    wide = translator.extend(batch, domain="summer", right=16, seed=3)
    assert torch.equal(wide[4:5], translator.extend(batch[4:5], domain="summer", right=16, seed=7))


def test_a_canvas_above_the_limit_is_decoded_in_tiles_without_a_seam(
    translator: Translator,
) -> None:
    small = untrained()
    small.limits = CallLimits(tile_pixels=96 * 96)
    batch = images(1, 200, 150)
    whole = translator.translate(batch, source="summer", target="winter", seed=1)
    tiled = small.translate(batch, source="summer", target="winter", seed=1)
    assert not torch.equal(whole, tiled)
    assert (whole - tiled).abs().mean() < 0.005 * whole.std()


def test_large_pictures_run_alone_and_give_the_same_pixels(translator: Translator) -> None:
    sizes: list[int] = []
    small = untrained()
    small.limits = CallLimits(rows=4, pixels=32 * 32)
    encode = small.autoencoder.encode_content
    small.autoencoder.encode_content = lambda images: sizes.append(len(images)) or encode(images)
    batch = images(3)
    shown = small.translate(batch, source="summer", target="winter", seed=1)
    assert sizes == [1, 1, 1]
    assert close(shown, translator.translate(batch, source="summer", target="winter", seed=1))


@pytest.mark.parametrize(("left", "right"), [(0, 16), (16, 0), (7, 9), (40, 3)])
@pytest.mark.parametrize("width", [32, 30])
def test_an_extension_adds_what_was_asked(
    translator: Translator, left: int, right: int, width: int
) -> None:
    wide = translator.extend(images(2, 32, width), domain="summer", left=left, right=right, seed=1)
    assert wide.shape == (2, 3, 32, left + width + right)


def test_an_extension_can_be_shown_in_another_domain(translator: Translator) -> None:
    batch = images(1)
    own = translator.extend(batch, domain="summer", right=16, seed=2)
    assert not close(
        own, translator.extend(batch, domain="summer", right=16, target="winter", seed=2)
    )


def test_completion_does_not_look_at_what_is_masked(translator: Translator) -> None:
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[:16] = True
    batch = images(1)
    spoilt = torch.where(mask, batch, torch.rand_like(batch))
    assert close(
        translator.complete(batch, mask=mask, domain="summer", seed=1),
        translator.complete(spoilt, mask=mask, domain="summer", seed=1),
    )


def test_a_mask_must_fit_and_leave_work(translator: Translator) -> None:
    with pytest.raises(ValueError, match="same size"):
        translator.complete(images(1), mask=torch.ones(8, 8, dtype=torch.bool), domain="summer")
    with pytest.raises(ValueError, match="keep a part"):
        translator.complete(images(1), mask=torch.ones(32, 32, dtype=torch.bool), domain="summer")


@pytest.mark.parametrize(("height", "width"), [(32, 32), (20, 70), (9, 9)])
def test_generation_makes_any_size(translator: Translator, height: int, width: int) -> None:
    assert translator.generate(2, domain="winter", height=height, width=width).shape == (
        2,
        3,
        height,
        width,
    )


def test_a_transition_between_equal_styles_is_a_translation(translator: Translator) -> None:
    batch = images(1, 32, 64)
    style = translator.encode(images(1, 40, 40), "winter").style
    blended = translator.transition(
        batch, domain="summer", target="winter", styles=torch.cat([style, style])
    )
    assert close(
        blended, translator.translate(batch, source="summer", target="winter", style=style)
    )


@pytest.mark.parametrize("direction", ["horizontal", "vertical"])
def test_a_transition_changes_along_its_direction(translator: Translator, direction: str) -> None:
    batch = torch.zeros(1, 3, 32, 32)
    styles = torch.cat(
        [translator.encode(images(1, 40, 40 + 8 * i), "winter").style * 20 * i for i in range(3)]
    )
    one, two = (
        translator.transition(
            batch, domain="summer", target="winter", styles=order, direction=direction
        )  # type: ignore[arg-type]
        for order in (styles, styles.flip(0))
    )
    assert not close(one, two)


def test_a_transition_leads_from_left_to_right_if_nothing_is_said(translator: Translator) -> None:
    styles = torch.cat([translator.encode(images(1, 40, 40), "winter").style * n for n in (0, 20)])
    usual, across, down = (
        translator.transition(images(1), domain="summer", target="winter", styles=styles, **way)
        for way in ({}, {"direction": "horizontal"}, {"direction": "vertical"})
    )
    assert torch.equal(usual, across)
    assert not close(usual, down)


def test_mistakes_are_named(translator: Translator) -> None:
    with pytest.raises(ValueError, match="unknown domain 'spring'"):
        translator.translate(images(), source="summer", target="spring")
    with pytest.raises(ValueError, match="how many pixels"):
        translator.extend(images(), domain="summer")
    with pytest.raises(ValueError, match="2 images need 2 seeds"):
        translator.translate(images(), source="summer", target="winter", seed=[1])
    with pytest.raises(ValueError, match="at least two styles"):
        translator.transition(images(), domain="summer", styles=torch.zeros(1, 8))
    with pytest.raises(ValueError, match="train stage 2"):
        untrained(prior=False).generate(1, domain="summer")


@pytest.mark.parametrize("patch", [1, 2])
def test_a_small_picture_fits_a_model_of_small_strides(patch: int) -> None:
    network = TINY.model_copy(update={"patch": patch, "channel_multipliers": (1,)})
    styles = StylePrior({domain: torch.randn(5, network.style_dim) for domain in network.domains})
    model = Translator(Autoencoder(network).eval(), styles, None, {})
    shown = model.translate(images(2, 5, 7), source="summer", target="winter")
    assert shown.shape == (2, 3, 5, 7)
