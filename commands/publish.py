"""vqi2i publish: a bundle into the model registry."""

from typing import Annotated

import typer

from commands.console import JsonOption, conclude


def publish(
    bundle: Annotated[str, typer.Argument(help="A bundle directory or an MLflow URI.")],
    name: Annotated[str, typer.Option(help="Name of the registered model.")],
    alias: Annotated[str, typer.Option(help="Alias that will point at this version.")] = "champion",
    as_json: JsonOption = False,
) -> None:
    """Register a bundle in MLflow and point an alias at it.

    Example: vqi2i publish runs/stage2-laptop64/bundle --name seasons --alias champion
    """
    from platforms.model_names import check_alias, check_model_name
    from serving.registry import resolve
    from training.tracking.mlflow_client import tracking_uri
    from training.tracking.publication import publish as register

    check_model_name(name)  # before a model is fetched from afar
    check_alias(alias)
    uri = register(resolve(bundle), name=name, alias=alias)
    conclude({"uri": uri, "tracking_uri": tracking_uri()}, as_json=as_json, sentence=uri)
