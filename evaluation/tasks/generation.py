"""Pictures from nothing: like the real ones, but none of them again?"""

import numpy as np
from scipy.spatial.distance import cdist

from evaluation.networks.sight import Features
from evaluation.parts import Part
from evaluation.results import Estimate
from evaluation.tasks.appearance import naturalness, texture
from evaluation.tasks.context import BATCH, Context
from evaluation.tasks.distributions import distances, floor_gap, second_opinion
from evaluation.tasks.findings import Findings, cases, mean_of
from imaging import to_pixels
from imaging.codec import Images
from vqi2i.translator import Translator


def generation(context: Context, model: Translator, domain: str) -> Part:
    """Generate as many pictures of a domain as it has test images, in sampled styles."""
    real = context.images.domains[domain]
    made = _generated(context, model, domain, len(real.test))
    seen = context.networks.see(made, maps=False)
    found = Findings()
    found.add(distances(context, "generation", domain, seen))
    found.add(second_opinion(context, domain, made))
    found.add(naturalness(context, domain, made))
    found.add(texture(context, domain, made, {}))
    first = next(iter(seen.features))
    tests, training = (part(domain).features[first] for part in (context.test, context.training))
    novelty, values, neighbours = _nearest(seen.features[first], tests, training)
    found.add([(novelty, values)])
    columns = {"result": made, "nearest": real.training[neighbours]}
    return found.part(
        "generation",
        # Nothing goes in: the pictures are known by their numbers.
        [str(number) for number in range(len(made))],
        seen,
        cases("nearest", values, columns, context.settings.shown),
        target=domain,
        style="sampled",
        gaps=floor_gap(context, domain, len(made)),
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
