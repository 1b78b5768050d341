"""NIQE: equal to the algorithm written down a second time, and a judge of what it is for."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.ndimage import correlate
from scipy.special import gamma

from errors import UserError
from evaluation.metrics.niqe import NiqeModel, fit_model, niqe, read_model

STANDARD = Path(__file__).parents[3].parent / "shared/data/metrics/niqe_pris_params.npz"


def textures(count: int, size: int, seed: int = 0) -> np.ndarray:
    """Pictures with the spectrum of photographs, 1 / f, and edges."""
    rng = np.random.default_rng(seed)
    frequencies = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    frequencies[0, 0] = 1
    spectra = np.fft.fft2(rng.normal(size=(count, size, size, 3)), axes=(1, 2))
    fields = np.fft.ifft2(spectra / frequencies[..., None], axes=(1, 2)).real
    fields[:, :, size // 3 :] += 0.3 * fields.std()
    return np.clip(128 + 40 * fields / fields.std(), 0, 255).astype(np.uint8)


def reference(image: np.ndarray, mean: np.ndarray, covariance: np.ndarray, side: int) -> float:
    """The article's algorithm as the article tells it: pixel windows, block by block."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(float)
    gray = gray[: len(gray) // side * side, : gray.shape[1] // side * side]
    halves = [interpolation(length) for length in gray.shape]
    scales = [(gray, side), (halves[0] @ gray @ halves[1].T, side // 2)]
    table = np.hstack([np.array(list(blockwise(picture, block))) for picture, block in scales])
    middle = np.linalg.pinv((covariance + np.cov(table.T)) / 2)
    away = table.mean(0) - mean
    return float(np.sqrt(away @ middle @ away))


def interpolation(length: int) -> np.ndarray:
    """The matrix that halves a line: Keys' cubic kernel, twice as wide, mirrored at the ends."""
    matrix = np.zeros((length // 2, length))
    for row in range(length // 2):
        centre = 2 * row + 0.5
        for pixel in range(2 * row - 5, 2 * row + 7):
            x = abs(pixel - centre) / 2
            weight = (
                1.5 * x**3 - 2.5 * x**2 + 1
                if x <= 1
                else -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
                if x <= 2
                else 0
            )
            mirrored = pixel if pixel >= 0 else -pixel - 1
            mirrored = mirrored if mirrored < length else 2 * length - 1 - mirrored
            matrix[row, mirrored] += weight
        matrix[row] /= matrix[row].sum()
    return matrix


def blockwise(picture: np.ndarray, side: int):
    y, x = np.mgrid[-3:4, -3:4]
    window = np.exp(-(x**2 + y**2) / (2 * (7 / 6) ** 2))
    window /= window.sum()
    mean = correlate(picture, window, mode="nearest")
    deviation = np.sqrt(np.abs(correlate(picture**2, window, mode="nearest") - mean**2))
    field = (picture - mean) / (deviation + 1)
    for top in range(0, len(field), side):
        for start in range(0, field.shape[1], side):
            block = field[top : top + side, start : start + side]
            alpha, left, right = fitted(block.ravel())
            row = [alpha, (left + right) / 2]
            for down, along in ((0, 1), (1, 0), (1, 1), (1, -1)):
                moved = np.roll(np.roll(block, down, axis=0), along, axis=1)
                alpha, left, right = fitted((block * moved).ravel())
                row += [alpha, (right - left) * gamma(2 / alpha) / gamma(1 / alpha), left, right]
            yield row


def fitted(values: np.ndarray) -> tuple[float, float, float]:
    left, right = (np.sqrt(np.mean(part**2)) for part in (values[values < 0], values[values > 0]))
    skew = left / right
    wanted = np.mean(np.abs(values)) ** 2 / np.mean(values**2)
    wanted *= (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    tried = 0.2 + 0.001 * np.arange(9801)
    ratios = gamma(2 / tried) ** 2 / gamma(1 / tried) / gamma(3 / tried)
    alpha = tried[np.argmin((ratios - wanted) ** 2)]
    scale = np.sqrt(gamma(1 / alpha) / gamma(3 / alpha))
    return alpha, left * scale, right * scale


def test_scores_are_those_of_the_algorithm_written_down_a_second_time():
    model = fit_model(textures(12, 96, seed=1), block=24)
    images = textures(3, 110)[:, :101]
    expected = [reference(image, model.mean, model.covariance, 24) for image in images]
    np.testing.assert_allclose(niqe(images, model), expected, atol=1e-3, rtol=0)
    assert np.ptp(expected) > 0.05


def test_scores_with_the_standard_parameters_are_those_of_the_algorithm():
    if not STANDARD.is_file():
        pytest.skip(f"the standard parameters are not at {STANDARD}")
    model = read_model(STANDARD)
    images = textures(2, 200)
    expected = [reference(image, model.mean, model.covariance, 96) for image in images]
    np.testing.assert_allclose(niqe(images, model), expected, atol=1e-3, rtol=0)


def test_a_fitted_model_finds_blur_and_noise_less_natural_than_new_pictures():
    model = fit_model(textures(40, 64, seed=1), block=32)
    images = textures(10, 64, seed=2)
    blurred = np.stack([cv2.GaussianBlur(image, (0, 0), 1.5) for image in images])
    moved = images + np.random.default_rng(0).normal(0, 25, images.shape)
    noisy = np.clip(moved, 0, 255).astype(np.uint8)
    natural = niqe(images, model)
    assert niqe(blurred, model).min() > natural.max()
    assert niqe(noisy, model).mean() > natural.mean() + 3 * natural.std() / 10**0.5


def test_a_model_is_fitted_to_sharp_blocks_alone():
    half_flat = textures(20, 64, seed=3)
    half_flat[:, :32] = half_flat[:, :32] // 40 + 100  # blocks of hardly any deviation
    model = fit_model(half_flat, block=32)
    sharp = fit_model(np.ascontiguousarray(half_flat[:, 32:]), block=32)
    np.testing.assert_allclose(model.mean, sharp.mean, rtol=0.1, atol=0.05)


def test_an_image_of_one_colour_has_no_score():
    model = NiqeModel(np.zeros(36), np.eye(36), 16)
    assert np.isnan(niqe(np.full((1, 32, 32, 3), 90, np.uint8), model)).all()


def test_what_cannot_be_measured_is_told_in_a_sentence(tmp_path: Path):
    with pytest.raises(UserError, match="blocks of 96 px needs images of at least as many"):
        niqe(textures(1, 64), NiqeModel(np.zeros(36), np.eye(36), 96))
    with pytest.raises(UserError, match="even number"):
        fit_model(textures(1, 64), block=31)
    with pytest.raises(UserError, match="0 sharp blocks"):
        fit_model(np.full((3, 32, 32, 3), 90, np.uint8), block=16)
    other = tmp_path / "other.npz"
    np.savez(other, a=np.zeros(3))
    for path in (tmp_path / "none.npz", other):
        with pytest.raises(UserError, match=f"{path.name} holds no parameters of NIQE"):
            read_model(path)
