import json
import logging
import time
from pathlib import Path

import pytest

from errors import UserError
from training.tracking.outbox import Blocked, Call, Forgotten, NotYet, Outbox, Refused


class Store:
    """A store that can be away, refuse, or lose its answer."""

    def __init__(self, address: str = "here"):
        self.address = address
        self.away = False
        self.waits = 0  # attempts until it can
        self.refuses: set[str] = set()
        self.blocked = self.forgets = False
        self.took: list[int] = []
        self.attempts = 0

    def carry(self, call: Call, notes: dict[str, str]) -> None:
        self.attempts += 1
        if self.away:
            raise ConnectionError("nobody at home")
        if self.attempts <= self.waits:
            raise NotYet
        if self.blocked:
            raise Blocked("mend me")
        if self.forgets:
            self.forgets = False
            self.took.clear()
            raise Forgotten
        if call.kind in self.refuses:
            raise Refused("never")
        notes["last"] = str(call.content["number"])
        self.took.append(call.content["number"])


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.tracking.outbox._FIRST_PAUSE", 0.01)


def _outbox(folder: Path, store: Store) -> Outbox:
    return Outbox(folder, store, what="the store")


def _fill(outbox: Outbox, *numbers: int) -> None:
    for number in numbers:
        outbox.put("count", number=number)


def _wait(condition: object, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:  # type: ignore[operator]
        time.sleep(0.005)
    assert condition()  # type: ignore[operator]


def test_calls_are_delivered_in_order_while_others_are_put_in(tmp_path: Path, store: Store) -> None:
    outbox = _outbox(tmp_path, store)
    _fill(outbox, *range(50))
    assert outbox.close(10) == 0
    assert store.took == list(range(50))


def test_a_store_that_comes_back_gets_everything_and_one_warning_was_given(
    tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.away = True
    outbox = _outbox(tmp_path, store)
    _fill(outbox, 0, 1, 2)
    _wait(lambda: store.attempts >= 3)
    store.away = False
    _wait(lambda: store.took == [0, 1, 2])
    store.away = True
    _fill(outbox, 3)
    assert outbox.close(10) == 1
    warnings = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "the store at here does not answer (nobody at home): training goes on" in warnings[0]


def test_a_store_that_waits_for_somebody_else_is_not_away(
    tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.waits = 3
    outbox = _outbox(tmp_path, store)
    _fill(outbox, 0)
    assert outbox.close(10) == 0  # waiting goes on, too
    assert (store.took, store.attempts, caplog.text) == ([0], 4, "")


def test_a_later_process_delivers_what_is_left_once(tmp_path: Path, store: Store) -> None:
    store.away = True
    first = _outbox(tmp_path, store)
    _fill(first, 0, 1)
    assert first.close(10) == 2
    store.away = False
    second = _outbox(tmp_path, store)
    assert [call.content["number"] for call in second.calls] == [0, 1]
    _fill(second, 2)
    assert second.close(10) == 0
    assert _outbox(tmp_path, store).close(10) == 0
    assert store.took == [0, 1, 2]


def test_waiting_ends_with_the_first_attempt_that_fails(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.tracking.outbox._FIRST_PAUSE", 60)
    store.away = True
    outbox = _outbox(tmp_path, store)
    _fill(outbox, 0)
    _wait(lambda: store.attempts == 1)
    begin = time.monotonic()
    assert outbox.close(30) == 1
    assert store.attempts == 2  # a last one
    assert time.monotonic() - begin < 5


def test_what_is_refused_does_not_hold_up_the_rest(
    tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.refuses = {"nonsense"}
    outbox = _outbox(tmp_path, store)
    outbox.put("nonsense", number=0)
    _fill(outbox, 1)
    assert outbox.close(10) == 0
    assert store.took == [1]
    assert "the store refuses nonsense: never" in caplog.text


def test_a_store_that_must_be_mended_first_is_not_told_less(
    tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.blocked = True
    outbox = _outbox(tmp_path, store)
    _fill(outbox, 0, 1)
    _wait(lambda: store.attempts >= 3)
    assert outbox.close(10) == 2
    warnings = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert (
        "the store at here takes nothing (mend me): training goes on, reports wait" in warnings[0]
    )
    store.blocked = False
    assert _outbox(tmp_path, store).close(10) == 0
    assert store.took == [0, 1]


def test_a_store_that_has_forgotten_everything_is_told_again(
    tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    first = _outbox(tmp_path, store)
    _fill(first, 0, 1, 2)
    assert first.close(10) == 0
    store.forgets = True
    second = _outbox(tmp_path, store)
    _fill(second, 3)
    _wait(lambda: store.took == [0, 1, 2, 3])
    assert second.close(10) == 0
    assert caplog.text.count("the store at here has forgotten what it was told") == 1
    assert json.loads((tmp_path / "delivered.json").read_text())["count"] == 4


def test_a_line_that_a_kill_cut_short_is_forgotten(tmp_path: Path, store: Store) -> None:
    outbox = _outbox(tmp_path, store)
    _fill(outbox, 0)
    assert outbox.close(10) == 0
    with (tmp_path / "calls.jsonl").open("a") as file:
        file.write(json.dumps(["count", {"number": 1}])[:-3])
    resumed = _outbox(tmp_path, store)
    _fill(resumed, 2)
    assert resumed.close(10) == 0
    assert store.took == [0, 2]


def test_another_store_gets_everything_from_the_beginning(tmp_path: Path, store: Store) -> None:
    outbox = _outbox(tmp_path, store)
    _fill(outbox, 0, 1)
    assert outbox.close(10) == 0
    elsewhere = Store("elsewhere")
    assert _outbox(tmp_path, elsewhere).close(10) == 0
    assert elsewhere.took == [0, 1]


def test_two_outboxes_of_one_folder_deliver_each_call_once(tmp_path: Path, store: Store) -> None:
    store.away = True
    first = _outbox(tmp_path, store)
    _fill(first, *range(20))
    second = _outbox(tmp_path, store)
    store.away = False
    _wait(lambda: len(store.took) == 20)
    first.close(0.1)  # it may not know what the other has delivered
    begin = time.monotonic()
    assert second.close(10) == 0
    assert time.monotonic() - begin < 5  # it does not wait for what is there
    assert store.took == list(range(20))


@pytest.mark.parametrize(
    "line", ["{}", "[]", "3", "no JSON", '["count"]', '["count", 3]', '{"position": 4}']
)
def test_calls_of_somebody_else_are_named_by_their_file(
    tmp_path: Path, store: Store, line: str
) -> None:
    (tmp_path / "calls.jsonl").write_text(f"{line}\n")
    with pytest.raises(
        UserError, match=rf"^{tmp_path}/calls\.jsonl holds other lines than what .*: move it away$"
    ):
        _outbox(tmp_path, store)


@pytest.mark.parametrize("content", [b"", b"{}", b"[3]", b"\xff\xfe"])
def test_a_state_of_somebody_else_is_named_by_its_file(
    tmp_path: Path, store: Store, content: bytes
) -> None:
    (tmp_path / "delivered.json").write_bytes(content)
    with pytest.raises(
        UserError,
        match=rf"^{tmp_path}/delivered\.json is .*: delete it, and everything is told anew$",
    ):
        _outbox(tmp_path, store)
