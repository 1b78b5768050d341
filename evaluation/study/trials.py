"""The trials of a study: which two pictures stand beside each other, on which side.

`trials.json` is the key to the page: it alone knows whose picture is whose, and is never served.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from pydantic import Field

from errors import UserError
from evaluation.study.folders import REAL, Folders
from vqi2i.checking.frozen import Frozen
from vqi2i.checking.validation import parsed

FILE = "trials.json"
BROKEN = "broken"  # what an attention check shows beside a real picture
Question = Literal["realism", "content"]
Side = Literal["left", "right"]
QUESTIONS: tuple[Question, ...] = ("realism", "content")
_WORDINGS: dict[Question, str] = {
    "realism": "Which one looks more like a real {to} picture?",
    "content": "Which one keeps more of what the original shows?",
}
Item = TypeVar("Item")


def wording(question: Question, to: str) -> str:
    """A question as participants read it, about pictures of the domain `to`."""
    return _WORDINGS[question].format(to=to)


class Shown(NamedTuple):
    """A picture of the page: a file as it is, or a broken version of it."""

    path: Path
    broken: bool = False


class Alternative(Frozen):
    """One of the two pictures of a trial."""

    method: str = Field(description="a method's name, `real` or, in a check, `broken`")
    file: str = Field(description="where the picture comes from")
    picture: int = Field(ge=0, description="its place among the pictures of the page")


class Trial(Frozen):
    """One question: two pictures, of which a participant chooses one."""

    question: Question
    left: Alternative
    right: Alternative
    source: Alternative | None = Field(default=None, description="whose content is asked about")

    @property
    def is_check(self) -> bool:
        """Whether the answer is known."""
        return BROKEN in (self.left.method, self.right.method)

    def method_of(self, picture: int) -> str | None:
        """Whose picture this is; None if the trial does not offer it."""
        return {each.picture: each.method for each in (self.left, self.right)}.get(picture)


class Study(Frozen):
    """All trials of a study, in the order of the page."""

    format_version: Literal[1] = 1
    to: str = Field(description="the domain that pictures should look like")
    methods: tuple[str, ...] = Field(description="in the order given; real images not counted")
    size: int = Field(ge=1, description="side of every picture in pixels")
    seed: int
    trials: tuple[Trial, ...]

    @property
    def identity(self) -> str:
        """What tells answers to this study from those to another: 16 hexadecimal digits."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def read_study(folder: Path) -> Study:
    """The study in a folder.

    Raises:
        UserError: there is none, or its file holds something else.
    """
    path = folder / FILE
    if not path.is_file():
        raise UserError(f"{folder} holds no study: build one with `vqi2i study build`")
    return parsed(Study, path.read_bytes(), str(path), "build the study again in another folder")


def draw(
    folders: Folders, *, trials: int, checks: int, seed: int
) -> tuple[tuple[Trial, ...], list[Shown]]:
    """Draw the trials of a study.

    Every pair of methods gets equally many of them (or one more), each method of a pair stands
    equally often on both sides, and a check has the real picture as often left as right. Order and
    everything else is random by the seed.

    Args:
        folders: the pictures there are.
        trials: of each question; fewer if there are too few pictures.
        checks: attention checks beside them.
        seed: the same seed and folders give the same trials.

    Returns:
        the trials, and the pictures in the order of their numbers.

    Raises:
        UserError: there are fewer trials than pairs of methods.
    """
    rng = np.random.default_rng(seed)
    drafts = list(_comparisons(folders, trials, rng))
    drafts += _checks(folders.real, checks, rng)
    pictures = sorted({shown for draft in drafts for shown in draft.pictures()})
    pictures = _shuffled(pictures, rng)
    numbers = {shown: number for number, shown in enumerate(pictures)}
    return tuple(draft.numbered(numbers) for draft in _shuffled(drafts, rng)), pictures


class _Draft(NamedTuple):
    """A trial before its pictures have numbers: methods with what they show."""

    question: Question
    left: tuple[str, Shown]
    right: tuple[str, Shown]
    source: Shown | None = None

    def turned(self, swapped: bool) -> "_Draft":
        return self._replace(left=self.right, right=self.left) if swapped else self

    def pictures(self) -> list[Shown]:
        source = [self.source] if self.source is not None else []
        return [self.left[1], self.right[1], *source]

    def numbered(self, numbers: Mapping[Shown, int]) -> Trial:
        def named(method: str, shown: Shown) -> Alternative:
            return Alternative(method=method, file=str(shown.path), picture=numbers[shown])

        return Trial(
            question=self.question,
            left=named(*self.left),
            right=named(*self.right),
            source=named("source", self.source) if self.source is not None else None,
        )


def _comparisons(folders: Folders, trials: int, rng: np.random.Generator) -> Iterator[_Draft]:
    real = _Deck(folders.real, rng)
    for question in QUESTIONS if folders.sources else QUESTIONS[:1]:
        # a real image is of another place, so it cannot keep a source's content
        methods = [*folders.methods, *([REAL] if question == "realism" else [])]
        pairs = list(combinations(methods, 2))
        if trials < len(pairs):
            raise UserError(
                f"{trials} trials are too few for {len(pairs)} pairs of methods: give --trials "
                f"{len(pairs)} or more"
            )
        for place, pair in enumerate(pairs):
            count = len(range(place, trials, len(pairs)))  # trials are dealt to pairs in turn
            names = _shuffled(folders.names, rng)[:count]
            for name, swapped in zip(names, _sides(len(names), rng), strict=True):
                yield _comparison(folders, question, pair, name, real).turned(swapped)


def _comparison(
    folders: Folders, question: Question, pair: tuple[str, str], name: str, real: "_Deck"
) -> _Draft:
    first, second = (
        (method, Shown(real.next() if method == REAL else folders.methods[method][name]))
        for method in pair
    )
    source = Shown(folders.sources[name]) if question == "content" else None
    return _Draft(question, first, second, source)


def _checks(real: Sequence[Path], checks: int, rng: np.random.Generator) -> Iterator[_Draft]:
    deck = _Deck(real, rng)
    for swapped in _sides(checks, rng):
        path = deck.next()
        draft = _Draft("realism", (REAL, Shown(path)), (BROKEN, Shown(path, broken=True)))
        yield draft.turned(swapped)


class _Deck:
    """Deals its items in random order, all of them before any comes again."""

    def __init__(self, items: Sequence[Path], rng: np.random.Generator):
        self._items, self._rng = items, rng
        self._left: list[Path] = []

    def next(self) -> Path:
        self._left = self._left or _shuffled(self._items, self._rng)
        return self._left.pop()


def _shuffled(items: Sequence[Item], rng: np.random.Generator) -> list[Item]:
    return [items[place] for place in rng.permutation(len(items))]


def _sides(count: int, rng: np.random.Generator) -> list[bool]:
    """As many True as False, or one more of either, in random order."""
    first = int(rng.integers(2))
    return _shuffled([(place + first) % 2 == 1 for place in range(count)], rng)
