"""KID of Gaussians is the closed form; its intervals and its floor are what they say."""

from functools import partial

import numpy as np
import pytest

from errors import UserError
from evaluation.metrics.intervals import counts
from evaluation.metrics.kid import (
    gaussian,
    kid,
    kid_blocks,
    kid_difference,
    kid_floor,
    kid_interval,
)

WIDTH = 6


class Gaussian:
    """Independent features of one variance."""

    def __init__(self, mean: float, variance: float = 1.0):
        self.mean, self.variance = np.linspace(0, 2 * mean, WIDTH), variance

    def draw(self, count: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return rng.normal(self.mean, self.variance**0.5, (count, WIDTH))

    def moments(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """First three moments: E[x_i], E[x_i x_j], E[x_i x_j x_k]."""
        m, spread = self.mean, self.variance * np.eye(WIDTH)
        third = np.einsum("i,j,k->ijk", m, m, m)
        for order in ("ij,k->ijk", "ik,j->ijk", "jk,i->ijk"):
            third = third + np.einsum(order, spread, m)
        return m, spread + np.outer(m, m), third


def mean_kernel(a: Gaussian, b: Gaussian) -> float:
    """E[(x . y / d + 1)^3] of independent x and y, by the binomial theorem."""
    first, second, third = (
        float(np.sum(x * y)) / WIDTH**power
        for power, (x, y) in enumerate(zip(a.moments(), b.moments(), strict=True), start=1)
    )
    return 1 + 3 * first + 3 * second + third


def closed_form(a: Gaussian, b: Gaussian) -> float:
    return mean_kernel(a, a) + mean_kernel(b, b) - 2 * mean_kernel(a, b)


PAIRS = [
    (Gaussian(0.3), Gaussian(0.3)),
    (Gaussian(0.3), Gaussian(0.8)),
    (Gaussian(0.3), Gaussian(0.3, 2.0)),
]


@pytest.mark.parametrize(("real", "generated"), PAIRS)
def test_the_mean_over_samples_is_the_closed_form(real: Gaussian, generated: Gaussian):
    figures = [
        kid(real.draw(40, 2 * seed), generated.draw(50, 2 * seed + 1)) for seed in range(400)
    ]
    error = np.std(figures) / len(figures) ** 0.5
    assert np.mean(figures) == pytest.approx(closed_form(real, generated), abs=3 * error)


@pytest.mark.parametrize(("real", "generated"), PAIRS)
@pytest.mark.parametrize("measure", [partial(kid_interval, draws=300), kid_blocks])
def test_intervals_hold_the_closed_form(real: Gaussian, generated: Gaussian, measure):
    truth, held = closed_form(real, generated), []
    for seed in range(100):
        found = measure(real.draw(80, 2 * seed), generated.draw(80, 2 * seed + 1))
        held.append(found.low <= truth <= found.high)
    assert np.mean(held) >= 0.88


def test_the_interval_lies_around_the_figure_itself():
    real, generated = Gaussian(0.3).draw(60, 0), Gaussian(0.8).draw(70, 1)
    found = kid_interval(real, generated)
    assert found.value == pytest.approx(kid(real, generated))
    assert found.low < found.value < found.high
    assert found == kid_interval(real, generated)


def test_the_floor_is_at_zero_and_sees_who_lies_above_it():
    floor = kid_floor(Gaussian(0.3).draw(400, 0), images=100)
    assert abs(floor.mean) < floor.deviation
    assert floor.images == 100
    samples = [kid(Gaussian(0.3).draw(100, s), Gaussian(0.3).draw(100, s + 500)) for s in range(99)]
    assert floor.deviation == pytest.approx(np.std(samples), rel=0.4)
    far = kid(Gaussian(0.3).draw(100, 1), Gaussian(2.0).draw(100, 2))
    assert floor.deviations(far) > 10
    assert floor.deviations(floor.mean + 2 * floor.deviation) == pytest.approx(2)


def mean_gaussian(a: Gaussian, b: Gaussian) -> float:
    """E[1000 exp(-|x - y|^2 / 200)]: x - y is a Gaussian of the sum of both variances."""
    variance = a.variance + b.variance
    shrunk = (1 + variance / 100) ** (-WIDTH / 2)
    return 1000 * shrunk * np.exp(-np.sum((a.mean - b.mean) ** 2) / (2 * (100 + variance)))


@pytest.mark.parametrize(("real", "generated"), PAIRS)
def test_cmmd_is_the_closed_form_of_its_kernel(real: Gaussian, generated: Gaussian):
    figures = [
        kid(real.draw(40, 2 * seed), generated.draw(50, 2 * seed + 1), kernel=gaussian)
        for seed in range(200)
    ]
    truth = mean_gaussian(real, real) + mean_gaussian(generated, generated)
    truth -= 2 * mean_gaussian(real, generated)
    error = np.std(figures) / len(figures) ** 0.5
    assert np.mean(figures) == pytest.approx(truth, abs=3 * error)


def test_cmmd_has_its_interval_and_its_floor():
    real, far = Gaussian(0.3).draw(120, 0), Gaussian(2.0).draw(60, 1)
    found = kid_interval(real, far, kernel=gaussian)
    assert found.low < found.value == kid(real, far, kernel=gaussian) < found.high
    floor = kid_floor(real, images=60, kernel=gaussian)
    pairs = [(Gaussian(0.3).draw(60, s), Gaussian(0.3).draw(60, s + 500)) for s in range(99)]
    samples = [kid(*pair, kernel=gaussian) for pair in pairs]
    assert floor.deviation == pytest.approx(np.std(samples), rel=0.5)
    assert floor.deviations(found.value) > 10


def test_too_few_images_are_told_in_a_sentence():
    two = np.zeros((2, WIDTH))
    with pytest.raises(UserError, match="two images on each side, got 2 and 1"):
        kid(two, two[:1])
    with pytest.raises(UserError, match="at 30 images a side needs 60 real ones, got 50"):
        kid_floor(np.zeros((50, WIDTH)), images=30)
    with pytest.raises(UserError, match="two images"):
        kid_blocks(np.zeros((9, WIDTH)), np.zeros((9, WIDTH)), blocks=5)


def test_features_of_two_kinds_do_not_compare():
    with pytest.raises(ValueError, match="one d"):
        kid(np.zeros((5, 3)), np.zeros((5, 4)))
    with pytest.raises(ValueError, match="at least 2"):
        kid_blocks(np.zeros((9, 3)), np.zeros((9, 3)), blocks=1)


def test_a_difference_is_that_of_a_loop_over_the_same_resamples():
    real = Gaussian(0.3).draw(12, 0)
    first = Gaussian(0.5).draw(9, 1)
    second = first + 0.3 * Gaussian(0.5).draw(9, 2)
    found = kid_difference(real, first, second, draws=40, seed=3)
    assert found.value == pytest.approx(kid(real, second) - kid(real, first))

    def resampled(generated: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> float:
        """Each pair of different images, as often as the resample holds it."""

        def kernel(x: np.ndarray, y: np.ndarray) -> float:
            return float((x @ y / WIDTH + 1) ** 3)

        def mean(a: np.ndarray, b: np.ndarray, m: np.ndarray, n: np.ndarray, same: bool) -> float:
            total = pairs = 0.0
            for i, x in enumerate(a):
                for j, y in enumerate(b):
                    if not (same and i == j):
                        total += m[i] * n[j] * kernel(x, y)
                        pairs += m[i] * n[j]
            return total / pairs

        return (
            mean(real, real, ours, ours, same=True)
            + mean(generated, generated, theirs, theirs, same=True)
            - 2 * mean(real, generated, ours, theirs, same=False)
        )

    drawn = zip(counts(12, 40, 3), counts(9, 40, 4), strict=True)
    figures = [resampled(second, *pair) - resampled(first, *pair) for pair in drawn]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(figures, [0.025, 0.975])))


def test_a_difference_that_two_intervals_hide_stands_when_images_are_the_same():
    real, first = Gaussian(0.3).draw(80, 0), Gaussian(0.7).draw(80, 1)
    second = first * 0.97
    apart = [kid_interval(real, generated) for generated in (first, second)]
    assert apart[1].high > apart[0].low  # they overlap
    difference = kid_difference(real, first, second)
    assert difference.excludes_zero
    assert difference.value < 0
    assert not kid_difference(real, first, first).excludes_zero


def test_pictures_of_other_numbers_have_no_difference():
    draw = Gaussian(0.3).draw
    with pytest.raises(ValueError, match="9 and 8 pictures"):
        kid_difference(draw(12, 0), draw(9, 1), draw(8, 2))
