"""The Fréchet distance of Gaussians is the closed form."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from errors import UserError
from evaluation.metrics.frechet import check_leads, frechet_distance


def standard(n: int, d: int, seed: int) -> np.ndarray:
    """Samples whose mean is 0 and whose covariance is the identity, exactly."""
    drawn = np.random.default_rng(seed).normal(size=(n, d))
    drawn -= drawn.mean(0)
    covariance = np.cov(drawn, rowvar=False)
    return drawn @ np.linalg.inv(np.linalg.cholesky(covariance)).T


def test_of_independent_numbers_it_is_that_of_means_and_deviations():
    """Diagonal covariances commute: |m - m'|^2 + sum of (s - s')^2."""
    a = standard(50, 4, 0) * [1, 2, 3, 4] + [0, 1, 0, 0]
    b = standard(80, 4, 1) * [2, 2, 1, 4] + [3, 1, 0, 0]
    assert frechet_distance(a, b) == pytest.approx(9 + 1 + 4)


@pytest.mark.parametrize(("n", "m"), [(60, 70), (60, 5), (4, 5)])
def test_it_is_the_formula_with_the_root_of_a_matrix(n: int, m: int):
    """Also where covariances are singular, as with fewer images than features."""
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(n, 6)), rng.normal(1, 2, (m, 6)) @ rng.normal(size=(6, 6))
    first, second = (np.cov(side, rowvar=False) for side in (a, b))
    tiny = 1e-12 * np.eye(6)  # for scipy's sake
    root = sqrtm((first + tiny) @ (second + tiny)).real
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(first + second - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-4)
    assert frechet_distance(b, a) == pytest.approx(frechet_distance(a, b))


def test_a_set_has_no_distance_to_itself_and_one_to_others_of_its_kind_that_shrinks():
    rng = np.random.default_rng(3)
    sets = rng.normal(size=(2, 400, 8))
    assert frechet_distance(sets[0], sets[0]) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(sets[0], sets[0]) >= 0
    few, many = frechet_distance(*sets[:, :20]), frechet_distance(*sets)
    assert few > 5 * many > 0


def test_it_leads_from_a_thousand_images_on():
    check_leads(1000)
    with pytest.raises(UserError, match="999 images a side is no headline: measure at least 1000"):
        check_leads(999)


def test_what_cannot_be_compared_is_refused():
    two = np.zeros((2, 3))
    with pytest.raises(UserError, match="two images on each side, got 2 and 1: give more"):
        frechet_distance(two, two[:1])
    with pytest.raises(ValueError, match="one d"):
        frechet_distance(two, np.zeros((2, 4)))
