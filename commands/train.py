"""vqi2i train: both stages, on Ray Train or in this process."""

from pathlib import Path
from typing import Annotated

import typer

from commands.console import JsonOption, conclude, console

app = typer.Typer(no_args_is_help=True, help="Train a stage; the same command again continues it.")

DataOption = Annotated[Path, typer.Option(help="Folder of shards.")]
RecipeOption = Annotated[str, typer.Option(help="laptop64 or paper256.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE of any setting, for example seed=1.")]
RunOption = Annotated[str | None, typer.Option(help="Name of the run (default: stage and recipe).")]
RunsOption = Annotated[Path, typer.Option(help="Folder of all runs.")]
WorkersOption = Annotated[int, typer.Option(min=1, help="Processes of Ray Train.")]
LocalOption = Annotated[bool, typer.Option("--local", help="Train in this process, without Ray.")]


@app.command()
def stage1(
    data: DataOption,
    recipe: RecipeOption = "laptop64",
    settings: SetOption = None,
    run: RunOption = None,
    runs: RunsOption = Path("runs"),
    workers: WorkersOption = 1,
    local: LocalOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train encoders, codebook, generators and discriminators.

    Example: vqi2i train stage1 --data shards --recipe laptop64 --set schedule.images=2000 --run first
    """
    _train("stage1", data, None, recipe, settings or [], run, runs, workers=workers, local=local, as_json=as_json)


@app.command()
def stage2(
    data: DataOption,
    model: Annotated[str, typer.Option(help="Stage 1's bundle: a directory or an MLflow URI.")],
    recipe: RecipeOption = "laptop64",
    settings: SetOption = None,
    run: RunOption = None,
    runs: RunsOption = Path("runs"),
    workers: WorkersOption = 1,
    local: LocalOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train the prior over stage 1's tokens; token shards are made first, beside the data.

    Example: vqi2i train stage2 --data shards --model runs/first/bundle --recipe laptop64
    """
    from serving.registry import resolve

    _train(
        "stage2", data, resolve(model), recipe, settings or [], run, runs, workers=workers, local=local, as_json=as_json
    )


def _train(
    stage: str, data: Path, model: Path | None, recipe: str, settings: list[str], run: str | None, runs: Path, *,
    workers: int, local: bool, as_json: bool,
) -> None:  # fmt: skip
    from training.launch import make_job, train

    job = make_job(stage, data=data, model=model, recipe=recipe, settings=settings)
    run_dir = runs / (run or f"{stage}-{recipe}")
    result = train(job, run_dir, workers=workers, local=local, console=console)
    rest = "" if result.complete else f" (stopped by schedule.minutes; {job.config.schedule.images} were planned)"
    sentence = f"{result.bundle}: {result.position} images of each domain in {result.seconds / 60:.1f} min{rest}"
    conclude(result._asdict(), as_json=as_json, sentence=sentence)
