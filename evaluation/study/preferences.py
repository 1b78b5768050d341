"""What participants prefer: shares of answers for each pair of methods, with Wilson intervals."""

import math
from collections.abc import Collection, Iterator
from itertools import combinations

from pydantic import Field

from errors import UserError
from evaluation.metrics.intervals import Interval
from evaluation.study.answers import Answers, Kept
from evaluation.study.folders import REAL
from evaluation.study.trials import QUESTIONS, Question, Study
from vqi2i.checking.frozen import Frozen

_Z = 1.959963984540054  # standard normal deviate that 2.5 % lie above


class Preference(Frozen):
    """How often one method was chosen over another."""

    question: Question
    first: str
    second: str
    answers: int = Field(ge=1)
    chosen: int = Field(ge=0, description="answers that prefer the first")
    share: float = Field(ge=0, le=1, description="of the answers that prefer the first")
    low: float = Field(description="of the Wilson interval, 95 %")
    high: float

    @property
    def stands(self) -> bool:
        """Whether the interval leaves out a half."""
        return self.low > 0.5 or self.high < 0.5


class Preferences(Frozen):
    """The outcome of a study."""

    to: str
    participants: int = Field(description="whose answers count")
    missed: int = Field(description="participants left out: they missed an attention check")
    unchecked: int = Field(description="participants left out: they left before any check")
    answers: int = Field(description="that count; attention checks are not among them")
    left: float = Field(description="share of them that chose what was seen on the left")
    torn: int = Field(description="answers that were cut short when the server was killed")
    preferences: tuple[Preference, ...]


def wilson(chosen: int, answers: int) -> Interval:
    """A share and its 95 % score interval (Wilson 1927, without correction for continuity).

    It takes answers as independent, and unlike the usual interval holds its level for few answers
    and for shares near 0 and 1.

    Args:
        chosen: successes, 0 to `answers`.
        answers: trials, 1 or more.

    Raises:
        ValueError: the numbers are others.
    """
    if not 0 <= chosen <= answers or answers < 1:
        raise ValueError(f"{chosen} of {answers} is no share")
    share, square = chosen / answers, _Z**2 / answers
    center = (share + square / 2) / (1 + square)
    reach = math.sqrt(share * (1 - share) * square + square**2 / 4) / (1 + square)
    # a share of 1 ends its interval, which rounding would move by a bit
    return Interval(share, center - reach, 1.0 if chosen == answers else center + reach)


def analyse(study: Study, answers: Answers) -> Preferences:
    """Count the preferences of all participants who passed every attention check they saw.

    Raises:
        UserError: there are no answers that count.
    """
    if not answers.kept:
        raise UserError("nobody has answered yet: run `vqi2i study serve`, and tell people of it")
    missed, unchecked = _left_out(study, answers.kept)
    counted = [
        answer
        for answer in answers.kept
        if answer.participant not in missed | unchecked and not study.trials[answer.trial].is_check
    ]
    if not counted:
        raise UserError(
            f"no answer counts, as all participants are left out: {len(missed)} who missed an "
            f"attention check, {len(unchecked)} who saw none: ask more people"
        )
    return Preferences(
        to=study.to,
        participants=len({answer.participant for answer in counted}),
        missed=len(missed),
        unchecked=len(unchecked),
        answers=len(counted),
        left=sum(answer.side == "left" for answer in counted) / len(counted),
        torn=answers.torn,
        preferences=tuple(_preferences(study, counted)),
    )


def _left_out(study: Study, kept: Collection[Kept]) -> tuple[set[str], set[str]]:
    """Participants who missed a check, and those who saw none although there are some."""
    checks = [answer for answer in kept if study.trials[answer.trial].is_check]
    missed = {
        answer.participant
        for answer in checks
        if study.trials[answer.trial].method_of(answer.choice) != REAL
    }
    if not any(trial.is_check for trial in study.trials):
        return set(), set()
    checked = {answer.participant for answer in checks}
    return missed, {answer.participant for answer in kept} - checked


def _preferences(study: Study, counted: Collection[Kept]) -> Iterator[Preference]:
    outcomes: dict[tuple[Question, str, str], int] = {}  # answers by winner and loser
    for answer in counted:
        trial = study.trials[answer.trial]
        both = (trial.left.method, trial.right.method)
        winner = trial.method_of(answer.choice)
        assert winner is not None  # answers are checked when they are read
        loser = both[1 - both.index(winner)]
        key = (trial.question, winner, loser)
        outcomes[key] = outcomes.get(key, 0) + 1
    for question in QUESTIONS:
        for first, second in combinations((*study.methods, REAL), 2):
            chosen = outcomes.get((question, first, second), 0)
            total = chosen + outcomes.get((question, second, first), 0)
            if total:
                share, low, high = wilson(chosen, total)
                yield Preference(
                    question=question,
                    first=first,
                    second=second,
                    answers=total,
                    chosen=chosen,
                    share=share,
                    low=low,
                    high=high,
                )
