"""A protocol trained and measured, variant by variant; what is done already is not done again."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from commands.console import console
from commands.evaluation.evaluate import Asked, Measurer, measure
from commands.evaluation.protocols import HEADLINE, Protocol, Variant
from errors import UserError

if TYPE_CHECKING:
    from evaluation.reports.reproduction import Against, FloorAt, Outcome, Reproduction
    from evaluation.results import Evaluation, Measurement
    from pipelines.storage.shard_cache import CacheSettings
    from training.job import Job
    from training.launch import Result


class ProtocolRun(NamedTuple):
    """A protocol on data: what is trained, and where it is kept."""

    protocol: Protocol
    data: str
    judged_on: str | None
    out: Path
    scale: int
    minutes: float | None
    images: int
    seed: int
    settings: tuple[str, ...]
    prior_settings: tuple[str, ...]
    cache: "CacheSettings"

    def check(self) -> None:
        """See that everything can begin: what is wrong is told before hours of training.

        Raises:
            UserError: shards do not hold the pairs that are asked for, or a setting does not fit.
        """
        from pipelines.storage.shard_files import read_manifest

        if self.protocol.paired and not read_manifest(self.data).options.paired:
            raise UserError(
                f"{self.protocol.name} is about pairs, and {self.data} holds none: build shards "
                "with `vqi2i data shard --paired`"
            )
        for variant in self.protocol.variants:
            self.job(variant)
            if variant.prior is not None:
                self._prior_job(variant.prior, None)

    def run(self) -> "Reproduction":
        """Train and measure what is not there yet, and bring everything together."""
        from evaluation.reports.reproduction import Column, Reproduction

        variants = self.protocol.variants
        trained: list[Result] = []
        evaluations: list[Evaluation] = []
        bundles: list[Path] = []
        for number, variant in enumerate(variants, start=1):
            told = f"{self.protocol.name}, variant {number} of {len(variants)}: {variant.name}"
            console.print(told, style="bold", markup=False)
            result, bundle = self._trained(variant)
            trained.append(result)
            bundles.append(bundle)
            evaluations.append(measure(self._asked(bundle), self.place(variant)))
        first = evaluations[0]
        outcomes = map(self._outcome, variants, trained, evaluations)
        return Reproduction(
            protocol=self.protocol.name,
            title=self.protocol.title,
            shows=self.protocol.shows,
            scale=self.scale,
            minutes=self.minutes,
            given=(*self.settings, *(f"prior: {each}" for each in self.prior_settings)),
            data=first.data,
            settings=first.settings,
            headline=first.headline,
            columns=tuple(
                Column(task=task, measure=measure) for task, measure in self.columns(first.headline)
            ),
            variants=tuple(outcomes),
            floors=self._floors(bundles[0], first.headline),
            published=self.protocol.published,
        )

    def place(self, variant: Variant) -> Path:
        """The folder of a variant's evaluation."""
        return self.out / "evaluations" / variant.name

    def columns(self, headline: str) -> dict[tuple[str, str], None]:
        """Figures that are shown, each once; the headline by its name."""
        return dict.fromkeys(
            (task, headline if measure == HEADLINE else measure)
            for task, measure in self.protocol.columns
        )

    def job(self, variant: Variant) -> "Job":
        """What a variant's first training is."""
        from training.job import make_job

        return make_job(
            variant.stage,
            data=self.data,
            model=None,
            recipe=variant.recipe,
            # A variant's own come last: they are what the protocol is about.
            settings=[*self._common(), *self.settings, *variant.settings],
            cache=self.cache,
        )

    def _common(self) -> list[str]:
        clock = [] if self.minutes is None else [f"schedule.minutes={self.minutes}"]
        return [f"seed={self.seed}", *clock]

    def _prior_job(self, recipe: str, model: Path | None) -> "Job":
        from training.job import make_job

        return make_job(
            "stage2",
            data=self.data,
            model=model,
            recipe=recipe,
            settings=[*self._common(), *self.prior_settings],
            tokens=self.out / "tokens",
            cache=self.cache,
        )

    def _trained(self, variant: Variant) -> "tuple[Result, Path]":
        """What the first training left, and the bundle that is measured: the last weights."""
        from training.launch import train

        runs = self.out / "runs"
        result = train(self.job(variant), runs / variant.name, console=console)
        if variant.prior is None:
            return result, result.bundle
        job = self._prior_job(variant.prior, result.bundle)
        return result, train(job, runs / f"{variant.name}-prior", console=console).bundle

    def _asked(self, bundle: Path) -> Asked:
        from evaluation.results import Settings

        settings = Settings(images=self.images, seed=self.seed)
        data = self.judged_on or self.data
        only = self.protocol.tasks
        return Asked(str(bundle), data, settings, self.cache, only=only)

    def _floors(self, bundle: Path, headline: str) -> "tuple[FloorAt, ...]":
        """Of real images at rising numbers; their features are known from the evaluations."""
        from evaluation.reports.reproduction import FloorAt
        from evaluation.tasks.distributions import floors_by_images

        context = Measurer(self._asked(bundle)).context
        return tuple(
            FloorAt(
                domain=domain,
                measure=headline,
                images=floor.images,
                mean=floor.mean,
                deviation=floor.deviation,
            )
            for domain in context.images.domains
            for floor in floors_by_images(context, domain, headline)
        )

    def _outcome(self, variant: Variant, result: "Result", evaluation: "Evaluation") -> "Outcome":
        from evaluation.reports.reproduction import Against, Outcome, Place

        wanted = self.columns(evaluation.headline)
        against = variant.against or self.protocol.variants[0].name
        differences: list[Against] = []
        if against != variant.name:
            other = next(each for each in self.protocol.variants if each.name == against)
            differences = [*_differences(self.place(other), self.place(variant), wanted)]
        return Outcome(
            name=variant.name,
            stage=variant.stage,
            recipe=variant.recipe,
            settings=variant.settings,
            prior=variant.prior,
            place=Place.model_validate(variant.place._asdict()) if variant.place else None,
            fingerprint=evaluation.model.fingerprint,
            images=result.position,
            planned=result.planned,
            measurements=tuple(_shown(each, wanted) for each in evaluation.measurements),
            against=against if against != variant.name else None,
            differences=tuple(differences),
            gaps=evaluation.gaps,
        )


def _differences(
    ours: Path, theirs: Path, wanted: Collection[tuple[str, str]]
) -> "Iterator[Against]":
    """What one evaluation's figures differ by from another's, of those that are wanted."""
    from evaluation.comparison import compare
    from evaluation.reports.reproduction import Against

    for row in compare([ours, theirs]).compared:
        if (row.measurement.task, row.measure) in wanted:
            own = row.measurement.model_copy(update={"style": row.styles[1]})
            yield Against(name=own.name, measure=row.measure, difference=row.differences[0])


def _shown(measurement: "Measurement", wanted: Collection[tuple[str, str]]) -> "Measurement":
    """A measurement with the wanted figures alone."""
    kept = [each for each in measurement.estimates if (measurement.task, each.measure) in wanted]
    return measurement.model_copy(update={"estimates": tuple(kept)})
