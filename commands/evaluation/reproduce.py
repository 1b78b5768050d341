"""vqi2i reproduce: the paper's tables, from shards to a page, by one command that goes on."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from commands.console import JsonOption, conclude, console, replacing, seed_given
from commands.evaluation.evaluate import ImagesOption
from commands.evaluation.protocol_run import ProtocolRun
from commands.evaluation.protocols import PROTOCOLS, Options, make_protocol, parse_sizes
from commands.train import CACHE, CACHE_GB, CacheOption, CacheSizeOption, cache_settings

if TYPE_CHECKING:
    from evaluation.reports.reproduction import Reproduction
    from evaluation.reports.reproduction import Table as Figures

_COLORS = {True: "green", False: "red", None: "dim"}
_BUSY = "is being filled by another process: wait, or choose another --out"
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="NAME=VALUE for all variants, for example schedule.images=2000."),
]


def reproduce(
    protocol: Annotated[str, typer.Argument(help=f"One of {', '.join(PROTOCOLS)}.")],
    data: Annotated[str, typer.Option(help="Shards: a folder or an address.")],
    out: Annotated[Path, typer.Option(help="Folder for runs, evaluations, results and report.")],
    scale: Annotated[int, typer.Option(help="Pixels along a side: 64, or 256 with a GPU.")] = 64,
    minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Wall clock of each training (default: the recipes' own)."),
    ] = None,
    images: ImagesOption = 1000,
    seed: Annotated[
        int, typer.Option(help="Of trainings and evaluations.", callback=seed_given)
    ] = 0,
    judged_on: Annotated[
        str | None,
        typer.Option(help="Other test images than DATA's, as a folder of `data synthesize`."),
    ] = None,
    codes: Annotated[str, typer.Option(help="Codebook sizes of table4.")] = "64,256,512",
    dims: Annotated[str, typer.Option(help="Dimensions of a code of table4.")] = "64,512",
    prior: Annotated[bool, typer.Option("--prior", help="Priors for table4, too.")] = False,
    settings: SetOption = None,
    prior_settings: Annotated[
        list[str] | None, typer.Option("--set-prior", help="NAME=VALUE for all priors.")
    ] = None,
    cache: CacheOption = CACHE,
    cache_gb: CacheSizeOption = CACHE_GB,
    as_json: JsonOption = False,
) -> None:
    """Train and measure the variants of one of the paper's tables, with intervals and controls.

    The same command again goes on where it was interrupted.

    Example: vqi2i reproduce table1 --data shards --out tables/1 --minutes 10
    """
    from evaluation.reports.protocol_report import FILE as PAGE
    from evaluation.reports.protocol_report import write_reproduction
    from evaluation.reports.reproduction import FILE
    from evaluation.whole_files import write_whole
    from pipelines.storage.folder_lock import alone_in

    sizes = parse_sizes(codes, "--codes"), parse_sizes(dims, "--dims")
    plan = ProtocolRun(
        make_protocol(protocol, Options(scale, *sizes, prior)),
        data,
        judged_on,
        out.absolute(),
        scale,
        minutes,
        images,
        seed,
        tuple(settings or ()),
        tuple(prior_settings or ()),
        cache_settings(cache, cache_gb),
    )
    plan.check()
    with alone_in(out, _BUSY), replacing([out / FILE, out / PAGE]):
        found = _interruptible(plan)
        write_whole(out / FILE, found.model_dump_json(indent=2) + "\n")
        page = write_reproduction(out, found)
    if not as_json:
        _print(found)
    sentence = f"{len(found.variants)} variants; open {page}"
    conclude(found.model_dump(mode="json"), as_json=as_json, sentence=sentence)


def _interruptible(plan: ProtocolRun) -> "Reproduction":
    from training.loop.fit import Interrupted

    try:
        return plan.run()
    except (Interrupted, KeyboardInterrupt) as interrupted:
        about = f"{interrupted}; " if str(interrupted) else ""
        console.print(
            f"{about}all that is trained and measured is kept in {plan.out}; the same command "
            "goes on",
            soft_wrap=True,
        )
        raise typer.Exit(130) from None


def _print(found: "Reproduction") -> None:
    """Every table on standard output, and what can be said of the whole."""
    from evaluation.reports.protocol_report import floor_rows
    from evaluation.reports.reproduction import tables, verdicts

    results = Console(file=sys.stdout, highlight=False)
    results.print(Text(found.title, style="bold"))
    for each in tables(found):
        results.print(_lines(each))
        results.print()
    for row in floor_rows(found):
        told = "; ".join(f"{text} at N = {images}" for images, text in row.cells)
        results.print(Text(f"real against real, {row.domain}: {told}"))
    for sentence in (*verdicts(found), *(f"published: {each}" for each in found.published)):
        results.print(Text(sentence))


def _lines(found: "Figures") -> Table:
    """One figure under the other, so that a narrow terminal has room for all variants."""
    from evaluation.reports import words

    table = Table(title=found.title, title_justify="left", box=None, pad_edge=False)
    table.add_column("figure", overflow="fold")
    table.add_column("value and 95 % interval")
    table.add_column("difference")
    table.add_column("N", justify="right")
    for number, about in enumerate(found.measures):
        unit = f" {about.unit}" if about.unit else ""
        table.add_row(Text(f"{about.title} {words.arrow(about)}{unit}", style="bold"))
        for row in found.rows:
            if (cell := row.cells[number]) is None:
                continue
            shown = f"{cell.value} ({cell.interval})" if cell.interval else cell.value
            difference = Text(cell.change, _COLORS[cell.better])
            if cell.compared:
                difference.append(f"\n{words.verdict(cell.better)}")
            style = "dim" if row.kind == "control" else ""
            told = [Text(f"  {row.label}"), Text(shown), difference, Text(row.images)]
            table.add_row(*told, style=style)
    return table
