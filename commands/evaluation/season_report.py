"""The demo's report: a model of painted seasons against their truth, and the demo's criteria."""

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from commands.console import console, stages

if TYPE_CHECKING:
    from evaluation.seasons.protocol import PairEvaluation, Verdict
    from vqi2i.translator import Translator


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
