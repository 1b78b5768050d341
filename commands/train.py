"""vqi2i train: both stages and baselines, on Ray Train or in this process."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands.console import JsonOption, conclude, console
from commands.verbs import Verbs
from errors import UserError

if TYPE_CHECKING:
    from pipelines.storage.shard_cache import CacheSettings
    from training.job import Job
    from training.run.ray_trainer import RayPlan

app = Verbs(no_args_is_help=True, help="Train a stage; the same command again continues it.")

DataOption = Annotated[
    str, typer.Option(help="Shards: a folder, or an address at s3://, gs:// or http(s)://.")
]
RECIPES = {  # as in training.recipes, which loads slowly
    "stage1": ("laptop64", "paper64", "paper256", "reference256", "plus256"),
    "stage2": ("laptop64", "plus64", "masked64", "paper256", "plus256"),
    "baseline": ("cyclegan64", "cut64"),
}
Stage1Recipe = Annotated[
    str, typer.Option("--recipe", help=f"One of {', '.join(RECIPES['stage1'])}.")
]
Stage2Recipe = Annotated[
    str, typer.Option("--recipe", help=f"One of {', '.join(RECIPES['stage2'])}.")
]
BaselineRecipe = Annotated[
    str, typer.Option("--recipe", help=f"One of {', '.join(RECIPES['baseline'])}.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="NAME=VALUE of any setting, for example seed=1.")
]
RunOption = Annotated[str | None, typer.Option(help="Name of the run (default: stage and recipe).")]
RunsOption = Annotated[Path, typer.Option(help="Folder of all runs.")]
WorkersOption = Annotated[
    str | None,
    typer.Option(
        metavar="N|N:M", help="Workers of Ray Train (default: 1), or from N to M of them."
    ),
]
CpusOption = Annotated[
    int | None, typer.Option(min=1, help="CPUs of a worker (default: all, shared out).")
]
FailuresOption = Annotated[
    int | None,
    typer.Option(min=0, help="Deaths of workers without a new checkpoint in between (default: 3)."),
]
AddressOption = Annotated[
    str | None,
    typer.Option(help="HOST:PORT of a Ray cluster, or auto (default: RAY_ADDRESS, or our own)."),
]
StorageOption = Annotated[
    str | None,
    typer.Option(
        help=(
            "Folder or s3:// or gs:// address that keeps checkpoints, where workers do not share "
            "a disk."
        )
    ),
]
CacheOption = Annotated[
    str,
    typer.Option(
        envvar="VQI2I_SHARD_CACHE",
        help="Folder on each machine that keeps the files of remote shards.",
    ),
]
CacheSizeOption = Annotated[
    float,
    typer.Option(
        "--cache-gb",
        min=0,
        envvar="VQI2I_SHARD_CACHE_GB",
        help="Its size; 0: read remote shards in ranges.",
    ),
]
CACHE, CACHE_GB = "~/.cache/vqi2i/shards", 64  # as in CacheSettings, which loads slowly
TokensOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder for token shards that all workers see (default: inside a local DATA)."
    ),
]
OtherDataOption = Annotated[
    bool,
    typer.Option(
        "--accept-other-data",
        help=(
            "Continue a run although its data set, seed, batch size or order are no longer those "
            "it began with."
        ),
    ),
]
ProfileOption = Annotated[
    int,
    typer.Option(
        min=0, help="Steps of which a Chrome trace is written into the run's folder profile."
    ),
]
RegisterOption = Annotated[
    str | None,
    typer.Option(help="Model of MLflow's registry whose next version the best bundle becomes."),
]
LocalOption = Annotated[bool, typer.Option("--local", help="Train in this process, without Ray.")]


@app.command()
def stage1(
    data: DataOption,
    recipe: Stage1Recipe = "laptop64",
    settings: SetOption = None,
    run: RunOption = None,
    runs: RunsOption = Path("runs"),
    workers: WorkersOption = None,
    cpus_per_worker: CpusOption = None,
    max_failures: FailuresOption = None,
    address: AddressOption = None,
    local: LocalOption = False,
    storage: StorageOption = None,
    cache: CacheOption = CACHE,
    cache_gb: CacheSizeOption = CACHE_GB,
    accept_other_data: OtherDataOption = False,
    profile: ProfileOption = 0,
    register: RegisterOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train encoders, codebook, generators and discriminators.

    Example: vqi2i train stage1 --data shards --recipe laptop64 --set schedule.images=2000 --run
    first
    """
    from training.job import make_job

    job = make_job(
        "stage1",
        data=data,
        model=None,
        recipe=recipe,
        settings=settings or [],
        cache=cache_settings(cache, cache_gb),
        accept_other_data=accept_other_data,
    )
    plan = ray_plan(
        local,
        workers=workers,
        cpus_per_worker=cpus_per_worker,
        max_failures=max_failures,
        address=address,
    )
    run_dir = runs / (run or f"stage1-{recipe}")
    _train(job, run_dir, plan, as_json=as_json, storage=storage, profile=profile, register=register)


