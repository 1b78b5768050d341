"""Images of one domain shown in another, or in other styles of their own."""

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from evaluation.color_transfer import reinhard
from evaluation.images import Direction
from evaluation.metrics.similarity import finite_psnr, gradient_correlation, ssim
from evaluation.metrics.structure import structure_distance
from evaluation.metrics.texture import gradients, sharpness, speck_energy, specks
from evaluation.networks.sight import Networks, Seen
from evaluation.parts import Cases, Part
from evaluation.results import Measurement, Style
from evaluation.tasks.context import Context, Findings, Found, Translates, cases, in_batches
from evaluation.tasks.controls import FLOOR, HELD_OUT, IDENTITY, OTHER, REINHARD
from evaluation.tasks.distributions import (
    distances,
    floor_gap,
    mean_of,
    naturalness,
    second_opinion,
)
from imaging import to_tensor
from imaging.codec import Images
from vqi2i.translator import Translator

TEXTURES = {"sharpness": (gradients, sharpness), "specks": (speck_energy, specks)}


def translation(
    context: Context, model: Translates, source: str, target: str, style: Style
) -> Part:
    """Translate the test images of a domain (restyle them, where `source == target`).

    Args:
        context: the real pictures and the networks.
        model: a `Translator`, unless `style` is none.
        source: domain of the images.
        target: domain they are shown in.
        style: of exemplars of the target, sampled, of the truth, or none at all.
    """
    direction = context.images.direction(source, target, context.settings.seed)
    made = translated(context, model, direction, source, target, style)
    controls = {
        IDENTITY: direction.source,
        REINHARD: reinhard(direction.source, direction.exemplar),
    }
    seen = context.networks.see(made)
    seen_others = {name: context.networks.see_real(some) for name, some in controls.items()}
    found = Findings()
    found.add(distances(context, target, seen, seen_others, within=source == target))
    if source != target:
        if style != "sampled":  # one set of pictures is enough to confirm
            found.add(second_opinion(context, target, made))
        found.add(_arrival(context, target, seen, seen_others))
    found.add(_kept_content(seen, seen_others))
    found.add(naturalness(context, target, made, controls))
    found.add(texture(context, target, made, controls))
    found.add(nearness(context.networks, made, direction.truth, controls))
    return Part(
        Measurement(
            task="translation" if source != target else "restyling",
            source=source,
            target=target,
            style=style,
            estimates=tuple(found.estimates),
            gaps=tuple(floor_gap(context, target, len(made))),
        ),
        keys=direction.keys,
        each=found.each,
        features=seen.features,
        cases=_cases(context, direction, made, found.each),
    )


def translated(
    context: Context,
    model: Translates,
    direction: Direction,
    source: str,
    target: str,
    style: Style,
) -> Images:
    """The direction's source images in the target domain."""
    styles = _styles(context, model, direction, source, target, style)

    def make(images: Tensor, first: int) -> Tensor:
        own = None if styles is None else styles[first : first + len(images)]
        return model.translate(images, source=source, target=target, style=own)

    return in_batches(make, direction.source)


def _styles(
    context: Context,
    model: Translates,
    direction: Direction,
    source: str,
    target: str,
    style: Style,
) -> Tensor | None:
    """(n, style_dim), one of each image."""
    if style == "none":
        return None
    assert isinstance(model, Translator)
    if style == "sampled":
        seed = context.seed("styles", source, target)
        return model.sample_styles(target, len(direction.source), seed)
    shown = direction.truth if style == "truth" else direction.exemplar
    assert shown is not None
    return torch.cat(
        [model.encode(to_tensor(shown[i : i + 32]), target).style for i in range(0, len(shown), 32)]
    )


def _arrival(
    context: Context, target: str, made: Seen, others: Mapping[str, Seen]
) -> Iterator[Found]:
    """Whether pictures are taken for the target domain."""
    if "lite0" not in made.features:
        return
    classifier = context.classifier()

    def taken(seen: Seen) -> np.ndarray:
        features = torch.from_numpy(seen.features["lite0"])
        return classifier.takes_for(features, target).double().numpy()

    controls = {name: float(taken(seen).mean()) for name, seen in others.items()}
    controls[HELD_OUT] = classifier.held_out[target]
    values = taken(made)
    yield mean_of("domain_accuracy", values, controls), values


