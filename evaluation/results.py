"""What an evaluation finds, as it is kept in `metrics.json`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from errors import UserError
from evaluation.measures import MEASURES, Measure
from evaluation.whole_files import write_whole
from vqi2i.checking.frozen import Frozen

FILE = "metrics.json"
# Tasks whose pictures show test images again: they are compared with real training images, since
# a picture lies nearer to what it was made of than to any other.
WITHIN = frozenset({"restyling", "reconstruction", "extension", "completion"})
TRAINING = "_training"  # what names of features of training images end with, beside test images'
Style = Literal["exemplar", "sampled", "truth", "own", "none"]


class Estimate(Frozen):
    """One figure: how far it could be off, of how many images, and what stands beside it."""

    measure: str = Field(description="a name of `MEASURES`, which has unit and direction")
    value: float
    low: float | None = Field(default=None, description="of the 95 % interval over images")
    high: float | None = None
    images: int = Field(ge=1, description="that were measured; of a distance, on each side")
    controls: dict[str, float] = Field(
        default_factory=dict,
        description="the same figure without a model, by name: see `evaluation.tasks.controls`",
    )

    @property
    def about(self) -> Measure:
        """Title, unit and direction."""
        return MEASURES[self.measure]


class Measurement(Frozen):
    """What one task found in one direction."""

    task: str = Field(description="translation, restyling, diversity, reconstruction, ...")
    source: str | None = Field(default=None, description="domain that goes in")
    target: str | None = Field(default=None, description="domain that comes out")
    style: Style | None = Field(default=None, description="where styles come from")
    estimates: tuple[Estimate, ...]
    gaps: tuple[str, ...] = Field(default=(), description="what was not measured, and why")

    @property
    def name(self) -> str:
        """As files and MLflow call it, for example `translation-summer-winter-exemplar`."""
        parts = (self.task, self.source, self.target, self.style)
        return "-".join(part for part in parts if part)

    @property
    def compared_with(self) -> Literal["test", "training"]:
        """Which real images of the domain the pictures are compared with as a set."""
        return "training" if self.task in WITHIN else "test"

    def get(self, measure: str) -> Estimate | None:
        """The figure of one measure; None where it was not measured."""
        return next((each for each in self.estimates if each.measure == measure), None)


class Settings(Frozen):
    """What decides the figures besides model and data."""

    images: int = Field(default=1000, ge=6, description="of each domain's test split, at most")
    training_images: int = Field(
        default=1000,
        ge=6,
        description="of each domain's training split: floor, classifier, nearest",
    )
    seed: int = Field(default=0, ge=0)
    samples: int = Field(default=4, ge=2, description="styles for each source, for diversity")
    diverse: int = Field(default=20, ge=1, description="sources of which diversity is measured")
    shown: int = Field(default=3, ge=1, description="cases that are best, median and worst")


class Subject(Frozen):
    """The model or the data that an evaluation is about."""

    name: str
    fingerprint: str = Field(description="sha256 of what it is")
    facts: dict[str, Any] = Field(default_factory=dict)


class Evaluation(Frozen):
    """Everything that was measured of one model on one data set."""

    format_version: Literal[1] = 1
    model: Subject
    data: Subject
    settings: Settings
    headline: str = Field(description="the measure that leads: see `evaluation.headline`")
    gaps: tuple[str, ...] = Field(default=(), description="what was not measured, and why")
    measurements: tuple[Measurement, ...]

    def figures(self) -> Mapping[str, float]:
        """Every figure by the name that MLflow keeps it under."""
        return {
            f"{measurement.name}.{each.measure}": each.value
            for measurement in self.measurements
            for each in measurement.estimates
        }


def write(evaluation: Evaluation, out: Path) -> None:
    """Write `metrics.json` into `out`, in one step."""
    write_whole(out / FILE, evaluation.model_dump_json(indent=2) + "\n")


def read(out: Path) -> Evaluation:
    """Read `metrics.json` of an evaluation's folder.

    Raises:
        UserError: there is none, or it is of another form.
    """
    path = out / FILE
    try:
        return Evaluation.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(
            f"{out} holds no {FILE}: give a folder that `vqi2i evaluate` has made"
        ) from error
    except ValidationError as error:
        raise UserError(
            f"{path} is no evaluation that this version reads: run `vqi2i evaluate` again"
        ) from error
