"""vqi2i tune: search settings of a stage."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from commands.console import JsonOption, conclude, console
from commands.train import (
    CACHE,
    CACHE_GB,
    CacheOption,
    CacheSizeOption,
    DataOption,
    RunOption,
    RunsOption,
    SetOption,
    Stage1Recipe,
    Stage2Recipe,
    TokensOption,
    cache_settings,
)
from commands.verbs import Verbs

if TYPE_CHECKING:
    from training.job import Job
    from tuning.search import Found

app = Verbs(
    no_args_is_help=True,
    help="Search settings of a stage; the same command again continues the search.",
)


class Mode(StrEnum):
    """What is better."""

    MIN = "min"
    MAX = "max"


ModelOption = Annotated[str, typer.Option(help="Stage 1's bundle: a directory or an MLflow URI.")]
SpaceOption = Annotated[
    str, typer.Option(help="Named space: method, codebook or rates (stage 1), rates (stage 2).")
]
TrialsOption = Annotated[int, typer.Option(min=1, help="Settings to try.")]
MetricOption = Annotated[str, typer.Option(help="What trials are ranked by.")]
ModeOption = Annotated[
    Mode | None, typer.Option(help="What is better (default: as usual for the metric).")
]
CpusOption = Annotated[
    int, typer.Option(min=1, help="Cores of a trial; as many trials run at once as fit.")
]


@app.command()
def stage1(
    data: DataOption,
    space: SpaceOption = "method",
    trials: TrialsOption = 8,
    recipe: Stage1Recipe = "laptop64",
    settings: SetOption = None,
    metric: MetricOption = "held_out_psnr",
    mode: ModeOption = None,
    cpus_per_trial: CpusOption = 1,
    run: RunOption = None,
    runs: RunsOption = Path("runs"),
    cache: CacheOption = CACHE,
    cache_gb: CacheSizeOption = CACHE_GB,
    as_json: JsonOption = False,
) -> None:
    """Search settings of encoders, codebook, generators and discriminators.

    Example: vqi2i tune stage1 --data shards --space method --trials 8 --set schedule.images=2000
    """
    from training.job import make_job

    job = make_job(
        "stage1",
        data=data,
        model=None,
        recipe=recipe,
        settings=settings or [],
        cache=cache_settings(cache, cache_gb),
    )
    _tune(
        job,
        settings or [],
        runs / (run or f"tune-stage1-{recipe}-{space}"),
        space=space,
        trials=trials,
        metric=metric,
        mode=mode,
        cpus_per_trial=cpus_per_trial,
        as_json=as_json,
    )


@app.command()
def stage2(
    data: DataOption,
    model: ModelOption,
    space: SpaceOption = "rates",
    trials: TrialsOption = 8,
    recipe: Stage2Recipe = "laptop64",
    settings: SetOption = None,
    metric: MetricOption = "held_out_nll",
    mode: ModeOption = None,
    cpus_per_trial: CpusOption = 1,
    run: RunOption = None,
    runs: RunsOption = Path("runs"),
    tokens: TokensOption = None,
    cache: CacheOption = CACHE,
    cache_gb: CacheSizeOption = CACHE_GB,
    as_json: JsonOption = False,
) -> None:
    """Search settings of the prior over stage 1's tokens.

    Example: vqi2i tune stage2 --data shards --model runs/first/bundle --space rates --trials 8
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
    )
    _tune(
        job,
        settings or [],
        runs / (run or f"tune-stage2-{recipe}-{space}"),
        space=space,
        trials=trials,
        metric=metric,
        mode=mode,
        cpus_per_trial=cpus_per_trial,
        as_json=as_json,
    )


def _tune(
    job: "Job",
    settings: list[str],
    run_dir: Path,
    *,
    space: str,
    trials: int,
    metric: str,
    mode: Mode | None,
    cpus_per_trial: int,
    as_json: bool,
) -> None:
    from tuning.search import BEST, search
    from tuning.study import make_study

    if remark := job.remark():
        console.print(remark, markup=False, soft_wrap=True)
    better = mode.value if mode is not None else None
    study = make_study(job, space=space, trials=trials, metric=metric, mode=better, fixed=settings)
    found = search(study, run_dir, cpus_per_trial=cpus_per_trial, console=console)
    console.print(_table(found, metric))
    result = {
        "bundle": found.bundle,
        "metric": metric,
        "trials": [row.model_dump() for row in found.trials],
    }
    sentence = (
        f"{found.bundle}: {metric} {found.trials[0].metric:.4g}, its settings are in "
        f"{run_dir / BEST}"
    )
    conclude(result, as_json=as_json, sentence=sentence)


def _table(found: "Found", metric: str) -> Table:
    table = Table(
        "trial", metric, "images", "status", Column("settings", no_wrap=True), show_lines=True
    )
    for row in found.trials:
        figure = f"{row.metric:.4g}" if row.metric is not None else "-"
        settings = "\n".join(f"{name}={value:.4g}" for name, value in row.settings.items())
        table.add_row(row.trial, figure, str(row.position), row.status, settings)
    return table
