"""Answers of participants, one line each in a file that is only appended to."""

import os
import threading
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Self

from pydantic import Field, ValidationError

from errors import UserError
from evaluation.study.trials import Side, Study
from vqi2i.checking.frozen import Frozen
from vqi2i.checking.validation import fault

FILE = "answers.jsonl"
_DAY = 24 * 60 * 60 * 1000
_BEGINNING = b'{"study":'  # of every line


class Answer(Frozen):
    """What a participant's browser sends."""

    study: str = Field(max_length=64, description="identity of the study")
    participant: str = Field(pattern=r"^[0-9a-f]{32}$", description="random, made by the browser")
    trial: int = Field(ge=0)
    choice: int = Field(ge=0, description="number of the picture that was chosen")
    side: Side = Field(description="where the participant saw it")
    milliseconds: int = Field(ge=0, le=_DAY, description="that the pictures were to be seen")


class Kept(Answer):
    """The same as it is written down."""

    time: datetime = Field(description="when it arrived, UTC")


class AnswerError(UserError):
    """Something else than an answer to a trial of this study."""


def read_answer(data: bytes, study: Study) -> Answer:
    """The answer in the body of a request.

    Raises:
        AnswerError: it is none to a trial of this study.
    """
    try:
        answer = Answer.model_validate_json(data, strict=True)
    except ValidationError as error:
        raise AnswerError(f"this is not an answer ({fault(error)}): reload the page") from error
    _check(answer, study)
    return answer


def _check(answer: Answer, study: Study) -> None:
    if answer.study != study.identity:
        raise AnswerError("this is an answer to another study: reload the page")
    if answer.trial >= len(study.trials):
        raise AnswerError(f"there is no trial {answer.trial}: reload the page")
    if study.trials[answer.trial].method_of(answer.choice) is None:
        raise AnswerError(
            f"trial {answer.trial} does not offer picture {answer.choice}: reload the page"
        )


class AnswerLog:
    """The file of a study's answers, open to be appended to."""

    def __init__(self, folder: Path, study: Study):
        """Continue the file in `folder`.

        Raises:
            UserError: it holds something else than answers to this study.
        """
        kept = read_answers(folder, study).kept
        self._known = {(answer.participant, answer.trial) for answer in kept}
        self._lock = threading.Lock()
        self._file = os.open(folder / FILE, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        size = os.fstat(self._file).st_size
        self._torn = size > 0 and os.pread(self._file, 1, size - 1) != b"\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._file)

    def add(self, answer: Answer) -> bool:
        """Write an answer down; it is on disk afterwards.

        A participant's second answer to a trial is not: the first one counts.

        Returns:
            whether it is new.

        Raises:
            OSError: it could not be written.
        """
        line = Kept(**answer.model_dump(), time=datetime.now(UTC)).model_dump_json() + "\n"
        with self._lock:
            key = (answer.participant, answer.trial)
            if key in self._known:
                return False
            # what was cut short stays as it is, on a line of its own
            data = ("\n" * self._torn + line).encode()
            self._torn = True
            written = os.write(self._file, data)
            if written < len(data):
                raise OSError(f"only {written} of {len(data)} bytes of an answer were written")
            os.fsync(self._file)
            self._torn = False
            self._known.add(key)
        return True


class Answers(NamedTuple):
    """What a file of answers holds."""

    kept: Collection[Kept]  # the first of each participant to each trial
    torn: int  # lines that were cut short when the server was killed


def read_answers(folder: Path, study: Study) -> Answers:
    """The answers that were given so far; nobody has to stop for that.

    Raises:
        UserError: the file holds something else than answers to this study.
    """
    path = folder / FILE
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    kept: dict[tuple[str, int], Kept] = {}
    torn = 0
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        if _is_torn(line):
            torn += 1
            continue
        answer = _read_line(line, f"{path}, line {number}", study)
        kept.setdefault((answer.participant, answer.trial), answer)
    return Answers(list(kept.values()), torn)


def _is_torn(line: bytes) -> bool:
    """Whether this is the beginning of a line of ours: an object that nothing closes."""
    return line.startswith(_BEGINNING[: len(line)]) and not line.endswith(b"}")


def _read_line(line: bytes, place: str, study: Study) -> Kept:
    remedy = "move the file away, or analyse the study that it belongs to"
    try:
        answer = Kept.model_validate_json(line)
        _check(answer, study)
    except ValidationError as error:
        raise UserError(f"{place}: this is no answer ({fault(error)}): {remedy}") from error
    except AnswerError as error:
        raise UserError(
            f"{place}: {str(error).removesuffix(': reload the page')}: {remedy}"
        ) from error
    return answer
