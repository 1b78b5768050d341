"""The command line: one verb per arrow from folders of images to a served translator."""

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

import vqi2i
from commands import apply, data, demo, import_authors, publish, serve, train, tune
from commands.evaluation import compare, evaluate, reproduce, study
from commands.verbs import PIPE_CLOSED, Verbs, piped
from errors import UserError

app = Verbs(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="From folders of unpaired images to a trained, tracked and served image translator.",
)

app.command(rich_help_panel="Start here")(demo.demo)

app.add_typer(data.app, name="data", rich_help_panel="Train")
app.add_typer(train.app, name="train", rich_help_panel="Train")
app.add_typer(tune.app, name="tune", rich_help_panel="Train")
app.command(rich_help_panel="Train")(publish.publish)
app.command(rich_help_panel="Train")(import_authors.import_authors)

app.command(rich_help_panel="Judge")(evaluate.evaluate)
app.command(rich_help_panel="Judge")(compare.compare)
app.command(rich_help_panel="Judge")(reproduce.reproduce)
app.add_typer(study.app, name="study", rich_help_panel="Judge")

for verb in (
    apply.translate,
    apply.extend,
    apply.complete,
    apply.generate,
    apply.transition,
    apply.compose,
):
    app.command(rich_help_panel="Use")(verb)
app.command(rich_help_panel="Use")(serve.serve)


def _say_version(wanted: bool) -> None:
    if wanted:
        with piped():
            sys.stdout.write(f"vqi2i {vqi2i.__version__}\n")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_say_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Take what stands before a verb."""


def main() -> None:
    """Run a command: what a user can mend ends with one sentence and exit code 2, a fault of ours
    with a traceback.
    """
    # One store for everything that a command starts, wherever Ray runs it; MLflow's own default
    # depends on the folder.
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{Path('mlflow.db').absolute()}")
    code = _exit_code()
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # `vqi2i ... | head`; Python flushes once more when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = PIPE_CLOSED
    sys.exit(code)


def _exit_code() -> int | str | None:
    try:
        app()
    except SystemExit as end:
        return end.code
    except UserError as error:
        if os.environ.get("VQI2I_TRACEBACK"):
            raise
        sys.stderr.write(f"vqi2i: {error}\n")
        return 2
    except Exception:
        traceback.print_exc()
        sys.stderr.write(
            "vqi2i: a fault of vqi2i, not yours: please report it with the lines above and the "
            "command\n"
        )
        return 1


if __name__ == "__main__":
    from vqi2i.__main__ import main as enter

    enter()
