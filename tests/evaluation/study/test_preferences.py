"""Shares of preferences, their intervals, and whose answers count."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from errors import UserError
from evaluation.study.answers import Answer, Answers, Kept
from evaluation.study.preferences import Preference, analyse, wilson
from evaluation.study.trials import Study, Trial
from tests.evaluation.study.conftest import answer, answers


def kept(*given: Answer, torn: int = 0) -> Answers:
    time = datetime(2026, 1, 1, tzinfo=UTC)
    return Answers([Kept(**each.model_dump(), time=time) for each in given], torn)


def best(*ranking: str) -> Callable[[Trial], str]:
    """Somebody who chooses the method that comes first."""
    order = (*ranking, "broken")
    return lambda trial: min((trial.left.method, trial.right.method), key=order.index)


TASTE = best("real", "ours", "rival", "third")


def clicks_left(trial: Trial) -> str:
    return trial.left.method


def found(outcome: tuple[Preference, ...]) -> dict[tuple[str, str, str], tuple[int, int]]:
    return {(p.question, p.first, p.second): (p.chosen, p.answers) for p in outcome}


# Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3
@pytest.mark.parametrize(
    ("chosen", "of", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_intervals_equal_published_ones(chosen: int, of: int, low: float, high: float) -> None:
    interval = wilson(chosen, of)
    assert interval.value == chosen / of
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)
    mirrored = wilson(of - chosen, of)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((low, high), abs=5e-5)


def test_an_interval_holds_its_level_and_its_bounds() -> None:
    rng = np.random.default_rng(0)
    for share in (0.1, 0.5, 0.8):
        draws = rng.binomial(40, share, size=4000)
        within = [low <= share <= high for _, low, high in (wilson(int(n), 40) for n in draws)]
        assert 0.92 < np.mean(within) < 0.98
    for of in range(1, 300):
        assert wilson(0, of).low == 0
        assert wilson(of, of).high == 1
    for chosen, of in ((1, 0), (-1, 3), (4, 3)):
        with pytest.raises(ValueError, match="is no share"):
            wilson(chosen, of)


def test_preferences_are_those_of_the_participants(built: tuple[Path, Study]) -> None:
    study = built[1]
    contrary = best("third", "real", "ours", "rival")
    given = [
        each
        for who, taste in enumerate((TASTE, TASTE, contrary))
        for each in answers(study, who, taste)
    ]
    outcome = analyse(study, kept(*given, torn=1))
    assert (outcome.participants, outcome.missed, outcome.unchecked, outcome.torn) == (3, 0, 0, 1)
    assert outcome.answers == 3 * 24
    assert found(outcome.preferences) == {
        ("realism", "ours", "rival"): (6, 6),
        ("realism", "ours", "third"): (4, 6),
        ("realism", "ours", "real"): (0, 6),
        ("realism", "rival", "third"): (4, 6),
        ("realism", "rival", "real"): (0, 6),
        ("realism", "third", "real"): (2, 6),
        ("content", "ours", "rival"): (12, 12),
        ("content", "ours", "third"): (8, 12),
        ("content", "rival", "third"): (8, 12),
    }
    first = outcome.preferences[0]
    assert (first.share, first.low, first.high) == wilson(6, 6)
    assert first.stands
    assert not outcome.preferences[1].stands


def test_who_misses_a_check_or_sees_none_is_left_out(built: tuple[Path, Study]) -> None:
    study = built[1]
    alone = analyse(study, kept(*answers(study, 1, TASTE)))
    check = next(number for number, trial in enumerate(study.trials) if trial.is_check)
    other = next(number for number, trial in enumerate(study.trials) if not trial.is_check)
    careless = answers(study, 2, best("broken", "third", "rival", "ours", "real"))
    one_miss = answers(study, 3, TASTE)
    shown = study.trials[check]
    one_miss[check] = answer(study, 3, check, right=shown.right.method != "real")
    left_early = [answer(study, 4, other)]
    outcome = analyse(study, kept(*answers(study, 1, TASTE), *careless, *one_miss, *left_early))
    assert outcome.preferences == alone.preferences
    assert (outcome.participants, outcome.missed, outcome.unchecked) == (1, 2, 1)


def test_without_checks_everybody_counts(built: tuple[Path, Study]) -> None:
    trials = tuple(trial for trial in built[1].trials if not trial.is_check)
    study = built[1].model_copy(update={"trials": trials})
    outcome = analyse(study, kept(*answers(study, 1, clicks_left)))
    assert (outcome.participants, outcome.missed, outcome.unchecked) == (1, 0, 0)
    assert outcome.left == 1
    assert all(abs(p.share - 0.5) <= 0.5 for p in outcome.preferences)


def test_no_answers_are_told(built: tuple[Path, Study]) -> None:
    study = built[1]
    with pytest.raises(UserError, match="nobody has answered yet: run `vqi2i study serve`"):
        analyse(study, kept())
    with pytest.raises(UserError, match=r"no answer counts, as all .* left out: 1 who missed"):
        analyse(study, kept(*answers(study, 1, best("broken", "real", "ours", "rival", "third"))))
