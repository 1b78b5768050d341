"""The linear classifier learns what can be learned, and its held-out accuracy is honest."""

import math

import pytest
import torch
from torch import Tensor

from errors import UserError
from evaluation.networks.feature_classifier import fit

WIDTH = 8


def drawn(mean: float, count: int, seed: int) -> Tensor:
    """Gaussian features whose first number alone says the domain."""
    features = torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))
    features[:, 0] += mean
    return features


def test_accuracy_is_that_of_the_best_border_between_two_gaussians():
    """The best answer is the sign of the first number: right in Phi(mean) of all cases."""
    classifier = fit({"summer": drawn(-1, 1500, 0), "winter": drawn(1, 500, 1)})
    best = (1 + math.erf(1 / 2**0.5)) / 2
    for domain, mean in (("summer", -1), ("winter", 1)):
        unseen = drawn(mean, 4000, 2)
        # domains weigh alike, however many pictures they have
        assert classifier.accuracy(unseen, domain) == pytest.approx(best, abs=0.03)
        assert classifier.held_out[domain] == pytest.approx(best, abs=0.04)


def test_held_out_accuracy_is_chance_where_nothing_tells_domains_apart():
    """Wide features are learned by heart, which says nothing of unseen pictures."""
    generator = torch.Generator().manual_seed(0)
    features = {name: torch.randn(60, 800, generator=generator) for name in "abc"}
    classifier = fit(features)
    assert all(classifier.accuracy(features[name], name) > 0.9 for name in "abc")
    assert sum(classifier.held_out.values()) / 3 == pytest.approx(1 / 3, abs=0.12)


def test_each_picture_has_its_answer_and_accuracy_is_their_mean():
    classifier = fit({"summer": drawn(-3, 40, 0), "winter": drawn(3, 40, 1)})
    pictures = torch.cat([drawn(-9, 1, 2), drawn(9, 3, 3)])
    assert classifier.takes_for(pictures, "winter").tolist() == [False, True, True, True]
    assert classifier.takes_for(pictures, "summer").tolist() == [True, False, False, False]
    assert classifier.accuracy(pictures, "winter") == 0.75


def test_scales_do_not_matter_and_constant_features_do_not_disturb():
    pictures = {"summer": drawn(-1, 60, 0), "winter": drawn(1, 60, 1)}
    scales = torch.tensor([1e-3, *[100.0] * (WIDTH - 1)])
    scaled = {
        name: torch.cat([each * scales, torch.full((len(each), 1), 7.0)], 1)
        for name, each in pictures.items()
    }
    assert fit(scaled).held_out == fit(pictures).held_out


def test_the_same_features_and_seed_give_the_same_classifier_without_touching_random_state():
    pictures = {"summer": drawn(-0.3, 30, 0), "winter": drawn(0.3, 30, 1)}
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    with torch.no_grad():
        first, second = fit(pictures, seed=3), fit(pictures, seed=3)
    assert torch.equal(torch.rand(1), expected)
    assert first.held_out == second.held_out
    unseen = drawn(0, 200, 2)
    assert torch.equal(first.takes_for(unseen, "winter"), second.takes_for(unseen, "winter"))
    assert any(fit(pictures, seed=seed).held_out != first.held_out for seed in range(4))


def test_too_little_to_learn_from_is_told_in_a_sentence():
    with pytest.raises(UserError, match="pictures of two domains, got summer: leave it out"):
        fit({"summer": drawn(0, 9, 0)})
    with pytest.raises(UserError, match=r"at least 5 training images .* got 4 of winter: give"):
        fit({"summer": drawn(0, 9, 0), "winter": drawn(0, 4, 0)})


def test_what_cannot_be_meant_is_refused():
    with pytest.raises(ValueError, match="one d"):
        fit({"summer": drawn(0, 9, 0), "winter": drawn(0, 9, 0)[:, :3]})
    classifier = fit({"summer": drawn(-1, 9, 0), "winter": drawn(1, 9, 0)})
    with pytest.raises(ValueError, match="'sumer' is none of summer, winter"):
        classifier.accuracy(drawn(0, 3, 0), "sumer")
