"""What single pictures look like beside real ones, whatever they show."""

from collections.abc import Iterator, Mapping
from functools import partial

from evaluation.metrics.niqe import niqe
from evaluation.metrics.texture import gradients, sharpness, speck_energy, specks
from evaluation.tasks.context import Context
from evaluation.tasks.controls import FLOOR
from evaluation.tasks.findings import Found, beside
from imaging.codec import Images

TEXTURES = {"sharpness": (gradients, sharpness), "specks": (speck_energy, specks)}


def naturalness(
    context: Context, domain: str, pictures: Images, others: Mapping[str, Images] | None = None
) -> Iterator[Found]:
    """NIQE under a model of the domain's training images."""
    controls = {FLOOR: context.images.domains[domain].test, **(others or {})}
    yield beside("niqe", partial(niqe, model=context.niqe(domain)), pictures, controls)


def texture(
    context: Context, domain: str, pictures: Images, others: Mapping[str, Images]
) -> Iterator[Found]:
    """Sharpness and specks over those of the domain's real pictures."""
    real = context.images.domains[domain].test
    for measure, (amount, over) in TEXTURES.items():
        reference = float(amount(real).mean())
        if reference > 0:  # grey or flat domains leave nothing to compare with
            yield beside(measure, partial(over, real=reference), pictures, others)
