"""Answers: on disk before they are acknowledged, each once, whatever was cut short."""

import json
import os
from pathlib import Path

import pytest

from errors import UserError
from evaluation.study.answers import FILE, AnswerError, AnswerLog, read_answer, read_answers
from evaluation.study.trials import Study
from tests.evaluation.study.conftest import answer

Built = tuple[Path, Study]


def test_an_answer_is_on_disk_when_it_is_kept(
    study: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, trials = study
    synced: list[bytes] = []
    monkeypatch.setattr(os, "fsync", lambda _: synced.append((folder / FILE).read_bytes()))
    with AnswerLog(folder, trials) as log:
        assert log.add(answer(trials, 1, 0))
    assert synced == [(folder / FILE).read_bytes()]
    (kept,) = read_answers(folder, trials).kept
    assert kept.model_dump(exclude={"time"}) == answer(trials, 1, 0).model_dump()
    assert kept.time.tzinfo is not None


def test_the_first_answer_of_a_participant_to_a_trial_counts(study: Built) -> None:
    folder, trials = study
    with AnswerLog(folder, trials) as log:
        assert log.add(answer(trials, 1, 0))
        assert not log.add(answer(trials, 1, 0, right=True))
        assert log.add(answer(trials, 2, 0, right=True))
    with AnswerLog(folder, trials) as log:  # a new server knows them, too
        assert not log.add(answer(trials, 2, 0))
    assert [each.side for each in read_answers(folder, trials).kept] == ["left", "right"]
    path = folder / FILE
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 2
    contrary = lines[1].replace(b"0" * 31 + b"2", b"0" * 31 + b"1")
    path.write_bytes(b"".join([*lines, contrary]))
    assert [each.side for each in read_answers(folder, trials).kept] == ["left", "right"]


@pytest.mark.parametrize("left", [1, 9, 60, -2])
def test_a_line_that_was_cut_short_costs_that_answer_alone(study: Built, left: int) -> None:
    folder, trials = study
    with AnswerLog(folder, trials) as log:
        log.add(answer(trials, 1, 0))
        whole = (folder / FILE).read_bytes()
        log.add(answer(trials, 1, 1))
    second = (folder / FILE).read_bytes()[len(whole) :]
    (folder / FILE).write_bytes(whole + second[:left])
    assert [each.trial for each in read_answers(folder, trials).kept] == [0]
    with AnswerLog(folder, trials) as log:
        assert log.add(answer(trials, 1, 1))
        assert log.add(answer(trials, 1, 2))
    found = read_answers(folder, trials)
    assert [each.trial for each in found.kept] == [0, 1, 2]
    assert found.torn == 1
    assert (folder / FILE).read_bytes().startswith(whole + second[:left] + b"\n")


def test_after_a_write_that_failed_the_next_one_has_its_own_line(
    study: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, trials = study
    write = os.write
    with AnswerLog(folder, trials) as log:
        with monkeypatch.context() as full:
            full.setattr(os, "write", lambda file, data: write(file, data[:50]))
            with pytest.raises(OSError, match="only 50 of"):
                log.add(answer(trials, 1, 0))
        assert log.add(answer(trials, 1, 0))
    found = read_answers(folder, trials)
    assert (len(found.kept), found.torn) == (1, 1)


def test_what_is_no_answer_to_a_trial_is_refused(study: Built) -> None:
    _, trials = study
    good = answer(trials, 1, 0)
    assert read_answer(good.model_dump_json().encode(), trials) == good
    offered = {trials.trials[0].left.picture, trials.trials[0].right.picture}
    other = next(number for number in range(9) if number not in offered)
    for changes, sentence in (
        ({"study": "0" * 16}, "another study"),
        ({"participant": "me"}, "participant: String should match"),
        ({"trial": len(trials.trials)}, f"no trial {len(trials.trials)}"),
        ({"trial": -1}, "trial: Input should be greater"),
        ({"trial": "0"}, "trial: Input should be a valid integer"),
        ({"choice": other}, f"does not offer picture {other}"),
        ({"side": "up"}, "side: Input should be 'left' or 'right'"),
        ({"milliseconds": 10**9}, "milliseconds: Input should be less"),
        ({"time": "2020-01-01T00:00:00Z"}, "time: Extra inputs"),
    ):
        body = json.dumps(good.model_dump() | changes)
        with pytest.raises(AnswerError, match=sentence):
            read_answer(body.encode(), trials)
    for body in (b"", b"[]", b"\xff", b"null", b'{"study": NaN}'):
        with pytest.raises(AnswerError, match=r"this is not an answer .*: reload the page"):
            read_answer(body, trials)


def test_a_file_of_something_else_is_named_and_left_alone(study: Built) -> None:
    folder, trials = study
    for content, sentence in (
        (b"{}\n", "line 1: this is no answer"),
        (b"\nsome text\n", "line 2: this is no answer"),
        (b"\x89PNG\r\n\x1a\n", "line 1: this is no answer"),
    ):
        (folder / FILE).write_bytes(content)
        for read in (read_answers, AnswerLog):
            with pytest.raises(UserError, match=f"answers.jsonl, {sentence}.*: move the file away"):
                read(folder, trials)
        assert (folder / FILE).read_bytes() == content
    (folder / FILE).unlink()
    with AnswerLog(folder, trials) as log:
        log.add(answer(trials, 1, 0))
    other = trials.model_copy(update={"seed": 1})
    with pytest.raises(UserError, match="an answer to another study: move the file away"):
        read_answers(folder, other)
