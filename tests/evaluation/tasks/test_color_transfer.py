"""Reinhard transfer does what its name says."""

import numpy as np
import pytest

from evaluation.metrics.similarity import gradient_correlation
from evaluation.tasks.color_transfer import reinhard


def noise(seed: int, n: int = 3, low: int = 0, high: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, (n, 32, 32, 3), dtype=np.uint8)


def test_reinhard_gives_each_image_its_own_exemplars_mean_and_spread():
    images = noise(0, n=2, low=60, high=120)
    exemplars = np.stack([noise(1, n=1, low=150, high=170)[0], noise(2, n=1, low=20, high=110)[0]])
    moved = reinhard(images, exemplars).astype(float)
    np.testing.assert_allclose(moved.mean(axis=(1, 2)), exemplars.mean(axis=(1, 2)), atol=2)
    np.testing.assert_allclose(moved.std(axis=(1, 2, 3)), exemplars.std(axis=(1, 2, 3)), rtol=0.15)


def test_reinhard_keeps_the_edges_of_the_image():
    images, exemplars = noise(0, low=60, high=120), noise(1, low=80, high=160)
    assert gradient_correlation(reinhard(images, exemplars), images).min() > 0.9


def test_reinhard_refuses_unequal_numbers_of_images():
    with pytest.raises(ValueError, match="shorter"):
        reinhard(noise(0, n=3), noise(1, n=2))
