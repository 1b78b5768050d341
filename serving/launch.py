"""Serving from this process, on a Ray cluster that may be somebody else's: what is not ours is left
as it is.
"""

import logging
import os
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import ray
from ray import serve
from ray.serve._private.client import ServeControllerClient
from ray.serve.config import ProxyLocation
from ray.serve.context import _get_global_client

from errors import UserError
from platforms.ray_cluster import connect
from serving import names, registry
from serving.app import Settings, build
from vqi2i import Translator
from vqi2i.modules import finding_ours

HOST, PORT = "127.0.0.1", 8000
_EVERY_NETWORK = ("0.0.0.0", "::", None)
_PATIENCE = {
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60"
}  # 5 s are too few for a machine that is busy or slow
_log = logging.getLogger(__name__)


class Served:
    """An application of this process that answers at `url`."""

    def __init__(self, url: str, started: ExitStack):
        self.url = url
        self._started = started

    def stop(self) -> None:
        """End the application, and of Ray and Serve what was started for it; other applications go
        on.
        """
        self._started.close()


def run(
    models: Mapping[str, str | Path],
    *,
    host: str | None = None,
    port: int | None = None,
    name: str = "vqi2i",
    settings: Settings | None = None,
    request_timeout_s: float | None = 300,
) -> Served:
    """Serve models in the background; Ray is started on this machine if `RAY_ADDRESS` names no
    cluster.

    On a cluster that serves already, this is an application beside the others, below a path of its
    own.

    Args:
        models: bundle directories or MLflow URIs by name.
        host: address to listen on, 127.0.0.1 if None; "0.0.0.0" for every network. There is no
            authentication: put a proxy in front.
        port: TCP port to listen on, 8000 if None.
        name: of the application; on a cluster that serves already also its path.
        settings: batching, replicas and resources.
        request_timeout_s: a request that takes longer is answered with 408.

    Raises:
        UserError: the port is taken, or Serve of the cluster listens on another one; the name is
            taken; a model does not exist or is damaged.
    """
    names.check(name)
    application = build(
        {"models": {n: str(m) for n, m in models.items()}, **(settings or Settings()).model_dump()}
    )
    address = os.environ.get("RAY_ADDRESS") or "local"
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with ExitStack() as started:
        if not ray.is_initialized():
            if address == "local":  # nothing can be served there yet
                _check_port(host or HOST, port or PORT)
            workers = {"worker_process_setup_hook": finding_ours()}
            connect(address, runtime_env=workers)
            started.callback(ray.shutdown)
        prefix = f"/{name}"
        if (client := _get_global_client(raise_if_no_controller_running=False)) is not None:
            _check_place(client, host, port)
            _check_name(client, name, prefix)
        else:
            _check_port(host or HOST, port or PORT)
            options = {
                "host": host or HOST,
                "port": port or PORT,
                "request_timeout_s": request_timeout_s,
            }
            serve.start(
                http_options=options, controller_options={"runtime_env": {"env_vars": _PATIENCE}}
            )
            started.callback(_shut_down_if_idle)
            prefix = "/"
        started.callback(_delete, name)
        try:
            serve.run(application, name=name, route_prefix=prefix)
        except (
            RuntimeError
        ):  # a replica could not start; what is wrong with its model, this process meets as well
            for model in models.values():
                Translator.load(registry.resolve(str(model)))
            raise
        served = Served(_url(prefix), started.pop_all())
    _log.info("serving %s at %s; try %s/docs", ", ".join(models), served.url, served.url)
    return served


def _delete(name: str) -> None:
    if name in serve.status().applications:
        serve.delete(name)


def _shut_down_if_idle() -> None:
    if not serve.status().applications:
        serve.shutdown()


def _check_place(client: ServeControllerClient, host: str | None, port: int | None) -> None:
    """Raise a UserError if Serve of this cluster listens elsewhere than is asked for."""
    options = client.http_config
    if client.get_serve_details().get("proxy_location") == ProxyLocation.Disabled:
        raise UserError(
            "Ray Serve of this cluster answers no HTTP (its proxies are disabled): use another "
            "RAY_ADDRESS"
        )
    if (host or options.host, port or options.port) != (options.host, options.port):
        raise UserError(
            f"Ray Serve of this cluster listens on {options.host}:{options.port} and cannot "
            "listen elsewhere as well: leave out --host and --port, or use another RAY_ADDRESS"
        )


def _check_name(client: ServeControllerClient, name: str, prefix: str) -> None:
    """Raise a UserError if an application has this name or path."""
    applications = client.get_serve_details()["applications"]
    for other, application in applications.items():
        if other == name or application.get("route_prefix") == prefix:
            raise UserError(
                f"this Ray cluster serves an application {other!r} at "
                f"{application.get('route_prefix')} already: "
                "choose another --name for this one"
            )


def _url(prefix: str) -> str:
    """Where Serve of this cluster answers, by what it says itself."""
    client = _get_global_client()
    assert client is not None
    options, proxies = client.http_config, client.get_serve_details()["proxies"]
    host = options.host
    if host in _EVERY_NETWORK and ray.get_runtime_context().get_node_id() not in proxies:
        host = next(proxy["node_ip"] for proxy in proxies.values())
    return f"http://{host}:{options.port}{prefix.rstrip('/')}"


def _check_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(
                f"cannot listen on {host}:{port} ({error.strerror}): choose another port or host"
            ) from error
