"""vqi2i demo: the whole flow on a laptop, from nothing to a report."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands.console import JsonOption, conclude, console, progress, seed_given
from commands.train import ray_plan

if TYPE_CHECKING:
    from training.launch import Result

MODEL = "vqi2i-demo"
MISSED = 3  # exit code of a demo whose model does not meet every criterion


def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything the demo makes.")] = Path("demo"),
    seed: Annotated[
        int,
        typer.Option(
            help="Of the landscapes, the weights, the order and all that is sampled.",
            callback=seed_given,
        ),
    ] = 0,
    pairs: Annotated[int, typer.Option(min=16, help="Training landscapes of each season.")] = 400,
    tests: Annotated[
        int, typer.Option(min=8, help="Paired test landscapes of each direction.")
    ] = 64,
    stage1: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE of any stage 1 setting.")
    ] = None,
    stage2: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE of any stage 2 setting.")
    ] = None,
    local: Annotated[
        bool, typer.Option("--local", help="Train in this process, without Ray.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Paint two seasons, train both stages, publish, translate, measure: minutes on two cores.

    The same command again continues where it was interrupted. Exit code 3 says that the model does
    not meet every criterion, the last line why. Example: vqi2i demo
    """
    clock = _Clock()
    seasons, shards = out / "seasons", out / "shards"
    with clock.step("painting landscapes"), progress("landscapes") as tell:
        from pipelines.synthetic.dataset import synthesize

        synthesize(seasons, pairs=pairs, tests=tests, seed=seed, progress=tell)
    with clock.step("building shards"), progress("shards") as tell:
        from pipelines.building.output_folder import held_options
        from pipelines.images_to_shards import build_shards

        # The painter's own triples are what is reported on; a demo that was made before goes on
        # with what it has.
        held = held_options(shards)
        test, validation = (held.test_fraction, held.validation_fraction) if held else (0.0, 0.1)
        domains = {name: seasons / "train" / name for name in ("summer", "winter")}
        build_shards(
            domains,
            out=shards,
            size=64,
            test_fraction=test,
            validation_fraction=validation,
            progress=tell,
        )
    with clock.step("training stage 1: content, style, codebook"):
        first = _train(
            "stage1",
            shards,
            None,
            out / "runs" / "stage1",
            [f"seed={seed}", *(stage1 or [])],
            local=local,
        )
    with clock.step("training stage 2: the prior over tokens"):
        second = _train(
            "stage2",
            shards,
            first.bundle,
            out / "runs" / "stage2",
            [f"seed={seed}", *(stage2 or [])],
            local=local,
        )
    with clock.step("publishing the model"):
        uri = _publish(second.bundle, out / "model")
    with clock.step("trying every application, measuring against the truth"):
        result = _report(out, seed, clock, first, second)
    console.print(
        f"\nOpen [bold]{out / 'report.html'}[/bold]; then `make serve` or `vqi2i serve "
        f"{out / 'model'}`."
    )
    sentence = (
        f"{result['met']} of {result['asked']} criteria met in {clock.total / 60:.1f} min; "
        f"published as {uri}"
    )
    missed = result["met"] != result["asked"]
    reason = _reason(first, second, out) if missed else ""
    result |= {"reason": reason, "uri": uri, "seconds": clock.seconds}
    conclude(result, as_json=as_json, sentence=sentence)
    if missed:
        console.print(
            f"{result['met']} of {result['asked']} criteria met: {reason}", soft_wrap=True
        )
        raise typer.Exit(MISSED)


def _train(
    stage: str, data: Path, model: Path | None, run_dir: Path, settings: list[str], *, local: bool
) -> "Result":
    from training.job import make_job
    from training.launch import train

    job = make_job(stage, data=data, model=model, recipe="laptop64", settings=settings)
    return train(job, run_dir, ray_plan(local), console=console)


def _publish(bundle: Path, model: Path) -> str:
    from training.checkpointing.checkpoints import take_bundle
    from training.tracking.publication import publish

    take_bundle(bundle, model)
    return publish(model, name=MODEL, alias="champion")


def _report(
    out: Path, seed: int, clock: "_Clock", first: "Result", second: "Result"
) -> dict[str, Any]:
    from commands.apply import load
    from commands.evaluation.season_report import report
    from evaluation.seasons.protocol import Tally
    from training.tracking.journal import read_metrics

    curves = {
        f"{stage}: {name}": [
            (row["position"], row[name])
            for row in read_metrics(out / "runs" / stage)
            if name in row
        ]
        for stage, name in (
            ("stage1", "pixel"),
            ("stage1", "held_out_psnr"),
            ("stage1", "codes_used"),
            ("stage1", "discriminator"),
            ("stage2", "nll"),
            ("stage2", "held_out_nll"),
        )
    }
    facts = {
        "seed": str(seed),
        "stage 1": _extent(first),
        "stage 2": _extent(second),
        **{title: f"{seconds:.0f} s" for title, seconds in clock.seconds.items()},
    }
    begun = {
        name: points for name, points in curves.items() if points
    }  # a short run may never hear a discriminator
    _, judged = report(load(str(out / "model")), out / "seasons", out, facts=facts, curves=begun)
    return {**Tally.of(judged)._asdict(), "criteria": [verdict.model_dump() for verdict in judged]}


def _reason(first: "Result", second: "Result", out: Path) -> str:
    """Why a demo may have missed criteria, and what to do about it."""
    for number, result in enumerate((first, second), start=1):
        if not result.complete:
            longer = math.ceil(result.seconds * result.planned / max(result.position, 1) / 60)
            return (
                f"stage {number} reached {result.position:,} of {result.planned:,} images of each "
                f"season before its clock ended it; `vqi2i demo --out {out}-longer "
                f"--stage{number} schedule.minutes={longer}` has time for all"
            )
    return (
        f"stage 1 saw all its {first.position:,} images of each season, so another --seed or a "
        f"longer --stage1 schedule.images may do better; {out / 'report.html'} shows what falls "
        "short"
    )


def _extent(result: "Result") -> str:
    rest = "" if result.complete else f"; its clock ended it, {result.planned} were planned"
    return f"{result.position} images of each season in {result.seconds / 60:.1f} min{rest}"


class _Clock:
    """Announces steps and remembers how long each took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @property
    def total(self) -> float:
        return sum(self.seconds.values())

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        console.print(f"[bold]{title}[/bold]")
        start = time.monotonic()
        yield
        self.seconds[title] = time.monotonic() - start
        console.print(f"  {self.seconds[title]:.0f} s")
