"""A set of pictures against the real ones of a domain: KID and manifold, beside their floors."""

from collections.abc import Iterator, Mapping

import numpy as np

from evaluation.metrics.frechet import frechet_distance
from evaluation.metrics.kid import Floor, Kernel, cubic, gaussian, kid, kid_floor, kid_interval
from evaluation.metrics.manifold import Memberships, memberships
from evaluation.networks.sight import Features, Seen
from evaluation.results import WITHIN, Estimate
from evaluation.tasks.context import Context
from evaluation.tasks.controls import FLOOR, FLOOR_DEVIATION
from evaluation.tasks.findings import Found, mean_of
from imaging.codec import Images

Others = Mapping[str, Seen]  # what stands beside, by name


def distances(
    context: Context, task: str, domain: str, made: Seen, others: Others | None = None
) -> Iterator[Found]:
    """KID on every network's features, and the manifold on the first one's.

    Args:
        context: has the real pictures.
        task: decides which of the domain's real ones are compared with, see `WITHIN`.
        domain: of the real ones.
        made: what networks say of the pictures.
        others: of the controls' pictures.
    """
    test, training = context.test(domain).features, context.training(domain).features
    real, alike = (context.unseen(domain), test) if task in WITHIN else (test, training)
    for name, features in made.features.items():
        beside = {control: seen.features[name] for control, seen in (others or {}).items()}
        pool = np.concatenate([test[name], training[name]])
        yield _kid(f"kid_{name}", real[name], pool, features, beside), None
        if name == "plug_in":
            yield _kid("cmmd_plug_in", real[name], pool, features, beside, gaussian), None
            yield _frechet(real[name], alike[name], features, beside), None
    first = next(iter(made.features))
    yield from _manifold(real[first], alike[first], made.features[first])


def second_opinion(context: Context, domain: str, pictures: Images) -> Iterator[Found]:
    """KID on the second network's features; nothing without it."""
    made, pool = context.networks.second_opinion(pictures), context.second(domain)
    if made is not None and pool is not None:
        real = pool[: len(context.images.domains[domain].test)]
        yield _kid("kid_lite2", real, pool, made, {}), None


def _kid(
    measure: str,
    real: Features,
    pool: Features,
    made: Features,
    beside: Mapping[str, Features],
    kernel: Kernel = cubic,
) -> Estimate:
    """KID with its interval, the floor at as many images, and the controls."""
    images = min(len(real), len(made))
    floor = kid_floor(pool, min(images, len(pool) // 2), kernel=kernel)
    controls = {FLOOR: floor.mean, FLOOR_DEVIATION: floor.deviation}
    controls |= {name: kid(real, features, kernel=kernel) for name, features in beside.items()}
    value, low, high = kid_interval(real, made, kernel=kernel)
    return Estimate(
        measure=measure, value=value, low=low, high=high, images=images, controls=controls
    )


def _frechet(
    real: Features, alike: Features, made: Features, beside: Mapping[str, Features]
) -> Estimate:
    """The distance of FID, beside that of as many other real images."""
    images = min(len(real), len(made), len(alike))
    controls = {FLOOR: frechet_distance(real[:images], alike[:images])}
    controls |= {name: frechet_distance(real, features) for name, features in beside.items()}
    return Estimate(
        measure="frechet_plug_in",
        value=frechet_distance(real, made),
        images=min(len(real), len(made)),
        controls=controls,
    )


def floors_by_images(context: Context, domain: str, measure: str) -> Iterator[Floor]:
    """Real images against real ones at a quarter, a half and all of the test images' number: how
    much of a figure is its number of images. Nothing if the measure is no KID.
    """
    network, count = measure.removeprefix("kid_"), len(context.images.domains[domain].test)
    real, training = context.test(domain).features, context.training(domain).features
    if network in real:
        pool = np.concatenate([real[network], training[network]])
    elif network != "lite2" or (pool := context.second(domain)) is None:
        return
    most = min(count, len(pool) // 2)
    for images in sorted({most // 4, most // 2, most}):
        if images >= 2:
            yield kid_floor(pool, images)


def floor_gap(context: Context, domain: str, count: int) -> Iterator[str]:
    """That the floor stands on fewer images than the figure; nothing if it does not."""
    images = context.images.domains[domain]
    there = (len(images.test) + len(images.training)) // 2
    if (wanted := min(count, len(images.test))) > there:
        yield (
            f"the floor of {domain} is of {there} images a side instead of {wanted}: more "
            "training images would mend it"
        )


def _manifold(real: Features, alike: Features, made: Features) -> Iterator[Found]:
    """Each figure with its interval; beside it that of as many other real images."""
    found = memberships(real, made)
    floor = memberships(real, alike[: len(made)])
    for name, values, best in zip(Memberships._fields, found, floor, strict=True):
        controls, images = {FLOOR: float(best.mean())}, min(len(real), len(made))
        # Recall and coverage have a figure for each real image, not for each that was made.
        single = values if name in ("precision", "density") else None
        yield mean_of(name, values, controls, images=images), single
