"""Which tasks there are for a model and a test set, by name and in order."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from errors import UserError
from evaluation.parts import Part
from evaluation.results import TRAINING, Measurement, Style
from evaluation.tasks.context import Context, Translates
from evaluation.tasks.continuation import completion, extension
from evaluation.tasks.diversity import diversity
from evaluation.tasks.generation import generation
from evaluation.tasks.reconstruction import codebook, likelihood, reconstruction
from evaluation.tasks.translation import task_of, translation
from vqi2i.checking.typed import meant
from vqi2i.translator import Translator

KINDS = (
    "translation",
    "restyling",
    "diversity",
    "reconstruction",
    "codebook",
    "prior",
    "generation",
    "extension",
    "completion",
)


class Task(NamedTuple):
    """Something to measure."""

    name: str  # of the part that it makes
    kind: str  # one of `KINDS`, or real
    measure: Callable[[], Part]


def tasks(context: Context, model: Translates) -> list[Task]:
    """Everything that this model can be asked: whoever has no styles, codes or prior is not asked
    for them.
    """
    return [*_real(context), *_translations(context, model), *_of_codes(context, model)]


def parse_kinds(text: str) -> frozenset[str]:
    """Kinds of tasks from what was typed, separated by commas.

    Raises:
        UserError: there is no such kind; the message lists those there are.
    """
    kinds = [kind.strip() for kind in text.split(",")]
    for kind in kinds:
        if kind not in KINDS:
            raise UserError(
                f"there is no task {kind!r} to measure{meant(kind, KINDS)}: choose some of "
                f"{', '.join(KINDS)}"
            )
    return frozenset(kinds)


def _task(measure: Callable[..., Part], context: Context, *rest: object, **names: str) -> Task:
    named = Measurement.model_validate({**names, "estimates": ()}).name
    return Task(named, names["task"], partial(measure, context, *rest))


def _real(context: Context) -> Iterator[Task]:
    for domain in context.images.domains:
        yield _task(real, context, domain, task="real", source=domain)


def real(context: Context, domain: str) -> Part:
    """What networks say of a domain's test images, and of as many training images: for whoever
    compares.
    """
    unseen = context.unseen(domain)
    return Part(
        Measurement(task="real", source=domain, estimates=()),
        keys=context.images.domains[domain].keys,
        features={
            **context.test(domain).features,
            **{name + TRAINING: features for name, features in unseen.items()},
        },
    )


def _translations(context: Context, model: Translates) -> Iterator[Task]:
    domains = list(context.images.domains)
    within = [(domain, domain) for domain in domains] if isinstance(model, Translator) else []
    for source, target in [*context.images.directions(), *within]:
        for style in _styles(context, model, source, target):
            yield _task(
                translation,
                context,
                model,
                source,
                target,
                style,
                task=task_of(source, target),
                source=source,
                target=target,
                style=style,
            )
        if isinstance(model, Translator) and _samples(model):
            yield _task(
                diversity,
                context,
                model,
                source,
                target,
                task="diversity",
                source=source,
                target=target,
                style="sampled",
            )


def _styles(context: Context, model: Translates, source: str, target: str) -> Iterator[Style]:
    """Where a direction's styles can come from."""
    if not isinstance(model, Translator) or model.network.style_dim == 0:
        yield "none"
        return
    yield "exemplar"
    if _samples(model):
        yield "sampled"
    known = (source, target) in context.images.truths
    if known and not context.images.truth_has_exemplars_style:
        yield "truth"


def _samples(model: Translator) -> bool:
    """Whether styles can be drawn: imported models know none of their training images."""
    return model.network.style_dim > 0 and bool(model.style_prior.domains)


def _of_codes(context: Context, model: Translates) -> Iterator[Task]:
    if not isinstance(model, Translator):
        return
    domains = list(context.images.domains)
    for domain in domains:
        yield _task(reconstruction, context, model, domain, task="reconstruction", source=domain)
    yield _task(codebook, context, model, task="codebook")
    if model.prior is None:
        return
    for domain in domains:
        yield _task(likelihood, context, model, domain, task="prior", source=domain)
        if _samples(model):
            yield _task(
                generation,
                context,
                model,
                domain,
                task="generation",
                target=domain,
                style="sampled",
            )
        yield _task(extension, context, model, domain, task="extension", source=domain)
        yield _task(completion, context, model, domain, task="completion", source=domain)
