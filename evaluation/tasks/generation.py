"""Pictures from nothing: like the real ones, but none of them again?"""

import numpy as np
from scipy.spatial.distance import cdist

from evaluation.networks.sight import Features
from evaluation.parts import Cases, Part
from evaluation.results import Estimate, Measurement
from evaluation.tasks.context import BATCH, Context, extremes
from evaluation.tasks.distributions import (
    distances,
    floor_gap,
    mean_of,
    naturalness,
    second_opinion,
)
from evaluation.tasks.translation import texture
from imaging import to_pixels
from imaging.codec import Images
from vqi2i.translator import Translator


def generation(context: Context, model: Translator, domain: str) -> Part:
    """Generate as many pictures of a domain as it has test images, in sampled styles."""
    real = context.images.domains[domain]
    made = _generated(context, model, domain, len(real.test))
    seen = context.networks.see(made, maps=False)
    estimates = [*distances(context, domain, seen), *second_opinion(context, domain, made)]
    each = dict[str, np.ndarray]()
    for estimate, values in (
        *naturalness(context, domain, made),
        *texture(context, domain, made, {}),
    ):
        estimates.append(estimate)
        each[estimate.measure] = values
    first = next(iter(seen.features))
    tests, training = (part(domain).features[first] for part in (context.test, context.training))
    novelty, values, neighbours = _nearest(seen.features[first], tests, training)
    estimates.append(novelty)
    each["nearest"] = values
    labels, chosen = extremes(values, context.settings.shown)
    columns = {"result": made[chosen], "nearest": real.training[neighbours[chosen]]}
    return Part(
        Measurement(
            task="generation",
            target=domain,
            style="sampled",
            estimates=tuple(estimates),
            gaps=tuple(floor_gap(context, domain, len(made))),
        ),
        # Nothing goes in: the pictures are known by their numbers.
        keys=[str(number) for number in range(len(made))],
        each=each,
        features=seen.features,
        cases=Cases(labels, values[chosen].tolist(), "nearest", columns),
    )


def _generated(context: Context, model: Translator, domain: str, count: int) -> Images:
    """(count, h, w, 3) of the size of the real ones."""
    height, width = context.images.domains[domain].test.shape[1:3]
    seed = context.seed("generation", domain)
    pictures: list[np.ndarray] = []
    for first in range(0, count, BATCH):
        some = min(BATCH, count - first)
        made = model.generate(some, domain=domain, height=height, width=width, seed=seed + first)
        pictures += to_pixels(made)
    return np.stack(pictures)


def _nearest(
    made: Features, tests: Features, training: Features
) -> tuple[Estimate, np.ndarray, np.ndarray]:
    """Distance of each picture to its nearest training image, over that of real test images."""
    real = cdist(tests, training, "cosine").min(1).mean()
    distances = cdist(made, training, "cosine")
    values = distances.min(1) / real
    return mean_of("nearest", values), values, distances.argmin(1)
