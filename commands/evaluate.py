"""vqi2i evaluate: a model against a known truth, as figures and a report."""

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands.apply import ModelArgument, load
from commands.console import JsonOption, conclude, console, replacing, stages
from errors import UserError

if TYPE_CHECKING:
    from evaluation.seasons.protocol import PairEvaluation, Verdict
    from vqi2i.translator import Translator

_WORDS = {
    True: "was trained on these painted seasons",
    False: "was trained on other images",
    None: "does not say what it was trained on",
}


def evaluate(
    model: ModelArgument,
    data: Annotated[
        Path,
        typer.Option(help="Folder made by `vqi2i data synthesize`: its test images have a truth."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the report and its figures.")],
    as_json: JsonOption = False,
) -> None:
    """Measure a model on paired test images and write an HTML report with pictures.

    Example: vqi2i evaluate runs/demo/bundle --data seasons --out report
    """
    from evaluation.seasons.protocol import Tally

    translator = load(model)
    known = trained_on(translator, data)
    with replacing([out / "report.html", out / "evaluation.json"]):
        result, verdicts = report(translator, data, out, facts={"the model": _WORDS[known]})
    tally = Tally.of(verdicts)
    sentence = f"{tally.met} of {tally.asked} criteria met; open {out / 'report.html'}"
    if not known:
        sentence += (
            "; the criteria are meant for models of these painted seasons, this one "
            f"{_WORDS[known]}"
        )
    judged = {"criteria": [v.model_dump() for v in verdicts], "trained_on_this_data": known}
    conclude(judged | result.model_dump(), as_json=as_json, sentence=sentence)


def trained_on(translator: "Translator", data: Path) -> bool | None:
    """Whether a model was trained on the painted seasons in `data`; None if its bundle does not
    say.

    Raises:
        UserError: it has other domains.
    """
    from pipelines.reading.origin import comes_from
    from pipelines.synthetic.dataset import DOMAINS

    if set(translator.domains) != set(DOMAINS):
        raise UserError(
            f"the model knows {', '.join(translator.domains)}, but the truth is of "
            f"{', '.join(DOMAINS)}"
        )
    return comes_from(
        translator.provenance, {domain: data / "train" / domain for domain in translator.domains}
    )


def report(
    translator: "Translator",
    data: Path,
    out: Path,
    *,
    facts: Mapping[str, str] | None = None,
    curves: Mapping[str, Sequence[tuple[float, float]]] | None = None,
) -> "tuple[PairEvaluation, list[Verdict]]":
    """Evaluate on the test images of a synthetic data set; write `report.html` and
    `evaluation.json` into `out`.
    """
    from evaluation.reports.season_report import write_report
    from evaluation.seasons.domain_classifier import train_classifier
    from evaluation.seasons.protocol import evaluate_pairs, verdicts
    from evaluation.seasons.showcase import showcase, translation_figures
    from pipelines.synthetic.dataset import DOMAINS, read_training, read_triples

    out.mkdir(parents=True, exist_ok=True)
    triples = {(a, b): read_triples(data, a, b) for a, b in (DOMAINS, DOMAINS[::-1])}
    real = {domain: read_training(data, domain) for domain in DOMAINS}
    with stages("measuring directions", "making figures") as (measuring, making):
        console.print(
            "teaching a small network to tell the seasons apart, then measuring and making figures"
        )
        evaluation = evaluate_pairs(translator, triples, train_classifier(real), progress=measuring)
        figures = translation_figures(translator, triples)
        sources = {source: paired.source for (source, _), paired in triples.items()}
        figures += showcase(translator, sources, progress=making)
    judged = verdicts(evaluation)
    machine = {
        "model": str(dict(translator.provenance)),
        "machine": f"{platform.platform()}, {platform.processor()}",
    }
    write_report(
        out / "report.html",
        title="VQ-I2I: two seasons",
        verdicts=judged,
        evaluation=evaluation,
        figures=figures,
        facts={**(facts or {}), **machine},
        curves=curves or {},
    )
    (out / "evaluation.json").write_text(evaluation.model_dump_json(indent=2))
    return evaluation, judged
