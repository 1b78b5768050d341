"""The server of a study over real HTTP: what it gives, what it takes, and what it refuses."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from errors import UserError
from evaluation.study.answers import FILE, read_answers
from evaluation.study.server import LONGEST, serve
from evaluation.study.trials import Study
from tests.evaluation.study.conftest import answer, served
from tests.servers import free_port

Built = tuple[Path, Study]


@pytest.fixture
def client(study: Built) -> Iterator[httpx.Client]:
    with served(*study) as url, httpx.Client(base_url=url) as client:
        yield client


def sent(client: httpx.Client, body: str | bytes, kind: str = "application/json") -> httpx.Response:
    return client.post("/answers", content=body, headers={"Content-Type": kind})


def test_the_page_is_given_and_the_key_is_not(client: httpx.Client, study: Built) -> None:
    shown = client.get("/")
    assert shown.status_code == 200
    assert shown.text == (study[0] / "page.html").read_text()
    assert shown.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in shown.headers["content-security-policy"]
    assert client.head("/").status_code == 200
    for path in ("/trials.json", "/answers.jsonl", "/page.html", "/../trials.json", "/%2e%2e/x"):
        refused = client.get(path)
        assert refused.status_code == 404
        assert refused.text.endswith("the study is at /")
    assert client.get("/answers").status_code == 405


def test_an_answer_is_written_before_it_is_acknowledged(client: httpx.Client, study: Built) -> None:
    folder, trials = study
    body = answer(trials, 1, 0).model_dump_json()
    assert sent(client, body).status_code == 201
    assert len(read_answers(folder, trials).kept) == 1
    assert sent(client, body).status_code == 200
    assert sent(client, answer(trials, 1, 0, right=True).model_dump_json()).status_code == 200
    assert (folder / FILE).read_text().count("\n") == 1


def test_many_at_once_are_all_counted_once(client: httpx.Client, study: Built) -> None:
    folder, trials = study
    bodies = [
        answer(trials, who, trial).model_dump_json()
        for who in range(8)
        for trial in range(5)
        for _ in range(3)
    ]
    with ThreadPoolExecutor(12) as pool:
        codes = [reply.status_code for reply in pool.map(lambda body: sent(client, body), bodies)]
    assert (codes.count(201), codes.count(200)) == (40, 80)
    assert len(read_answers(folder, trials).kept) == 40
    assert (folder / FILE).read_text().count("\n") == 40


def test_what_is_no_answer_gets_a_sentence_and_is_not_written(
    client: httpx.Client, study: Built
) -> None:
    folder, trials = study
    good = answer(trials, 1, 0)
    for body, kind, status in (
        ("", "application/json", 422),
        ("{", "application/json", 422),
        (b"\xff\x00", "application/json", 422),
        (good.model_copy(update={"trial": 999}).model_dump_json(), "application/json", 422),
        (good.model_copy(update={"study": "rival"}).model_dump_json(), "application/json", 422),
        (good.model_dump_json(), "text/plain", 415),  # as a form of another site could send it
        (good.model_dump_json() + " " * LONGEST, "application/json", 413),
    ):
        refused = sent(client, body, kind)
        assert refused.status_code == status
        assert len(refused.text.splitlines()) == 1
    unannounced = client.post(
        "/answers",
        content=iter([b" " * 1000] * 100),
        headers={"Content-Type": "application/json"},
    )
    assert unannounced.status_code == 413
    assert (folder / FILE).read_bytes() == b""
    assert sent(client, good.model_dump_json()).status_code == 201


def test_an_answer_that_cannot_be_written_is_not_acknowledged(
    client: httpx.Client, study: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, trials = study
    body = answer(trials, 1, 0).model_dump_json()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("os.fsync", full)
        refused = sent(client, body)
    assert (refused.status_code, refused.text) == (
        507,
        "the answer could not be written: try again later",
    )
    assert sent(client, body).status_code == 201
    assert len(read_answers(folder, trials).kept) == 1


def test_a_new_server_goes_on(study: Built) -> None:
    folder, trials = study
    for who in (1, 2):
        with served(folder, trials) as url:
            for number in range(2):
                body = answer(trials, number, 0).model_dump_json()
                headers = {"Content-Type": "application/json"}
                code = httpx.post(f"{url}/answers", content=body, headers=headers).status_code
                assert code == (201 if who == 1 else 200)
    assert len(read_answers(folder, trials).kept) == 2


def test_a_port_in_use_is_told(study: Built) -> None:
    with served(*study) as url, pytest.raises(UserError, match=r"nobody can listen at 127.0.0.1"):
        serve(study[0], host="127.0.0.1", port=int(url.rpartition(":")[2]), tell=print)
    with pytest.raises(UserError, match="give another --host or --port"):
        serve(study[0], host="no.such.host.invalid", port=free_port(), tell=print)