@app.command()
def stage2(
    data: DataOption,
    model: Annotated[str, typer.Option(help="Stage 1's bundle: a directory or an MLflow URI.")],
    recipe: Stage2Recipe = "laptop64",
    settings: SetOption = None,
    run: RunOption = None,
    runs: RunsOption = Path("runs"),
    workers: WorkersOption = None,
    cpus_per_worker: CpusOption = None,
    max_failures: FailuresOption = None,
    address: AddressOption = None,
    local: LocalOption = False,
    storage: StorageOption = None,
    tokens: TokensOption = None,
    cache: CacheOption = CACHE,
    cache_gb: CacheSizeOption = CACHE_GB,
    accept_other_data: OtherDataOption = False,
    profile: ProfileOption = 0,
    register: RegisterOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train the prior over stage 1's tokens; token shards are made first, by as many workers.

    Example: vqi2i train stage2 --data shards --model runs/first/bundle --recipe laptop64
    """
    from serving.registry import resolve
    from training.job import make_job

    job = make_job(
        "stage2",
        data=data,
        model=resolve(model),
        recipe=recipe,
        settings=settings or [],
        tokens=tokens,
        cache=cache_settings(cache, cache_gb),
        accept_other_data=accept_other_data,
    )
    plan = ray_plan(
        local,
        workers=workers,
        cpus_per_worker=cpus_per_worker,
        max_failures=max_failures,
        address=address,
    )
    run_dir = runs / (run or f"stage2-{recipe}")
    _train(job, run_dir, plan, as_json=as_json, storage=storage, profile=profile, register=register)


@app.command()
def baseline(
    data: DataOption,
    recipe: BaselineRecipe = "cyclegan64",
    settings: SetOption = None,
    run: RunOption = None,
    runs: RunsOption = Path("runs"),
    workers: WorkersOption = None,
    cpus_per_worker: CpusOption = None,
    max_failures: FailuresOption = None,
    address: AddressOption = None,
    local: LocalOption = False,
    storage: StorageOption = None,
    cache: CacheOption = CACHE,
    cache_gb: CacheSizeOption = CACHE_GB,
    accept_other_data: OtherDataOption = False,
    profile: ProfileOption = 0,
    register: RegisterOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a translator to compare with: CycleGAN or CUT, without style and codebook.

    Example: vqi2i train baseline --data shards --recipe cyclegan64 --run cyclegan
    """
    from training.job import make_job

    job = make_job(
        "baseline",
        data=data,
        model=None,
        recipe=recipe,
        settings=settings or [],
        cache=cache_settings(cache, cache_gb),
        accept_other_data=accept_other_data,
    )
    plan = ray_plan(
        local,
        workers=workers,
        cpus_per_worker=cpus_per_worker,
        max_failures=max_failures,
        address=address,
    )
    run_dir = runs / (run or f"baseline-{recipe}")
    _train(job, run_dir, plan, as_json=as_json, storage=storage, profile=profile, register=register)


def cache_settings(folder: str, gigabytes: float) -> "CacheSettings":
    """Where files of remote data are kept.

    Raises:
        UserError: the size is no number.
    """
    from pipelines.storage.shard_cache import CacheSettings
    from vqi2i.checking.validation import checked

    return checked(CacheSettings, {"folder": folder, "gigabytes": gigabytes}, "--cache-gb")


def ray_plan(local: bool, **how: Any) -> "RayPlan | None":
    """How training is spread over Ray; None for this process."""
    given = {name: value for name, value in how.items() if value is not None}
    if local:
        if given:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise UserError(
                f"--local trains in this process, {options} would do nothing: leave out one or "
                "the other"
            )
        return None
    from training.run.ray_trainer import RayPlan

    return RayPlan.parse(given.pop("workers", "1"), **given)


def _train(job: "Job", run_dir: Path, plan: "RayPlan | None", *, as_json: bool, **how: Any) -> None:
    from training.launch import train
    from training.loop.fit import Interrupted

    if remark := job.remark():
        console.print(remark, markup=False, soft_wrap=True)
    try:
        result = train(job, run_dir, plan, console=console, **how)
    except Interrupted as interrupted:
        console.print(
            f"{run_dir.name}: {interrupted}; the same command goes on",
            highlight=False,
            soft_wrap=True,
        )
        raise typer.Exit(130) from None
    rest = (
        ""
        if result.complete
        else f" (stopped by schedule.minutes; {job.config.schedule.images} were planned)"
    )
    sentence = (
        f"{result.bundle}: {result.position} images of each domain in {result.seconds / 60:.1f} "
        f"min{rest}"
    )
    conclude(result._asdict(), as_json=as_json, sentence=sentence)
