"""Scores of continued pictures: a seam, a copy and a broken skyline are found, a landscape as it is
has none.
"""

import numpy as np
import pytest

from evaluation.metrics.seams import Border, repetition_scores, seam_scores, skyline_jumps, skylines
from pipelines.synthetic.dataset import draw_content, draw_style, render

RIGHT = Border("vertical", 64)


@pytest.fixture(scope="module")
def landscapes() -> np.ndarray:
    """Sixteen landscapes of 48 x 128 pixels."""
    rngs = [np.random.default_rng(seed) for seed in range(16)]
    return np.stack(
        [
            render(draw_content(rng, 3), draw_style(rng, "summer"), height=48, width=128)
            for rng in rngs
        ]
    )


def test_a_seam_has_more_energy_than_other_lines(landscapes: np.ndarray) -> None:
    broken = landscapes.copy()
    broken[:, :, 64:] = np.clip(broken[:, :, 64:].astype(int) + 25, 0, 255)
    real, seam = (seam_scores(images, [RIGHT]).mean() for images in (landscapes, broken))
    assert real < 2
    assert seam > 3 * real


def test_borders_of_both_orientations_count(landscapes: np.ndarray) -> None:
    noise = np.random.default_rng(0).integers(100, 156, (1, 40, 60, 3), np.uint8)
    noise[:, 20:] //= 2
    border = Border("horizontal", 20)
    assert seam_scores(noise, [border]) > 1.5
    assert seam_scores(noise.swapaxes(1, 2), [Border("vertical", 20)]) == seam_scores(
        noise, [border]
    )
    assert seam_scores(noise, [Border("horizontal", 20, span=(0, 30))]) > 1.5
    assert seam_scores(noise, [Border("vertical", 30)]) < 1.5


def test_a_copy_is_a_repetition(landscapes: np.ndarray) -> None:
    new = np.zeros((48, 128), bool)
    new[:, 64:] = True
    copied = landscapes.copy()
    copied[:, :, 64:] = landscapes[:, :, :64]
    real, again = (np.nanmean(repetition_scores(images, new)) for images in (landscapes, copied))
    assert real < 0.9
    assert again > 0.99


def test_the_skyline_is_found_and_its_jumps_are_measured() -> None:
    picture = np.full((1, 60, 80, 3), 220, np.uint8)
    for column in range(80):
        picture[0, 20 + column // 8 :, column] = 60
    line = skylines(picture)[0]
    assert np.abs(line - (20 + np.arange(80) // 8)).max() < 2
    broken = picture.copy()
    broken[:, 9:, 40:] = picture[:, :-9, 40:]
    broken[:, :9, 40:] = 220
    assert skyline_jumps(picture, [40]) < 2
    assert 7 < skyline_jumps(broken, [40]) < 11
