"""vqi2i serve: models behind HTTP."""

from contextlib import suppress
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

    paths: dict[str, str] = {}
    for setting in models:
        name, separator, model = setting.rpartition("=")
        paths[name if separator else _name_of(model)] = model
    with suppress(KeyboardInterrupt):
        url = run(paths, host=host, port=port)
        for number in (signal.SIGINT, signal.SIGTERM):  # Ray has put its own handlers there
            signal.signal(number, signal.default_int_handler)
        console.print(f"[bold]{url}/docs[/bold]  (Ctrl-C stops)")
        threading.Event().wait()
    import ray
    from ray import serve as ray_serve

    ray_serve.shutdown()
    ray.shutdown()


def _name_of(model: str) -> str:
    """`seasons` for models:/seasons@champion, models:/seasons/3, some/seasons and some/seasons/bundle."""
    if model.startswith(("models:/", "runs:/")):
        return model.split(":/", 1)[1].strip("/").split("@")[0].split("/")[0]
    path = Path(model).resolve()
    return path.parent.name if path.name == "bundle" else path.name
