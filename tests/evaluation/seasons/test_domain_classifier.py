"""The domain classifier: right on images it has not seen, reproducible, and a good neighbour."""

from typing import Any

import numpy as np
import pytest
import torch

from evaluation.seasons.domain_classifier import DomainClassifier, train_classifier


def weights(classifier: DomainClassifier) -> torch.Tensor:
    return torch.cat(
        [value.flatten().double() for value in classifier.network.state_dict().values()]
    )


def test_it_tells_unseen_landscapes_apart(drawn: Any, classifier: DomainClassifier):
    for domain, images in drawn.test.items():
        assert classifier.accuracy(images, domain) >= 0.95


def test_predictions_are_names_in_the_order_of_the_images(drawn: Any, classifier: DomainClassifier):
    mixed = np.concatenate([drawn.test["winter"][:20], drawn.test["summer"][:20]])
    answers = classifier.predict(mixed)
    assert (
        np.mean([a == b for a, b in zip(answers, ["winter"] * 20 + ["summer"] * 20, strict=True)])
        >= 0.95
    )
    assert classifier.accuracy(mixed, "winter") == answers.count("winter") / 40


def test_labels_that_say_nothing_cannot_be_learned(drawn: Any):
    halves = {"a": drawn.train["summer"][:75], "b": drawn.train["summer"][75:]}
    confused = train_classifier(halves, steps=60)
    assert 0.2 < confused.accuracy(drawn.test["summer"], "a") < 0.8


def test_the_same_seed_gives_the_same_weights_whatever_the_global_state_and_another_seed_others(
    drawn: Any,
):
    one = train_classifier(drawn.train, seed=3, steps=10)
    torch.rand(1)
    same, other = (train_classifier(drawn.train, seed=seed, steps=10) for seed in (3, 4))
    assert torch.equal(weights(one), weights(same))
    assert not torch.equal(weights(one), weights(other))
    assert all(p.dtype == torch.float32 for p in one.network.parameters())


def test_the_global_random_state_stays_as_it_is(drawn: Any):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train_classifier(drawn.train, steps=2)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_prediction_does_not_depend_on_its_neighbours(drawn: Any, classifier: DomainClassifier):
    images = drawn.test["summer"][:10]
    alone = [classifier.predict(images[i : i + 1])[0] for i in range(10)]
    assert classifier.predict(images) == alone


@pytest.mark.parametrize(
    ("images", "says"),
    [
        ({"summer": np.zeros((2, 8, 8, 3), np.uint8)}, "at least two domains"),
        (
            {
                "summer": np.zeros((2, 8, 8, 3), np.uint8),
                "winter": np.zeros((0, 8, 8, 3), np.uint8),
            },
            "'winter' has no",
        ),
        (
            {
                "summer": np.zeros((2, 8, 8, 3), np.uint8),
                "winter": np.zeros((2, 8, 9, 3), np.uint8),
            },
            "winter 9x8",
        ),
    ],
)
def test_unusable_images_are_refused_by_name(images: dict[str, np.ndarray], says: str):
    with pytest.raises(ValueError, match=says):
        train_classifier(images)


def test_an_unknown_domain_is_refused(drawn: Any, classifier: DomainClassifier):
    with pytest.raises(ValueError, match=r"'spring'.*summer, winter"):
        classifier.accuracy(drawn.test["summer"], "spring")
