"""Sharpness and specks: closed forms, and what they see."""

import cv2
import numpy as np
import pytest

from errors import UserError
from evaluation.metrics.texture import gradients, sharpness, speck_energy, specks

GRAY = (128, 128, 128)


def flat(colour: tuple[int, int, int] = GRAY, n: int = 2, side: int = 16) -> np.ndarray:
    return np.full((n, side, side, 3), colour, np.uint8)


def noise(n: int = 3, side: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def blurred(images: np.ndarray) -> np.ndarray:
    return np.stack([cv2.GaussianBlur(image, (0, 0), 1.5) for image in images])


def test_a_ramp_has_the_gradient_of_its_slope_and_a_flat_image_none():
    ramp = np.broadcast_to(np.arange(16, dtype=np.uint8)[:, None] * 5, (1, 16, 16, 3))
    np.testing.assert_allclose(gradients(ramp), [5])
    assert gradients(ramp.swapaxes(1, 2)) == pytest.approx(5)
    assert gradients(flat((10, 200, 40))).tolist() == [0, 0]


def test_sharpness_is_per_image_and_its_mean_is_the_ratio_of_means():
    real = noise()
    reference = float(gradients(real).mean())
    assert sharpness(real, reference).mean() == pytest.approx(1)
    pictures = np.concatenate([real[:1], flat(n=1, side=32)])
    np.testing.assert_allclose(
        sharpness(pictures, reference), [gradients(real)[0] / reference, 0], rtol=1e-12
    )


def test_blur_lowers_sharpness_and_noise_raises_it():
    smooth = blurred(noise())
    reference = float(gradients(smooth).mean())
    assert sharpness(blurred(smooth), reference).max() < 0.8
    loud = np.clip(smooth + np.random.default_rng(1).normal(0, 30, smooth.shape), 0, 255)
    assert sharpness(loud.astype(np.uint8), reference).min() > 1.2


def test_one_lone_pixel_has_the_energy_of_its_chroma_over_all_pixels():
    images = flat(n=1, side=8)
    images[0, 3, 4] = (255, 0, 255)
    _, red, blue = cv2.cvtColor(images[0, 3:4, 4:5], cv2.COLOR_RGB2YCrCb)[0, 0].astype(float)
    energy = (red - 128) ** 2 + (blue - 128) ** 2
    assert energy > 10_000
    np.testing.assert_allclose(speck_energy(images), [energy / 64])
    np.testing.assert_allclose(specks(images, energy), [1 / 64])


def test_edges_of_colour_and_lone_pixels_of_other_brightness_are_no_specks():
    images = flat((200, 30, 30))
    images[:, :, 8:] = (30, 30, 200)
    assert speck_energy(images).tolist() == [0, 0]
    lone = flat()
    lone[:, 5, 5] = 250
    assert speck_energy(lone).tolist() == [0, 0]


def test_a_pixel_at_the_border_counts_as_any_other():
    images = flat(n=2, side=8)
    images[0, 3, 4] = images[1, 3, 0] = (255, 0, 255)
    first, second = speck_energy(images)
    assert first == second


def test_real_pictures_without_any_are_told_in_a_sentence():
    with pytest.raises(UserError, match="real pictures are flat: leave sharpness out"):
        sharpness(noise(), float(gradients(flat()).mean()))
    with pytest.raises(UserError, match="no lone pixels of other colours: leave specks out"):
        specks(noise(), float(speck_energy(flat()).mean()))
