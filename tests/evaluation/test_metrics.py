"""Image metrics: known values, and controls that do what their name says."""

import numpy as np
import pytest

from evaluation.metrics import gradient_correlation, psnr, reinhard


def noise(seed: int, n: int = 3, low: int = 0, high: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, (n, 32, 32, 3), dtype=np.uint8)


def test_psnr_of_a_constant_error_is_known_and_per_image():
    truth = np.full((2, 8, 8, 3), 100, np.uint8)
    images = truth.copy()
    images[0] += 1
    images[1] -= 16
    np.testing.assert_allclose(psnr(images, truth), [20 * np.log10(255), 20 * np.log10(255 / 16)])


def test_psnr_does_not_wrap_around_and_is_infinite_for_the_truth_itself():
    black, white = np.zeros((1, 4, 4, 3), np.uint8), np.full((1, 4, 4, 3), 255, np.uint8)
    assert psnr(black, white)[0] == pytest.approx(0)
    assert np.isposinf(psnr(white, white)[0])


def test_edges_correlate_with_themselves_whatever_the_brightness():
    images = noise(0, high=120)
    np.testing.assert_allclose(gradient_correlation(images, images), 1, rtol=1e-5)
    np.testing.assert_allclose(gradient_correlation(images, images + 100), 1, rtol=1e-3)


def test_edges_of_unrelated_noise_do_not_correlate():
    assert np.abs(gradient_correlation(noise(0), noise(1))).max() < 0.15


def test_an_image_without_edges_correlates_with_nothing():
    flat = np.full((1, 32, 32, 3), 90, np.uint8)
    assert gradient_correlation(flat, noise(0, n=1))[0] == 0


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
