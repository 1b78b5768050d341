"""Clusters that are gone are told at once; Ray would wait for minutes, and then end the process."""

import time
from pathlib import Path

import pytest

from errors import UserError
from pipelines.cluster import join_ray
from platforms import ray_cluster
from serving import launch
from tests.servers import http_answer, nobody, strange_server


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """No Ray of this process, nor of others on this machine, unless a test wants the session's."""
    if "ray_session" in request.fixturenames:
        return
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", frozenset)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (nobody(), "Connection refused"),
        (f"ray://{nobody()}", "Connection refused"),
        ("nowhere.invalid:6379", "nowhere.invalid"),
        ("nonsense", "not of the form HOST:PORT"),
        ("auto", "Could not find any running Ray instance"),
    ],
)
def test_an_address_where_nobody_is_ends_in_one_sentence(address: str, reason: str) -> None:
    begin = time.monotonic()
    with pytest.raises(UserError) as refused:
        join_ray(address)
    assert time.monotonic() - begin < 10
    assert str(refused.value).startswith(f"no Ray cluster answers at {address} (")
    assert reason in str(refused.value)
    assert "RAY_ADDRESS" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "answer", [None, http_answer("200 OK", "text/html", b"<html>"), b"220 mail\r\n"]
)
def test_a_port_of_something_else_ends_in_one_sentence(
    answer: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_cluster, "_PATIENCE", 1.0)
    with strange_server(answer) as port:
        for address in (f"localhost:{port}", f"ray://127.0.0.1:{port}"):
            monkeypatch.setattr("ray._private.services.get_node_ip_address", lambda: "127.0.0.1")
            begin = time.monotonic()
            with pytest.raises(UserError, match=f"no Ray cluster answers at {address}"):
                join_ray(address)
            assert time.monotonic() - begin < 10


def test_the_address_of_a_ray_that_has_ended_is_not_trusted(tmp_path: Path) -> None:
    """What `ray start` has written down stays behind when a machine is switched off."""
    from ray._private.utils import get_ray_address_file

    file = Path(get_ray_address_file(None))
    assert file.is_relative_to(tmp_path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(nobody())
    with pytest.raises(UserError, match=r"no Ray cluster answers at auto \(.*Connection refused"):
        join_ray("auto")


def test_serving_asks_first_too(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = nobody()
    monkeypatch.setenv("RAY_ADDRESS", address)
    begin = time.monotonic()
    with pytest.raises(UserError, match=f"no Ray cluster answers at {address}"):
        launch.run({"seasons": tiny_bundle}, port=int(nobody().rpartition(":")[2]))
    assert time.monotonic() - begin < 10


def test_with_certificates_the_port_is_tried_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USE_TLS", "1")
    assert "refused" in str(ray_cluster._silence(nobody(), head=True))
    with strange_server(None) as port:
        assert ray_cluster._silence(f"127.0.0.1:{port}", head=True) is None


@pytest.mark.ray
def test_a_cluster_that_is_there_answers_and_only_its_head_is_one(ray_session: None) -> None:
    import ray

    (node,) = ray.nodes()
    assert ray_cluster._silence(ray.get_runtime_context().gcs_address, head=True) is None
    worker = f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"
    assert (
        ray_cluster._silence(worker, head=True) == "what listens there is not the head of a cluster"
    )
