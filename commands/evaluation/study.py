"""vqi2i study: ask people which of two pictures they prefer."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from commands.console import JsonOption, conclude, console, progress, replacing, seed_given
from commands.verbs import Verbs
from errors import UserError

app = Verbs(no_args_is_help=True, help="Ask people which of two pictures they prefer.")
StudyArgument = Annotated[Path, typer.Argument(help="Folder that `vqi2i study build` made.")]


@app.command()
def build(
    to: Annotated[str, typer.Option(help="The domain the pictures should look like.")],
    method: Annotated[
        list[str],
        typer.Option(help="NAME=FOLDER of one method's pictures of that domain; repeat it."),
    ],
    real: Annotated[Path, typer.Option(help="Folder of real images of that domain.")],
    out: Annotated[Path, typer.Option(help="Folder for the study.")],
    source: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the images that were translated: asks also who keeps their content."
        ),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Comparisons of each question.")] = 60,
    checks: Annotated[
        int, typer.Option(min=0, help="Attention checks: a real image beside a broken one.")
    ] = 5,
    size: Annotated[
        int | None,
        typer.Option(min=16, max=512, help="Side of all pictures (default: the shortest of any)."),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Decides pictures, order and sides.", callback=seed_given)
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Build a page that shows two pictures at a time, and the key that says whose they are.

    Pictures that methods made from one image have the same name. Real images are among the
    alternatives, as the method `real`.

    Example: vqi2i study build --to winter --method ours=results/ours --method other=results/other
    --real photos/winter --out study
    """
    from evaluation.study.folders import look_into
    from evaluation.study.page import PAGE
    from evaluation.study.page import build as build_page
    from evaluation.study.trials import FILE

    folders = look_into(_folders(method), real, source)
    with progress("pictures") as tell, replacing([out / PAGE, out / FILE]):
        study = build_page(
            folders,
            out,
            to=to,
            trials=trials,
            checks=checks,
            size=size,
            seed=seed % 2**63,  # NumPy's generators take none below 0
            progress=tell,
        )
    megabytes = (out / PAGE).stat().st_size / 1e6
    result = {
        "out": out,
        "study": study.identity,
        "trials": len(study.trials),
        "checks": sum(trial.is_check for trial in study.trials),
        "size": study.size,
        "megabytes": round(megabytes, 1),
    }
    sentence = (
        f"{out}: {result['trials']} trials, {result['checks']} of them attention checks, of "
        f"{study.size} px, a page of {megabytes:.1f} MB; serve it with `vqi2i study serve {out}`"
    )
    conclude(result, as_json=as_json, sentence=sentence)


@app.command()
def serve(
    folder: StudyArgument,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 opens it to the network.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="To listen on.")] = 8000,
) -> None:
    """Show a study to people and keep their answers, until interrupted.

    Each answer is on disk before the next pair is shown. The same command again goes on.

    Example: vqi2i study serve study --port 8000
    """
    from evaluation.study.server import serve as serve_study
    from evaluation.study.trials import read_study
    from pipelines.storage.folder_lock import alone_in

    def tell(url: str) -> None:
        console.print(f"[bold]{url}[/bold]  (Ctrl-C stops)")

    read_study(folder)  # before the folder is touched
    busy = "is served already: end that server first"
    with suppress(KeyboardInterrupt), alone_in(folder, busy):
        serve_study(folder, host=host, port=port, tell=tell)


@app.command()
def analyse(folder: StudyArgument, as_json: JsonOption = False) -> None:
    """Count what people prefer, with intervals, and draw it as a bar chart.

    Participants who missed an attention check are left out. The study may be served meanwhile.

    Example: vqi2i study analyse study
    """
    from evaluation.study.answers import read_answers
    from evaluation.study.chart import render
    from evaluation.study.preferences import analyse as count
    from evaluation.study.trials import read_study

    study = read_study(folder)
    outcome = count(study, read_answers(folder, study))
    chart = folder / "preferences.html"
    with replacing([chart]):
        chart.write_text(render(outcome), encoding="utf-8")
    lines = [
        f"{each.question}: {each.first} over {each.second} {each.share:.1%} "
        f"({each.low:.1%} to {each.high:.1%}) of {each.answers} answers"
        for each in outcome.preferences
    ]
    lines.append(
        f"answers: {outcome.answers}; participants: {outcome.participants}; left out: "
        f"{outcome.missed} who missed an attention check, {outcome.unchecked} who saw none"
    )
    if outcome.torn:
        lines.append(f"answers cut short when the server was killed: {outcome.torn}")
    lines.append(f"open {chart}")
    conclude(outcome.model_dump() | {"chart": chart}, as_json=as_json, sentence="\n".join(lines))


def _folders(settings: list[str]) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for setting in settings:
        name, separator, folder = setting.partition("=")
        if not separator or not folder:
            raise UserError(f"--method {setting!r} is not of the form NAME=FOLDER")
        if name in folders:
            raise UserError(f"--method {name} is given twice: give each method another name")
        folders[name] = Path(folder)
    return folders
