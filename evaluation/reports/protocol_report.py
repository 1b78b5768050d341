"""A protocol of the paper on one page: its tables, the grid of codebooks, floors."""

from dataclasses import dataclass
from pathlib import Path

from evaluation.measures import MEASURES
from evaluation.metrics.intervals import LEVEL
from evaluation.reports import words
from evaluation.reports.evaluation_report import told
from evaluation.reports.heat_map import heat_maps
from evaluation.reports.page import write_page
from evaluation.reports.reproduction import (
    Outcome,
    Reproduction,
    estimates_of,
    tables,
    verdicts,
)

FILE = "report.html"


@dataclass(frozen=True)
class FloorRow:
    """Floors of one domain at rising numbers of images."""

    domain: str
    cells: list[tuple[int, str]]  # images on each side, mean and deviation


def write_reproduction(out: Path, found: Reproduction) -> Path:
    """Write `report.html`; the same results give the same bytes.

    Args:
        out: folder of the page.
        found: what is told.
    """
    made = [each.difference for variant in found.variants for each in variant.differences]
    having = [each for each in made if each.low is not None]
    standing = sum(each.stands for each in having)
    estimates = [*estimates_of(found)]
    return write_page(
        out / FILE,
        "protocol_report.html",
        title=found.title,
        found=found,
        verdicts=[*verdicts(found)],
        tally=words.tally(len(having), standing, (1 - LEVEL) * len(having)),
        maps=[*heat_maps(found)],
        tables=[*tables(found)],
        floors=floor_rows(found),
        headline=MEASURES[found.headline],
        legend=words.legend(each.measure for each in estimates),
        controls=words.controls_of(estimates),
        gaps=gaps(found),
        words=words,
        facts={variant.name: _facts(variant) for variant in found.variants}
        | {"Data": {"name": found.data.name} | told(found.data.facts)}
        | {"Settings": _settings(found)},
    )


def floor_rows(found: Reproduction) -> list[FloorRow]:
    """Floors by domain, in words."""
    about = MEASURES[found.headline]
    rows = []
    for domain in dict.fromkeys(each.domain for each in found.floors):
        mine = [each for each in found.floors if each.domain == domain]
        cells = [(each.images, words.spread(about, each.mean, each.deviation)) for each in mine]
        rows.append(FloorRow(domain, cells))
    return rows


def gaps(found: Reproduction) -> list[tuple[str, str]]:
    """What was not measured, and of which variants."""
    where: dict[str, list[str]] = {}
    for variant in found.variants:
        for gap in variant.gaps:
            where.setdefault(gap, []).append(variant.name)
    every = len(found.variants)
    return [(gap, "all" if len(w) == every > 1 else ", ".join(w)) for gap, w in where.items()]


def _facts(variant: Outcome) -> dict[str, str]:
    seen = f"{variant.images:,} of each domain, of {variant.planned:,} in the schedule"
    facts = {
        "recipe": f"{variant.recipe} ({variant.stage})",
        "settings": ", ".join(variant.settings) or "the recipe's own",
        "prior": variant.prior or "none",
        "images seen": seen,
        "weights": "the last ones of the training",
        "sha256": variant.fingerprint,
    }
    return facts | ({"compared with": variant.against} if variant.against else {})


def _settings(found: Reproduction) -> dict[str, str]:
    minutes = "as the recipes have it" if found.minutes is None else f"{found.minutes:g} minutes"
    own = {"each training": minutes, "for all variants": ", ".join(found.given) or "nothing else"}
    return own | told(found.settings.model_dump())
