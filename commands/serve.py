"""vqi2i serve: models behind HTTP."""

from pathlib import Path
from typing import Annotated

import typer

from commands.console import console


def serve(
    models: Annotated[list[str], typer.Argument(help="Bundles or MLflow URIs; NAME=MODEL gives one a name.")],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 opens it to the network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
) -> None:
    """Serve models over HTTP until interrupted; the interface is described at /docs.

    Example: vqi2i serve demo/model --port 8000
    """
    import signal
    import threading

    from serving.app import run
    from serving.registry import resolve

    paths: dict[str, Path] = {}
    for setting in models:
        name, separator, model = setting.rpartition("=")
        path = resolve(model)
        paths[name if separator else path.resolve().name] = path
    url = run(paths, host=host, port=port)
    console.print(f"[bold]{url}/docs[/bold]  (Ctrl-C stops)")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()
    import ray
    from ray import serve as ray_serve

    ray_serve.shutdown()
    ray.shutdown()
