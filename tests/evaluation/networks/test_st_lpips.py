"""ST-LPIPS: the published value, and what a distance must be."""

from pathlib import Path

import pytest
import torch

import imaging
from errors import UserError
from evaluation.networks.st_lpips import STLPIPS, _unit

EXAMPLES = Path(__file__).parents[3].parent / "shared/golden/stlpips"
PUBLISHED = 0.7777554988861084  # of ex_p0.png to ex_ref.png, in the metric's documentation


def pictures(count: int = 3, size: int = 32) -> torch.Tensor:
    drawn = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))
    return drawn * 2 - 1


def test_the_example_has_its_published_distance(st_lpips: STLPIPS):
    if not EXAMPLES.is_dir():
        pytest.skip(f"the example images are not at {EXAMPLES}")
    image, reference = (
        imaging.to_tensor([imaging.read(EXAMPLES / name)]) for name in ("ex_p0.png", "ex_ref.png")
    )
    assert st_lpips.distance(image, reference).item() == pytest.approx(PUBLISHED, abs=1e-6)


def test_it_is_symmetric_zero_for_the_same_and_per_image(st_lpips: STLPIPS):
    images, others = pictures(), pictures().flip(3) * 0.5
    found = st_lpips.distance(images, others)
    assert found.shape == (3,)
    assert (found > 0.01).all()
    torch.testing.assert_close(found, st_lpips.distance(others, images))
    assert (st_lpips.distance(images, images) == 0).all()
    alone = torch.cat([st_lpips.distance(images[i : i + 1], others[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(found, alone)


def test_many_images_are_done_in_batches(st_lpips: STLPIPS, monkeypatch: pytest.MonkeyPatch):
    whole = st_lpips.distance(pictures(5), pictures(5).roll(1, 0))
    monkeypatch.setattr("evaluation.networks.st_lpips.BATCH_SIZE", 2)
    torch.testing.assert_close(whole, st_lpips.distance(pictures(5), pictures(5).roll(1, 0)))


def test_gradients_reach_the_images_and_are_finite_at_equal_ones(st_lpips: STLPIPS):
    images = pictures().requires_grad_()
    (st_lpips(images, pictures().flip(2)).sum() + st_lpips(images, pictures()).sum()).backward()
    assert images.grad is not None
    assert images.grad.isfinite().all()
    assert images.grad.abs().sum() > 0
    assert not any(weight.requires_grad for weight in st_lpips.parameters())


def test_images_too_small_for_the_network_are_refused(st_lpips: STLPIPS):
    assert st_lpips.distance(pictures(size=21), -pictures(size=21)).isfinite().all()
    with pytest.raises(UserError, match="at least 21 px, got 20x20"):
        st_lpips.distance(pictures(size=20), pictures(size=20))


def test_loading_it_leaves_the_global_random_state(st_lpips: STLPIPS):
    before = torch.get_rng_state()
    STLPIPS()
    assert torch.equal(torch.get_rng_state(), before)


def test_where_nothing_is_seen_the_gradient_is_finite():
    maps = torch.zeros(1, 4, 2, 2, requires_grad=True)
    _unit(maps).sum().backward()
    assert maps.grad is not None
    assert maps.grad.isfinite().all()
