"""One HTML file to open and judge by: what was asked, what was reached, and pictures of
everything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from evaluation.reports.curves import curve_svg
from evaluation.reports.page import write_page
from evaluation.reports.pictures import Figure, Row, embed
from evaluation.seasons.protocol import DirectionEvaluation, PairEvaluation, Tally, Verdict

__all__ = ["Figure", "Row", "write_report"]


@dataclass(frozen=True)
class _Line:
    """A verdict in words."""

    meaning: str
    direction: str
    value: str
    threshold: str
    met: bool | None
    controls: str


def write_report(
    path: Path,
    *,
    title: str,
    verdicts: Sequence[Verdict] = (),
    evaluation: PairEvaluation | None = None,
    figures: Sequence[Figure] = (),
    facts: Mapping[str, str],
    curves: Mapping[str, Sequence[tuple[float, float]]],
) -> None:
    """Write a self-contained HTML report; folders are made, an older report is replaced.

    Args:
        path: the `.html` file.
        title: heading of the page.
        verdicts: rows of the table of figures; without a truth there are none.
        evaluation: where the verdicts come from; its controls stand beside them.
        figures: sections with pictures, in this order.
        facts: what a reader wants to know about the run: steps reached, time, hardware, seed,
            versions.
        curves: (images seen, value) by name.

    Raises:
        ValueError: verdicts come without their evaluation, or a figure or curve is empty.
    """
    if verdicts and evaluation is None:
        raise ValueError("verdicts need the evaluation that they judge: pass both or neither")
    write_page(
        path,
        "season_report.html",
        title=title,
        tally=Tally.of(verdicts),
        lines=[_line(verdict, evaluation) for verdict in verdicts if evaluation is not None],
        evaluation=evaluation,
        figures=[(figure, embed(figure)) for figure in figures],
        facts=facts,
        curves={name: Markup(curve_svg(name, points)) for name, points in curves.items()},
    )


MEANINGS = {
    "psnr_over_identity": "Closer to the truth than the input is",
    "psnr_over_best_control": "Closer to the truth than the better trivial method",
    "domain_accuracy": "Translations taken for the target domain",
    "edges_over_best_control": (
        "Edges nearer to the truth's than the best trivial method's (correlation)"
    ),
    "psnr_lost_with_other_tokens": "PSNR lost when the content is another image's",
    "reconstruction_psnr": "Input rebuilt from its own tokens and style",
    "codes_used": "Codebook vectors in use",
}
SHARES = frozenset({"domain_accuracy", "codes_used"})


def _line(verdict: Verdict, evaluation: PairEvaluation) -> _Line:
    direction = next((d for d in evaluation.directions if d.name == verdict.direction), None)
    return _Line(
        meaning=MEANINGS.get(verdict.name, verdict.name.replace("_", " ")),
        direction=f"{direction.source} → {direction.target}" if direction else "all",
        value=_figure(
            verdict.name, verdict.value, digits=2
        ),  # so that no value looks like a threshold it misses
        threshold=""
        if verdict.threshold is None
        else f"≥ {_figure(verdict.name, verdict.threshold)}",
        met=verdict.met,
        controls=_controls(verdict.name, direction) if direction else _codebook(evaluation),
    )


def _figure(name: str, value: float, digits: int = 1) -> str:
    if name in SHARES:
        return f"{value:.{digits}%}"
    return f"{value:+.3f}" if name == "edges_over_best_control" else f"{value:.{digits}f} dB"


def _codebook(evaluation: PairEvaluation) -> str:
    return f"perplexity {evaluation.perplexity:.0f} of {evaluation.codebook_size} codes"


def _controls(name: str, direction: DirectionEvaluation) -> str:
    """What the same figure is without a model, or what it is made of."""
    ours, identity, exemplar, transferred = (
        direction.translation,
        direction.identity,
        direction.exemplar,
        direction.reinhard,
    )
    match name:
        case "psnr_over_identity":
            return f"translation {ours.psnr:.1f} dB, input itself {identity.psnr:.1f} dB"
        case "psnr_over_best_control":
            return (
                f"exemplar itself {exemplar.psnr:.1f} dB, Reinhard transfer "
                f"{transferred.psnr:.1f} dB"
            )
        case "domain_accuracy":
            return (
                f"truth {direction.truth_domain_accuracy:.1%}, input itself "
                f"{identity.domain_accuracy:.1%}"
            )
        case "edges_over_best_control":
            shown = {
                "translation": ours,
                "input itself": identity,
                "Reinhard": transferred,
                "exemplar": exemplar,
            }
            return ", ".join(
                f"{label} {scores.gradient_correlation:.3f}" for label, scores in shown.items()
            )
        case "psnr_lost_with_other_tokens":
            return f"of {ours.psnr:.1f} dB; the exemplar itself loses none"
        case _:
            return ""
