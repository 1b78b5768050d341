"""Trials: every pair and both sides alike, all else random by the seed."""

from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

from errors import UserError
from evaluation.study.trials import BROKEN, Study, Trial, draw, read_study
from tests.evaluation.study.conftest import METHODS, looked_into


def drawn(pictures: Path, *, source: bool = True, **changes: int) -> tuple[Trial, ...]:
    chosen = {"trials": 13, "checks": 5, "seed": 0} | changes
    return draw(looked_into(pictures, source=source), **chosen)[0]


def pairs(trials: tuple[Trial, ...], question: str) -> Counter[tuple[str, str]]:
    """How often each method stands left of another."""
    return Counter(
        (trial.left.method, trial.right.method) for trial in trials if trial.question == question
    )


@pytest.mark.parametrize("seed", range(5))
def test_pairs_and_sides_are_balanced(pictures: Path, seed: int) -> None:
    trials = drawn(pictures, seed=seed)
    for question, methods, count in (
        ("realism", (*METHODS, "real"), {2, 3}),
        ("content", METHODS, {4, 5}),
    ):
        seen = pairs(trials, question)
        seen.pop(("real", BROKEN), 0), seen.pop((BROKEN, "real"), 0)
        assert seen.total() == 13
        for first, second in combinations(methods, 2):
            left, right = seen[first, second], seen[second, first]
            assert left + right in count
            assert abs(left - right) <= 1
    checks = pairs(trials, "realism")
    assert {checks["real", BROKEN], checks[BROKEN, "real"]} == {2, 3}


def test_order_and_the_odd_side_are_random(pictures: Path) -> None:
    studies = [drawn(pictures, trials=6, checks=1, seed=seed) for seed in range(40)]
    places = Counter(
        next(place for place, trial in enumerate(trials) if trial.is_check) for trials in studies
    )
    assert len(places) > 5
    left = sum(pairs(trials, "realism")["ours", "real"] for trials in studies)
    assert 8 <= left <= 32  # a fair coin leaves this once in 10,000 times


def test_a_pair_shows_one_image_by_two_methods(pictures: Path) -> None:
    for trial in drawn(pictures):
        left, right = Path(trial.left.file), Path(trial.right.file)
        methods = {trial.left.method, trial.right.method}
        assert left.parent.name in methods
        if trial.is_check:
            assert left == right
        elif "real" not in methods:
            assert left.stem == right.stem
        assert (trial.source is None) == (trial.question == "realism")
        if trial.source is not None:
            assert left.stem.startswith(Path(trial.source.file).stem)


def test_no_picture_comes_twice_while_others_wait(pictures: Path) -> None:
    trials = drawn(pictures, trials=8, checks=0)
    real = [
        each.file for trial in trials for each in (trial.left, trial.right) if each.method == "real"
    ]
    assert len(set(real)) == len(real) == 3
    few = drawn(pictures, trials=6 * 100, source=False)
    assert {trial.question for trial in few} == {"realism"}
    assert len(few) == 6 * 6 + 5  # there are six images, and no comparison comes twice


def test_numbers_of_pictures_do_not_tell_whose_they_are(pictures: Path) -> None:
    numbers: dict[str, list[int]] = {}
    for seed in range(20):
        trials, shown = draw(looked_into(pictures), trials=36, checks=2, seed=seed)
        for trial in trials:
            for each in (trial.left, trial.right):
                assert str(shown[each.picture].path) == each.file
                assert shown[each.picture].broken == (each.method == BROKEN)
                numbers.setdefault(each.method, []).append(each.picture)
    means = [sum(seen) / len(seen) for seen in numbers.values()]
    assert max(means) - min(means) < 10  # of about 34 pictures


def test_the_seed_decides_all(pictures: Path) -> None:
    assert drawn(pictures) == drawn(pictures)
    assert drawn(pictures) != drawn(pictures, seed=1)


def test_too_few_trials_are_refused(pictures: Path) -> None:
    with pytest.raises(UserError, match=r"5 trials are too few for 6 pairs.*give --trials 6"):
        drawn(pictures, trials=5)


def test_a_study_is_read_as_it_was_written(built: tuple[Path, Study]) -> None:
    assert read_study(built[0]) == built[1]
    assert read_study(built[0]).identity == built[1].identity


def test_a_folder_without_a_study_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no study: build one with `vqi2i study build`"):
        read_study(tmp_path)
    (tmp_path / "trials.json").write_text("{}")
    with pytest.raises(UserError, match=r"trials.json is not what was written there"):
        read_study(tmp_path)