def _kept_content(made: Seen, others: Mapping[str, Seen]) -> Iterator[Found]:
    """Structure distance to the source, beside that of another source and of Reinhard transfer."""
    source, transferred = others[IDENTITY].maps, others[REINHARD].maps
    if made.maps is None or source is None or transferred is None:
        return
    pairs = {REINHARD: transferred, OTHER: np.roll(source, 1, axis=0)}
    controls = {name: float(_structure(source, maps).mean()) for name, maps in pairs.items()}
    values = _structure(source, made.maps)
    yield mean_of("structure", values, controls), values


def _structure(maps: np.ndarray, others: np.ndarray) -> np.ndarray:
    # A batch at a time: (h w)^2 similarities for each picture.
    parts = [
        structure_distance(torch.from_numpy(maps[i : i + 64]), torch.from_numpy(others[i : i + 64]))
        for i in range(0, len(maps), 64)
    ]
    return torch.cat(parts).double().numpy()


def texture(
    context: Context, domain: str, pictures: Images, others: Mapping[str, Images]
) -> Iterator[Found]:
    """Sharpness and specks over those of the domain's real pictures."""
    real = context.images.domains[domain].test
    for measure, (amount, over) in TEXTURES.items():
        reference = float(amount(real).mean())
        if reference == 0:  # grey or flat domains: nothing to compare with
            continue
        controls = {name: float(over(some, reference).mean()) for name, some in others.items()}
        values = over(pictures, reference)
        yield mean_of(measure, values, controls), values


def nearness(
    networks: Networks,
    pictures: Images,
    truth: Images | None,
    others: Mapping[str, Images],
) -> Iterator[Found]:
    """How near pictures come to their truths; nothing where those are unknown."""
    if truth is None:
        return
    measures: dict[str, Callable[[Images, Images], np.ndarray]] = {
        "psnr": finite_psnr,
        "edges": gradient_correlation,
    }
    if min(truth.shape[1:3]) >= 11:
        measures["ssim"] = ssim
    if (perceptual := networks.perceptual) is not None:
        measures["st_lpips"] = lambda a, b: (
            perceptual.distance(to_tensor(a), to_tensor(b)).double().numpy()
        )
    for measure, of in measures.items():
        controls = {name: float(of(some, truth).mean()) for name, some in others.items()}
        values = of(pictures, truth)
        yield mean_of(measure, values, controls), values


def _cases(
    context: Context, direction: Direction, made: Images, each: Mapping[str, np.ndarray]
) -> Cases:
    """By what is known best: distance to the truth, else kept content, else naturalness."""
    measure = next(name for name in ("st_lpips", "psnr", "structure", "niqe") if name in each)
    columns = {"input": direction.source, "exemplar": direction.exemplar, "result": made}
    if direction.truth is not None:
        columns["truth"] = direction.truth
    return cases(measure, each[measure], columns, context.settings.shown)


def diversity(context: Context, model: Translator, source: str, target: str) -> Part:
    """How different the pictures of one source look under sampled styles (ST-LPIPS).

    After the protocol of Zhu et al. (BicycleGAN, 2017): the mean over sources of the mean distance
    of all pairs of a source's samples.
    """
    settings, networks = context.settings, context.networks
    images = context.images.domains[source].test[: settings.diverse]
    keys = context.images.domains[source].keys[: len(images)]
    if networks.perceptual is None:
        gap = ("diversity was not measured: it needs the weights of ST-LPIPS",)
        return Part(
            Measurement(
                task="diversity",
                source=source,
                target=target,
                style="sampled",
                estimates=(),
                gaps=gap,
            )
        )
    samples = [
        in_batches(
            lambda part, first, s=s: model.translate(
                part,
                source=source,
                target=target,
                seed=context.seed("diversity", source, target, str(s)) + first,
            ),
            images,
        )
        for s in range(settings.samples)
    ]
    perceptual = networks.perceptual
    tensors = [to_tensor(some) for some in samples]
    pairs = [perceptual.distance(a, b).double() for a, b in combinations(tensors, 2)]
    values = torch.stack(pairs).mean(0).numpy()
    real = to_tensor(context.images.domains[target].test)
    controls = {FLOOR: float(perceptual.distance(real, real.roll(1, 0)).mean())}
    shown = slice(0, settings.shown)
    columns = {"input": images[shown]} | {
        f"sample {number}": some[shown] for number, some in enumerate(samples, start=1)
    }
    labels = ["as it comes"] * len(images[shown])
    return Part(
        Measurement(
            task="diversity",
            source=source,
            target=target,
            style="sampled",
            estimates=(mean_of("diversity", values, controls),),
        ),
        keys=keys,
        each={"diversity": values},
        cases=Cases(labels, values[shown].tolist(), "diversity", columns),
    )
