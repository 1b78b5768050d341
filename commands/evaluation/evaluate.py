"""vqi2i evaluate: how good a model is, with intervals and controls, as figures and a report."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from commands.apply import ModelArgument
from commands.console import JsonOption, Tell, conclude, console, progress, replacing, seed_given
from commands.train import CACHE, CACHE_GB, CacheOption, CacheSizeOption, cache_settings

if TYPE_CHECKING:
    from baselines.translator import BaselineTranslator
    from evaluation.parts import Part
    from evaluation.results import Evaluation, Settings
    from pipelines.storage.shard_cache import CacheSettings
    from vqi2i.translator import Translator

_BUSY = "is being filled by another evaluation: wait, or choose another --out"

ImagesOption = Annotated[
    int, typer.Option("--images", min=6, help="Test images of each domain, at most.")
]
TrainingOption = Annotated[
    int,
    typer.Option(
        "--training-images",
        min=6,
        help="Training images of each domain, at most, for floors and the nearest ones.",
    ),
]


def evaluate(
    model: ModelArgument,
    data: Annotated[
        str,
        typer.Option(help="Shards (a folder or an address), or a folder of `data synthesize`."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the report and its figures.")],
    images: ImagesOption = 1000,
    training_images: TrainingOption = 1000,
    seed: Annotated[
        int, typer.Option(help="Of exemplars, styles and tokens.", callback=seed_given)
    ] = 0,
    headline: Annotated[
        str | None,
        typer.Option(help="The measure that leads, for example kid_lite2 (default: kid_lite0)."),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="TASK,...",
            help="Tasks that are measured, for example translation,reconstruction (default: all).",
        ),
    ] = None,
    plug_in: Annotated[
        str | None,
        typer.Option(
            metavar="FILE,sha256=...,size=299,pixels=0..1",
            help="A network of yours as TorchScript or torch.export (Inception, DINOv2, CLIP).",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=0, help="Ray actors that measure; 0: this process.")
    ] = 0,
    cache: CacheOption = CACHE,
    cache_gb: CacheSizeOption = CACHE_GB,
    as_json: JsonOption = False,
) -> None:
    """Measure what a model does with test images; write figures, pictures and an HTML report.

    The same command again goes on where it was interrupted. Figures of a model of the registry
    (models:/NAME/3) are logged on its version.

    Example: vqi2i evaluate runs/demo/bundle --data shards --out report
    """
    from evaluation.reports.evaluation_report import write_report
    from evaluation.reports.summary import summarise
    from evaluation.results import FILE, Settings
    from evaluation.tasks.plan import parse_kinds
    from serving.registry import pin
    from training.tracking.evaluations import is_version, track_evaluation

    settings = Settings(images=images, training_images=training_images, seed=seed)
    model = pin(model)  # a name may mean another model when workers look
    asked = Asked(
        model,
        data,
        settings,
        cache_settings(cache, cache_gb),
        headline,
        plug_in,
        None if only is None else parse_kinds(only),
    )
    with replacing([out / FILE, out / "report.html"]):
        found = measure(asked, out, workers=workers)
        report = write_report(out, found)
    if is_version(model):
        files = [out / FILE, report]
        track_evaluation(model, found.figures(), files, headline=summarise(found).lead)
    for gap in found.gaps:
        console.print(f"not measured, or to keep in mind: {gap}", markup=False, soft_wrap=True)
    conclude(
        found.model_dump(mode="json"),
        as_json=as_json,
        sentence=f"{len(found.measurements)} measurements; open {report}",
    )


class Asked(NamedTuple):
    """What is measured on what."""

    model: str
    data: str
    settings: "Settings"
    cache: "CacheSettings"
    headline: str | None = None  # None: the best that may lead
    plug_in: str | None = None  # as `parse_plug_in` reads it
    only: frozenset[str] | None = None  # kinds of tasks; None: all


def measure(asked: Asked, out: Path, *, workers: int = 0) -> "Evaluation":
    """Evaluate a model into a folder; what is measured already is not measured again.

    Args:
        asked: model, data, settings.
        out: folder for `metrics.json` and parts.
        workers: Ray actors; 0 for this process.

    Raises:
        UserError: model and data do not fit, there are too few images, or another process fills
            the folder.
    """
    from evaluation.run import evaluate as evaluated
    from pipelines.storage.folder_lock import alone_in

    out.mkdir(parents=True, exist_ok=True)  # before anything is read
    with progress("reading images") as tell:
        measurer = Measurer(asked, progress=tell)

    def spread(names: list[str]) -> "Iterator[Part]":
        from pipelines.cluster import in_actors

        yield from in_actors(Measurer, (asked,), "part", names, workers)

    with alone_in(out, _BUSY), progress("measuring") as tell:
        return evaluated(
            measurer.context,
            measurer.model,
            measurer.about,
            out,
            headline=measurer.headline,
            only=asked.only,
            spread=spread if workers else None,
            progress=tell,
        )


class Measurer:
    """A model and the pictures that it is measured on, in one process.

    Args:
        asked: what is measured on what.
        device: where the model computes.
        progress: told (images read, images in all).
    """

    def __init__(self, asked: Asked, device: str = "cpu", progress: Tell | None = None):
        from commands.evaluation.test_sets import load_test_set
        from evaluation.headline import asked_headline, headline, how_chosen
        from evaluation.networks.plug_in import load_plug_in, parse_plug_in
        from evaluation.networks.sight import Networks
        from evaluation.results import Subject
        from evaluation.tasks.context import Context
        from serving.registry import default_cache, resolve
        from training.hardware import keep_freed_memory

        keep_freed_memory()
        path = resolve(asked.model)
        self.model, fingerprint = _loaded(path, device)
        test_set = load_test_set(
            asked.data,
            self.model.domains,
            self.model.network.resolution,
            asked.settings,
            self.model.provenance,
            asked.cache,
            progress,
        )
        plug_in = asked.plug_in and load_plug_in(parse_plug_in(asked.plug_in), device)
        networks = Networks(plug_in or None, default_cache().expanduser() / "features")
        self.context = Context(test_set, networks, asked.settings)
        provenance = self.model.provenance
        led = (
            asked_headline(
                asked.headline,
                provenance,
                networks.installed,
                plug_in=plug_in.name if plug_in else None,
                images=min(len(images.test) for images in test_set.domains.values()),
            )
            if asked.headline
            else headline(provenance, networks.installed)
        )
        self.headline = led.measure
        told = {"headline": led.reason, "chosen": how_chosen(provenance)}
        self.about = Subject(name=asked.model, fingerprint=fingerprint, facts=told | provenance)

    def part(self, name: str) -> "Part":
        """Measure one task by its name."""
        from evaluation.tasks.plan import tasks

        measures = {task.name: task.measure for task in tasks(self.context, self.model)}
        return measures[name]()


def _loaded(path: Path, device: str) -> "tuple[Translator | BaselineTranslator, str]":
    """A model or a baseline, with its fingerprint."""
    import baselines.translator
    import vqi2i
    import vqi2i.bundle

    if baselines.translator.is_baseline(path):
        return baselines.translator.load(path, device), baselines.translator.fingerprint(path)
    return vqi2i.Translator.load(path, device), vqi2i.bundle.fingerprint(path)
