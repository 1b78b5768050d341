"""vqi2i serve: models behind HTTP."""

from contextlib import suppress
from typing import Annotated

import typer

from commands.console import console


def serve(
    models: Annotated[
        list[str], typer.Argument(help="Bundles or MLflow URIs; NAME=MODEL gives one a name.")
    ],
    host: Annotated[
        str | None,
        typer.Option(
            help="Address to listen on, 127.0.0.1 if left out; 0.0.0.0 opens it to the network."
        ),
    ] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="8000 if left out.")] = None,
    name: Annotated[
        str, typer.Option(help="Of this application, where a Ray cluster serves others as well.")
    ] = "vqi2i",
) -> None:
    """Serve models over HTTP until interrupted; the interface is described at /docs.

    Example: vqi2i serve demo/model --port 8000
    """
    import signal
    import threading

    from serving.launch import run
    from serving.names import named

    served = None
    with suppress(KeyboardInterrupt):
        paths = named(models)
        served = run(paths, host=host, port=port, name=name)
        for number in (signal.SIGINT, signal.SIGTERM):  # Ray has put its own handlers there
            signal.signal(number, signal.default_int_handler)
        console.print(f"model{'s' if len(paths) > 1 else ''} {', '.join(paths)}")
        console.print(f"[bold]{served.url}/docs[/bold]  (Ctrl-C stops)")
        threading.Event().wait()
    if served is not None:
        served.stop()
