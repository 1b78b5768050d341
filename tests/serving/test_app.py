"""The application on a real Ray Serve, over real HTTP."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

import imaging
from errors import UserError
from serving import app, launch
from serving.http.schema import Limits
from tests.servers import free_port
from vqi2i import BundleError

PICTURES = [
    np.random.default_rng(seed).integers(0, 256, (24, 32, 3), np.uint8) for seed in range(8)
]


def test_a_misspelt_argument_is_refused(tiny_bundle):
    with pytest.raises(UserError, match="max_bacth_size: Extra inputs are not permitted"):
        app.build({"models": {"seasons": str(tiny_bundle)}, "max_bacth_size": 4})
    with pytest.raises(UserError, match="max_replicas is 1 but min_replicas 2"):
        app.build({"models": {"seasons": str(tiny_bundle)}, "min_replicas": 2, "max_replicas": 1})


def test_the_settings_reach_the_replicas(tiny_bundle):
    labels = {"vqi2i/role": "serving"}
    application = app.build(
        {"models": {"seasons": str(tiny_bundle)}, "num_gpus": 0.5, "label_selector": labels}
    )
    model = application._bound_deployment.init_args[2]["seasons"]._bound_deployment
    assert model.name == "model-seasons"
    assert model.ray_actor_options["num_gpus"] == 0.5
    assert model.ray_actor_options["label_selector"] == labels


def test_a_model_that_does_not_exist_is_refused_before_anything_starts(tmp_path):
    with pytest.raises(BundleError, match="there is no model at"):
        launch.run({"seasons": tmp_path / "nowhere"})


def test_a_port_that_is_taken_is_named(tiny_bundle):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(
            ValueError, match=f"cannot listen on 127.0.0.1:{port} .*: choose another port"
        ):
            launch.run({"seasons": tiny_bundle}, port=port)


@pytest.fixture(scope="module")
def client(started_ray: None, tiny_bundle: Path) -> Iterator[httpx.Client]:
    """A client of a server with one model, one replica."""
    from ray import serve

    port = free_port()
    limits = Limits(large_at_once=1)
    settings = app.Settings(
        max_batch_size=4, max_replicas=1, batch_wait_timeout_s=0.05, limits=limits
    )
    served = launch.run({"seasons": tiny_bundle}, port=port, settings=settings)
    with httpx.Client(base_url=served.url, timeout=240) as client:
        yield client
        others = set(serve.status().applications) - {"vqi2i"}
        served.stop()
        assert set(serve.status().applications) == others
        assert all(client.get(f"/{name}").text == name for name in others)
    serve.shutdown()


def faulty() -> type:
    """A deployment's class whose model fails: by a fault of ours, or with a reason. It travels by
    value.
    """

    class Faulty(app.Model):
        def __init__(self, *given: object):
            super().__init__(*given)
            from errors import UserError
            from vqi2i import Translator

            def translate(*_: object, target: str, **__: object) -> None:
                raise (
                    UserError("it is too warm: wait")
                    if target == "summer"
                    else ValueError("no such season")
                )

            Translator.translate = translate  # type: ignore[assignment]

    return Faulty


def translate(client: httpx.Client, index: int) -> httpx.Response:
    files = {"image": imaging.encode(PICTURES[index % len(PICTURES)])}
    return client.post("/v1/translate", files=files, data={"to": "winter", "seed": index})


def large(client: httpx.Client, side: int, timeout: float) -> httpx.Response:
    """A translation that does not share a batch."""
    files = {"image": imaging.encode(np.zeros((side, side, 3), np.uint8))}
    return client.post("/v1/translate", files=files, data={"to": "winter"}, timeout=timeout)


@pytest.mark.ray
@pytest.mark.slow
class TestServed:
    """One server for all of these."""

    def test_it_is_healthy_ready_and_documented(self, client):
        assert client.get("/healthz").json() == {"status": "ok"}
        assert client.get("/readyz").json() == {"status": "ready"}
        assert "swagger" in client.get("/docs").text
        (model,) = client.get("/v1/models").json()["models"]
        assert model["name"] == "seasons"
        assert model["domains"] == ["summer", "winter"]

    def test_concurrent_requests_give_the_same_pixels_as_alone(self, client):
        alone = [translate(client, index) for index in range(8)]
        assert {response.status_code for response in alone} == {200}
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(lambda index: translate(client, index), range(8)))
        assert [response.content for response in together] == [
            response.content for response in alone
        ]
        assert len({response.content for response in alone}) == 8
        assert imaging.decode(alone[0].content).shape == (24, 32, 3)

    def test_images_are_extended(self, client):
        files = {"image": imaging.encode(PICTURES[0])}
        fields = {"domain": "summer", "left": 4, "right": 8, "top": 2, "paste": 2, "seed": 1}
        first, again = (client.post("/v1/extend", files=files, data=fields) for _ in range(2))
        assert imaging.decode(first.content).shape == (2 + 24, 4 + 32 + 8, 3)
        assert first.content == again.content

    def test_errors_say_what_to_do(self, client):
        files = {"image": imaging.encode(PICTURES[0])}
        response = client.post("/v1/translate", files=files, data={"to": "autumn"})
        assert response.status_code == 422
        assert response.headers["content-type"] == "application/problem+json"
        assert "choose one of summer, winter" in response.json()["detail"]

    def test_a_fault_of_the_model_is_told_as_one_of_the_server(
        self, client, tiny_bundle, monkeypatch
    ):
        from ray import serve

        monkeypatch.setattr(app, "Model", faulty())
        serve.run(
            app.build({"models": {"seasons": str(tiny_bundle)}}),
            name="faulty",
            route_prefix="/faulty",
        )
        files = {"image": imaging.encode(PICTURES[0])}
        told = {
            to: client.post("/faulty/v1/translate", files=files, data={"to": to, "source": source})
            for to, source in (("winter", "summer"), ("summer", "winter"))
        }
        assert {to: answer.status_code for to, answer in told.items()} == {
            "winter": 500,
            "summer": 422,
        }
        assert (
            told["winter"].json()["detail"]
            == "the model failed (ValueError), a fault of ours: its log says why"
        )
        assert told["summer"].json()["detail"] == "it is too warm: wait"
        serve.delete("faulty")

    def test_a_large_request_stops_when_its_client_goes_and_keeps_nobody_waiting(self, client):
        with ThreadPoolExecutor(1) as pool:
            panorama = pool.submit(large, client, side=2000, timeout=6)  # minutes of work
            time.sleep(2)
            assert [translate(client, index).status_code for index in range(3)] == [200] * 3
            with pytest.raises(httpx.ReadTimeout):
                panorama.result()
        # The place of large requests is free again, and so is the thread that they are computed on.
        assert large(client, side=520, timeout=60).status_code == 200

    def test_an_application_is_served_beside_others_and_leaves_them_alone(
        self, client, tiny_bundle_without_prior
    ):
        from ray import serve

        @serve.deployment(ray_actor_options={"num_cpus": 0})
        class Hello:
            async def __call__(self, request: object) -> str:
                return "hello"

        serve.run(Hello.bind(), name="hello", route_prefix="/hello")
        models = {"plain": tiny_bundle_without_prior}
        with pytest.raises(
            UserError,
            match=r"listens on 127\.0\.0\.1:\d+ and cannot listen elsewhere .* leave out --host",
        ):
            launch.run(models, port=client.base_url.port + 1)
        with pytest.raises(
            UserError, match="serves an application 'vqi2i' at / already: choose another --name"
        ):
            launch.run(models)
        served = launch.run(models, name="other", port=client.base_url.port)
        assert served.url == f"{str(client.base_url).rstrip('/')}/other"
        assert httpx.get(f"{served.url}/v1/models").json()["models"][0]["name"] == "plain"
        assert "/other/openapi.json" in httpx.get(f"{served.url}/docs").text
        served.stop()
        assert client.get("/other/v1/models").status_code == 404
        assert client.get("/hello").text == "hello"
        assert client.get("/readyz").status_code == 200

    def test_no_request_fails_when_a_replica_is_killed(self, client):
        import ray
        from ray.util.state import list_actors

        kind = [("class_name", "=", "ServeReplica:vqi2i:model-seasons"), ("state", "=", "ALIVE")]
        here = ray.get_runtime_context().gcs_address  # other Rays may run on this machine
        (replica,) = list_actors(here, filters=kind, detail=True)
        with ThreadPoolExecutor(8) as pool:
            answers = [pool.submit(translate, client, index) for index in range(60)]
            answers[10].result()
            os.kill(replica.pid, signal.SIGKILL)
            assert [answer.result().status_code for answer in answers] == [200] * 60
        (successor,) = list_actors(here, filters=kind, detail=True)
        assert successor.pid != replica.pid
