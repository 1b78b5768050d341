"""Precision, recall, density and coverage: expectations in closed form, and what each is for."""

import numpy as np
import pytest

from errors import UserError
from evaluation.metrics.manifold import Manifold, manifold


def gaussian(count: int, seed: int, spread: float = 1.0, mean: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, spread, (count, 4))


def test_a_copy_is_in_the_midst_and_a_stranger_is_nowhere():
    real = gaussian(50, 0)
    assert manifold(real, real, nearest=3)[:2] == (1, 1)
    assert manifold(real, real, nearest=3).coverage == 1
    assert manifold(real, gaussian(50, 1, mean=99)) == Manifold(0, 0, 0, 0)


def test_samples_of_one_distribution_have_the_density_and_coverage_of_the_article():
    n, m, k = 60, 50, 5
    found = np.mean(
        [manifold(gaussian(n, 2 * s), gaussian(m, 2 * s + 1)) for s in range(300)], axis=0
    )
    steps = np.arange(1, k + 1)
    coverage = 1 - np.prod((n - steps) / (n + m - steps))
    assert found[3] == pytest.approx(coverage, abs=0.01)
    assert found[2] == pytest.approx(1, abs=0.05)


def test_a_few_typical_images_are_precise_but_do_not_cover():
    narrow = manifold(gaussian(200, 0), gaussian(200, 1, spread=0.2))
    wide = manifold(gaussian(200, 0), gaussian(200, 1, spread=3.0))
    assert narrow.precision > 0.95
    assert narrow.recall < 0.1
    assert narrow.coverage < 0.5
    assert narrow.density > 1.2
    assert wide.recall > 0.95
    assert wide.precision < 0.4


def test_the_neighbourhood_reaches_to_the_kth_other_image():
    real = np.array([[0.0], [1.0], [3.0], [7.0]])  # balls of k = 1: 1, 1, 2, 4
    found = manifold(real, np.array([[2.0], [20.0]]), nearest=1)
    assert found.precision == 1 / 2
    assert found.density == 2 / 2  # near 1 and 3
    assert found.coverage == 2 / 4
    assert found.recall == 1  # the ball of either generated one reaches 18 far


def test_too_few_images_are_told_in_a_sentence():
    with pytest.raises(UserError, match="more than 5 images on each side, got 9 and 5"):
        manifold(np.zeros((9, 2)), np.zeros((5, 2)))
