"""Figures, directions and measures of an evaluation in words, the same on pages and terminals."""

from collections.abc import Iterable
from typing import NamedTuple

from evaluation.comparison import Difference
from evaluation.measures import MEASURES, Measure
from evaluation.results import Estimate, Measurement
from evaluation.tasks import controls

FEW = 50  # images a side below which a distance of sets says little

TASKS = {
    "translation": ("Translation", "The content of a test image in the style of another domain."),
    "restyling": ("Restyling", "The content of a test image in another style of its own domain."),
    "diversity": ("Diversity", "Pictures of one source under several sampled styles."),
    "reconstruction": ("Reconstruction", "A test image from its own tokens and its own style."),
    "generation": ("Generation", "Pictures from nothing: tokens and styles are sampled."),
    "extension": ("Extension", "Pictures that go on past their border."),
    "completion": ("Completion", "Pictures of which a part was taken away."),
    "codebook": ("Codebook", "How the codes are used on test images."),
    "prior": ("Prior", "How well the prior expects the tokens of test images."),
}
_STYLES = {
    "exemplar": "style of an exemplar",
    "sampled": "sampled style",
    "truth": "style of the truth",
    "own": "own style",
}
_BETTER = {
    "higher": ("↑", "higher is better"),
    "lower": ("↓", "lower is better"),
    "closer": ("→ 1", "closer to 1 is better, as real images are"),
}
CONTROLS = {
    controls.FLOOR: "other real images of the domain, as many: what no model can be better than; "
    "± is one standard deviation of it",
    controls.IDENTITY: "the input, returned as it is",
    controls.REINHARD: "the input with the colour statistics of its exemplar",
    controls.OTHER: "another test image in its place",
    controls.HELD_OUT: "what the classifier reaches on real images that it has not seen",
    controls.MIRRORED: "the given half of the picture, mirrored",
    controls.INPAINTED: "what is missing filled in from its border, by Telea's method",
    controls.UNIFORM: "what a prior needs that takes all codes for equally likely",
    controls.UNIGRAM: "what a prior needs that knows how often each code occurs, and no more",
    "chance": "what guessing reaches",
}


class Legend(NamedTuple):
    """What a reader may ask about one measure."""

    title: str
    arrow: str
    better: str
    unit: str
    meaning: str


def legend(names: Iterable[str]) -> list[Legend]:
    """Measures that occur, each once, in the order of `MEASURES`."""
    wanted = set(names)
    return [
        Legend(m.title, arrow(m), better(m), m.unit, m.meaning)
        for name, m in MEASURES.items()
        if name in wanted
    ]


def arrow(measure: Measure) -> str:
    """Which way is better, as a sign."""
    return _BETTER[measure.better][0]


def better(measure: Measure) -> str:
    """Which way is better, in words."""
    return _BETTER[measure.better][1]


def figure(measure: Measure, value: float) -> str:
    """A value with as many digits as its measure has; more where it would look like zero."""
    shown = f"{value:.{measure.digits}f}"
    if float(shown) == 0:
        shown = f"{value:.1g}" if value else f"{0:.{measure.digits}f}"
    return shown


def case(measure: Measure, label: str) -> str:
    """What the case with the lowest or the highest figure is; any other label as it is."""
    ends = {"lower": ("best", "worst"), "higher": ("worst", "best")}
    lowest, highest = ends.get(measure.better, ("lowest", "highest"))
    return {"lowest": lowest, "middle": "median", "highest": highest}.get(label, label)


def difference(measure: Measure, value: float) -> str:
    """As `figure`, always with a sign."""
    shown = figure(measure, value)
    return shown if value <= 0 else f"+{shown}"


def change(measure: Measure, found: Difference) -> str:
    """A difference with its interval."""
    shown = difference(measure, found.value)
    if found.low is None or found.high is None:
        return shown
    return f"{shown} ({difference(measure, found.low)} to {difference(measure, found.high)})"


def interval(measure: Measure, low: float | None, high: float | None) -> str:
    """Both ends of an interval; empty where there is none."""
    if low is None or high is None:
        return ""
    return f"{figure(measure, low)} to {figure(measure, high)}"


def floor(estimate: Estimate) -> str | None:
    """Real against real, with its standard deviation where that is known."""
    if (mean := estimate.controls.get(controls.FLOOR)) is None:
        return None
    deviation = estimate.controls.get(controls.FLOOR_DEVIATION)
    if deviation is None:
        return figure(estimate.about, mean)
    return spread(estimate.about, mean, deviation)


def spread(measure: Measure, mean: float, deviation: float) -> str:
    """A floor with its standard deviation."""
    # Beside its deviation a mean near zero may look like zero; adding 0 drops the sign of -0.
    rounded = round(mean, measure.digits) + 0.0
    return f"{rounded:.{measure.digits}f} ± {figure(measure, deviation)}"


def counts(images: Iterable[int]) -> str:
    """Numbers of images that figures stand on, from the least to the most."""
    known = sorted(set(images))
    return " to ".join(map(str, known[:1] + known[1:][-1:]))


def controls_of(estimates: Iterable[Estimate]) -> dict[str, str]:
    """What the controls of these figures are, in the order of `CONTROLS`."""
    there = {name for estimate in estimates for name in estimate.controls}
    return {name: meaning for name, meaning in CONTROLS.items() if name in there}


def direction(measurement: Measurement) -> str:
    """Which domains a task leads from and to."""
    source, target = measurement.source, measurement.target
    if source and target:
        return f"within {source}" if source == target else f"{source} → {target}"
    return source or target or "all domains"


def verdict(better: bool | None) -> str:
    """What a difference says of the later model."""
    return {True: "better", False: "worse", None: "no difference stands"}[better]


def tally(made: int, standing: int, by_chance: float) -> str:
    """How many differences stand, and how many would if there were none."""
    if not made:
        return "No figure could be compared image by image."
    return (
        f"{standing} of {made} differences stand at 95 %. About {by_chance:.1f} of them would "
        "stand by chance if the models were alike: a single one proves little."
    )


def style(measurement: Measurement) -> str:
    """Where its styles come from; empty where there are none."""
    return _STYLES.get(measurement.style or "", "")


def title(measurement: Measurement) -> str:
    """Direction and style, which tell measurements of one task apart."""
    return ", ".join(filter(None, (direction(measurement), style(measurement))))


def in_order(tasks: Iterable[str]) -> list[str]:
    """Each task once: those that are known in their order, then others as they come."""
    there = dict.fromkeys(tasks)
    known = [name for name in TASKS if name in there]
    return [*known, *(name for name in there if name not in TASKS)]


def task(name: str) -> tuple[str, str]:
    """Heading of a task, and what it asks of a model."""
    return TASKS.get(name, (name.replace("_", " ").capitalize(), ""))
