"""The real pictures of an evaluation: who goes which way, beside which exemplar."""

import numpy as np
import pytest

from errors import UserError
from evaluation.images import Direction, DomainImages, TestSet
from evaluation.results import Subject

ABOUT = Subject(name="shards", fingerprint="0")


def numbered(count: int, first: int) -> np.ndarray:
    """Pictures (count, 4, 4, 3) that are known by their only colour."""
    return np.stack([np.full((4, 4, 3), first + number, np.uint8) for number in range(count)])


def domain(count: int, first: int) -> DomainImages:
    keys = [f"k{first + number}" for number in range(count)]
    return DomainImages(numbered(count, first), keys, numbered(8, 200))


def names(images: np.ndarray) -> list[int]:
    return images[:, 0, 0, 0].tolist()


def test_every_exemplar_is_used_as_often_as_any_other() -> None:
    images = TestSet(ABOUT, {"a": domain(14, 0), "b": domain(7, 50)})
    exemplars = names(images.direction("a", "b", seed=0).exemplar)
    assert sorted(exemplars) == sorted(list(range(50, 57)) * 2)
    assert exemplars != sorted(exemplars)


def test_within_a_domain_no_image_is_its_own_exemplar() -> None:
    images = TestSet(ABOUT, {"a": domain(9, 0), "b": domain(7, 50)})
    direction = images.direction("a", "a", seed=3)
    pairs = zip(names(direction.source), names(direction.exemplar), strict=True)
    assert all(source != exemplar for source, exemplar in pairs)
    assert sorted(names(direction.exemplar)) == list(range(9))


def test_exemplars_follow_the_seed_and_the_direction() -> None:
    images = TestSet(ABOUT, {"a": domain(9, 0), "b": domain(9, 50)})

    def drawn(seed: int) -> list[int]:
        return names(images.direction("a", "b", seed).exemplar)

    assert drawn(0) == drawn(0) != drawn(1)


def test_a_known_truth_comes_with_its_own_exemplars() -> None:
    known = Direction(numbered(6, 0), numbered(6, 10), numbered(6, 20), [str(n) for n in range(6)])
    images = TestSet(ABOUT, {"a": domain(9, 0), "b": domain(9, 50)}, {("a", "b"): known})
    assert images.direction("a", "b", seed=0) is known
    assert images.direction("b", "a", seed=0).truth is None


@pytest.mark.parametrize("split", ["test", "training"])
def test_a_domain_of_three_images_is_named(split: str) -> None:
    few = domain(9, 0)._replace(**{split: numbered(3, 0)})
    with pytest.raises(UserError, match=rf"domain b has 3 {split} images in shards: .* at least 6"):
        TestSet(ABOUT, {"a": domain(9, 0), "b": few})
