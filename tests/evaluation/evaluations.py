"""Small evaluations as `vqi2i evaluate` leaves them: drawn features, real distances, real files."""

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import numpy as np

from evaluation.metrics.intervals import bootstrap_mean
from evaluation.metrics.kid import kid, kid_floor, kid_interval
from evaluation.parts import Cases, Part, write_part
from evaluation.results import Estimate, Evaluation, Measurement, Settings, Subject, write
from pipelines.synthetic.dataset import DOMAINS, draw_content, draw_style, render

WIDTH = 8
REAL = ("lite0", "lite0_training")  # of test and of training images
CASES = ("lowest", "middle", "highest", "as it comes")


def features(domain: int, images: int, seed: int) -> np.ndarray:
    """Of real images of a domain: (images, WIDTH)."""
    rng = np.random.default_rng([domain, seed])
    return (rng.normal(size=(images, WIDTH)) + 0.8 * domain).astype(np.float32)


def painted(count: int, season: str, seed: int, size: int = 32) -> np.ndarray:
    rng = np.random.default_rng(seed)
    drawn = [(draw_content(rng), draw_style(rng, season)) for _ in range(count)]
    return np.stack([render(*each, height=size, width=size) for each in drawn])


def make_evaluation(
    out: Path,
    *,
    name: str = "plus",
    distance: float = 0.3,
    domains: Sequence[str] = ("summer", "winter"),
    images: int = 60,
    size: int = 32,
    settings: Settings | None = None,
    data: str = "d" * 64,
) -> Evaluation:
    """A model whose pictures miss the real ones by `distance`; the data are the same for all."""
    settings = settings or Settings(images=images, shown=1)
    measurements = []
    for number, domain in enumerate(domains):
        real = Measurement(task="real", source=domain, estimates=())
        kept = {name: features(number, images, seed) for seed, name in enumerate(REAL)}
        write_part(out, Part(real, _keys(domain, images), features=kept), "key")
    for source, target in permutations(range(len(domains)), 2):
        part = _translation(domains, source, target, distance, images, size)
        write_part(out, part, "key")
        measurements.append(part.measurement)
    for part in (_reconstruction(domains[0], distance, images), _codebook(images)):
        write_part(out, part, "key")
        measurements.append(part.measurement)
    evaluation = Evaluation(
        model=Subject(
            name=name,
            fingerprint=f"{distance:.3f}".replace(".", "0").ljust(64, "0"),
            facts={"chosen_by": "the last", "position": 8004, "provenance": {"run": "first"}},
        ),
        data=Subject(name="painted seasons", fingerprint=data, facts={"domains": list(domains)}),
        settings=settings,
        headline="kid_lite0",
        measurements=tuple(measurements),
    )
    write(evaluation, out)
    return evaluation


def _keys(domain: str, images: int) -> list[str]:
    return [f"{domain}/{number}" for number in range(images)]


def _translation(
    domains: Sequence[str], source: int, target: int, distance: float, images: int, size: int
) -> Part:
    rng = np.random.default_rng([source, target])  # the images are hard alike for all models
    real, inputs = features(target, images, 0), features(source, images, 0)
    made = features(target, images, 1) + np.float32(distance)
    found = kid_interval(real, made)
    floor = kid_floor(features(target, 2 * images, 2), images)
    own = np.random.default_rng([source, target, round(1000 * distance)])  # of this model alone
    structure = rng.uniform(0.1, 0.3, images) + distance / 10 + own.normal(0, 0.02, images)
    right = (own.uniform(size=images) < 0.9).astype(np.float64)
    sharp = rng.uniform(0.7, 1.0, images) - distance / 10 + own.normal(0, 0.05, images)
    estimates = (
        Estimate(
            measure="kid_lite0",
            value=found.value,
            low=found.low,
            high=found.high,
            images=images,
            controls={
                "real against real": floor.mean,
                "deviation of real against real": floor.deviation,
                "input as it is": kid(real, inputs),
                "Reinhard transfer": kid(real, (real + inputs) / 2),
            },
        ),
        _mean("structure", structure, {"input as it is": 0.0, "another image": 0.4}),
        _mean("domain_accuracy", right, {"held-out": 0.98, "chance": 1 / len(domains)}),
        _mean("sharpness", sharp, {}),
    )
    measurement = Measurement(
        task="translation",
        source=domains[source],
        target=domains[target],
        style="exemplar",
        estimates=estimates,
        gaps=("KID-Lite2: install vqi2i[metrics]",),
    )
    shown = len(CASES)
    seasons = DOMAINS if source < target else DOMAINS[::-1]
    columns = {
        "input": painted(shown, seasons[0], source, size),
        "exemplar": painted(shown, seasons[1], 10 + target, size),
        "result": painted(shown, seasons[1], source, size) // 4 * 3 + int(60 * distance),
        "truth": painted(shown, seasons[1], source, size),
    }
    cases = Cases(CASES, [0.1, 0.2, 0.3, 0.2], "structure", columns)
    each = {"structure": structure, "domain_accuracy": right, "sharpness": sharp}
    keys = _keys(domains[source], images)
    return Part(measurement, keys, each, {"lite0": made}, cases)


def _reconstruction(domain: str, distance: float, images: int) -> Part:
    own = np.random.default_rng(round(1000 * distance))
    psnr = (
        np.random.default_rng(5).uniform(25, 35, images) - 5 * distance + own.normal(0, 1, images)
    )
    estimates = (_mean("psnr", psnr, {}),)
    measurement = Measurement(
        task="reconstruction", source=domain, style="own", estimates=estimates
    )
    return Part(measurement, _keys(domain, images), {"psnr": psnr})


def _codebook(images: int) -> Part:
    estimates = (Estimate(measure="perplexity", value=113.25, images=images),)
    return Part(Measurement(task="codebook", estimates=estimates))


def _mean(measure: str, values: np.ndarray, controls: dict[str, float]) -> Estimate:
    found = bootstrap_mean(values)
    return Estimate(
        measure=measure,
        value=found.value,
        low=found.low,
        high=found.high,
        images=len(values),
        controls=controls,
    )
