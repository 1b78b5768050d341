"""vqi2i train: both stages, on Ray Train or in this process."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands.console import JsonOption, conclude, console

if TYPE_CHECKING:
    from training.job import Job

app = typer.Typer(no_args_is_help=True, help="Train a stage; the same command again continues it.")

DataOption = Annotated[str, typer.Option(help="Shards: a folder, or an address at s3://, gs:// or http(s)://.")]
RecipeOption = Annotated[
    str, typer.Option(help="laptop64, paper256, plus256 or reference256; a wrong name lists them.")
]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE of any setting, for example seed=1.")]
RunOption = Annotated[str | None, typer.Option(help="Name of the run (default: stage and recipe).")]
RunsOption = Annotated[Path, typer.Option(help="Folder of all runs.")]
WorkersOption = Annotated[int, typer.Option(min=1, help="Processes of Ray Train.")]
CacheOption = Annotated[
    str, typer.Option(envvar="VQI2I_SHARD_CACHE", help="Folder on each machine that keeps the files of remote shards.")
]
CacheSizeOption = Annotated[
    float,
    typer.Option("--cache-gb", min=0, envvar="VQI2I_SHARD_CACHE_GB", help="Its size; 0: read remote shards in ranges."),
]
CACHE, CACHE_GB = "~/.cache/vqi2i/shards", 64  # as in CacheSettings, which loads slowly
TokensOption = Annotated[
    Path | None, typer.Option(help="Folder for token shards that all workers see (default: inside a local DATA).")
]
OtherDataOption = Annotated[
    bool,
    typer.Option(
        "--accept-other-data",
        help="Continue a run although its data set, seed, batch size or order are no longer those it began with.",
    ),
]
ProfileOption = Annotated[
    int, typer.Option(min=0, help="Steps of which a Chrome trace is written into the run's folder profile.")
]
RegisterOption = Annotated[
    str, typer.Option(help="Model of MLflow's registry whose next version the best bundle becomes.")
]
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
    cache: CacheOption = CACHE,
    cache_gb: CacheSizeOption = CACHE_GB,
    accept_other_data: OtherDataOption = False,
    profile: ProfileOption = 0,
    register: RegisterOption = "",
    as_json: JsonOption = False,
) -> None:
    """Train encoders, codebook, generators and discriminators.

    Example: vqi2i train stage1 --data shards --recipe laptop64 --set schedule.images=2000 --run first
    """
    from pipelines.shard_cache import CacheSettings
    from training.job import make_job

    job = make_job(
        "stage1", data=data, model=None, recipe=recipe, settings=settings or [],
        cache=CacheSettings(folder=cache, gigabytes=cache_gb), accept_other_data=accept_other_data,
    )  # fmt: skip
    run_dir = runs / (run or f"stage1-{recipe}")
    _train(job, run_dir, as_json=as_json, workers=workers, local=local, profile=profile, register=register)


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
    tokens: TokensOption = None,
    cache: CacheOption = CACHE,
    cache_gb: CacheSizeOption = CACHE_GB,
    accept_other_data: OtherDataOption = False,
    profile: ProfileOption = 0,
    register: RegisterOption = "",
    as_json: JsonOption = False,
) -> None:
    """Train the prior over stage 1's tokens; token shards are made first, by as many workers.

    Example: vqi2i train stage2 --data shards --model runs/first/bundle --recipe laptop64
    """
    from pipelines.shard_cache import CacheSettings
    from serving.registry import resolve
    from training.job import make_job

    job = make_job(
        "stage2", data=data, model=resolve(model), recipe=recipe, settings=settings or [], tokens=tokens,
        cache=CacheSettings(folder=cache, gigabytes=cache_gb), accept_other_data=accept_other_data,
    )  # fmt: skip
    run_dir = runs / (run or f"stage2-{recipe}")
    _train(job, run_dir, as_json=as_json, workers=workers, local=local, profile=profile, register=register)


def _train(job: "Job", run_dir: Path, *, as_json: bool, **how: Any) -> None:
    from training.launch import train

    result = train(job, run_dir, console=console, **how)
    rest = "" if result.complete else f" (stopped by schedule.minutes; {job.config.schedule.images} were planned)"
    sentence = f"{result.bundle}: {result.position} images of each domain in {result.seconds / 60:.1f} min{rest}"
    conclude(result._asdict(), as_json=as_json, sentence=sentence)
