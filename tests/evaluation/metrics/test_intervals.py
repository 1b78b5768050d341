"""Bootstrap intervals hold the truth as often as they say, and see paired differences."""

import numpy as np
import pytest

from evaluation.metrics.intervals import Interval, bootstrap_mean, paired_bootstrap


def test_the_interval_is_the_normal_one_for_many_images():
    values = np.random.default_rng(0).normal(3, 2, 1000)
    found = bootstrap_mean(values)
    reach = 1.96 * values.std() / 1000**0.5
    expected = (values.mean(), values.mean() - reach, values.mean() + reach)
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_nineteen_of_twenty_intervals_hold_the_truth():
    draws = [np.random.default_rng(seed).exponential(1, 60) for seed in range(300)]
    found = [bootstrap_mean(values, draws=300) for values in draws]
    assert 0.89 < np.mean([each.low <= 1 <= each.high for each in found]) < 0.98


def test_a_difference_on_the_same_images_stands_where_single_intervals_overlap():
    hard = np.random.default_rng(1).normal(0, 5, 80)
    better = hard + 0.3 + np.random.default_rng(2).normal(0, 0.2, 80)
    assert bootstrap_mean(better).low < bootstrap_mean(hard).high
    difference = paired_bootstrap(better, hard)
    assert difference.excludes_zero
    assert difference.low < 0.3 < difference.high
    assert not Interval(0.1, -0.1, 0.3).excludes_zero


def test_the_same_seed_gives_the_same_interval_and_a_higher_level_a_wider_one():
    values = np.arange(20.0)
    assert bootstrap_mean(values, seed=3) == bootstrap_mean(values, seed=3)
    wide, narrow = bootstrap_mean(values, level=0.99), bootstrap_mean(values, level=0.5)
    assert wide.low < narrow.low < 9.5 < narrow.high < wide.high


@pytest.mark.parametrize("values", [[], [1.0, np.nan], [[1.0]]])
def test_what_is_not_one_figure_per_image_is_refused(values: list):
    with pytest.raises(ValueError, match="one finite figure"):
        bootstrap_mean(values)


def test_unequal_numbers_of_images_are_no_pairs():
    with pytest.raises(ValueError, match="2 and 3 images"):
        paired_bootstrap([1, 2], [1, 2, 3])
