"""PSNR, SSIM and edges: known values, and those of scikit-image."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from errors import UserError
from evaluation.metrics.similarity import gradient_correlation, psnr, ssim


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


def near(truths: np.ndarray, spread: float) -> np.ndarray:
    moved = truths + np.random.default_rng(9).normal(0, spread, truths.shape)
    return np.clip(moved, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("spread", [0.0, 8.0, 60.0])
def test_psnr_and_ssim_are_those_of_scikit_image(spread: float):
    smooth = np.cumsum(noise(3, n=3, high=20), axis=2, dtype=np.int64) % 256
    truths = np.concatenate([noise(4)[:, :29], smooth.astype(np.uint8)[:, :29]])
    images = near(truths, spread)
    expected = [
        structural_similarity(
            image,
            truth,
            channel_axis=2,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for image, truth in zip(images, truths, strict=True)
    ]
    np.testing.assert_allclose(ssim(images, truths), expected, rtol=1e-10)
    if spread:
        ratios = [
            peak_signal_noise_ratio(b, a, data_range=255)
            for a, b in zip(images, truths, strict=True)
        ]
        np.testing.assert_allclose(psnr(images, truths), ratios, rtol=1e-10)


def test_ssim_is_one_for_the_truth_and_known_for_flat_images():
    assert ssim(noise(0), noise(0)) == pytest.approx(1)
    dark, bright = (np.full((1, 16, 16, 3), level, np.uint8) for level in (50, 200))
    level = (0.01 * 255) ** 2
    assert ssim(dark, bright)[0] == pytest.approx((2 * 50 * 200 + level) / (50**2 + 200**2 + level))


def test_images_smaller_than_the_window_of_ssim_are_refused():
    with pytest.raises(UserError, match="at least 11 px, got 32x10"):
        ssim(noise(0)[:, :10], noise(0)[:, :10])


def test_edges_correlate_with_themselves_whatever_the_brightness():
    images = noise(0, high=120)
    np.testing.assert_allclose(gradient_correlation(images, images), 1, rtol=1e-5)
    np.testing.assert_allclose(gradient_correlation(images, images + 100), 1, rtol=1e-3)


def test_edges_of_unrelated_noise_do_not_correlate():
    assert np.abs(gradient_correlation(noise(0), noise(1))).max() < 0.15


def test_an_image_without_edges_correlates_with_nothing():
    flat = np.full((1, 32, 32, 3), 90, np.uint8)
    assert gradient_correlation(flat, noise(0, n=1))[0] == 0
