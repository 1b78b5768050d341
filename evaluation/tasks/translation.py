"""Images of one domain shown in another, or in other styles of their own."""

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from evaluation.images import Direction
from evaluation.metrics.structure import structure_distance
from evaluation.networks.sight import Seen
from evaluation.parts import Cases, Part
from evaluation.results import Style
from evaluation.tasks.appearance import naturalness, texture
from evaluation.tasks.color_transfer import reinhard
from evaluation.tasks.context import Context, Translates, encoded, in_batches
from evaluation.tasks.controls import HELD_OUT, IDENTITY, OTHER, REINHARD
from evaluation.tasks.distributions import distances, floor_gap, second_opinion
from evaluation.tasks.findings import Findings, Found, beside, cases
from evaluation.tasks.nearness import nearness
from imaging.codec import Images
from vqi2i.translator import Translator


def task_of(source: str, target: str) -> str:
    """What it is called to show images of one domain in a domain."""
    return "translation" if source != target else "restyling"


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
    task = task_of(source, target)
    direction = context.images.direction(source, target, context.settings.seed)
    styles = _styles(context, model, direction, source, target, style)

    def make(images: Tensor, first: int) -> Tensor:
        own = None if styles is None else styles[first : first + len(images)]
        return model.translate(images, source=source, target=target, style=own)

    made = in_batches(make, direction.source)
    controls = {
        IDENTITY: direction.source,
        REINHARD: reinhard(direction.source, direction.exemplar),
    }
    seen = context.networks.see(made)
    seen_others = {name: context.networks.see_real(some) for name, some in controls.items()}
    found = Findings()
    found.add(distances(context, task, target, seen, seen_others))
    if source != target:
        if style != "sampled":  # one set of pictures is enough to confirm
            found.add(second_opinion(context, target, made))
        found.add(_arrival(context, target, seen, seen_others))
    found.add(_kept_content(seen, seen_others))
    found.add(naturalness(context, target, made, controls))
    found.add(texture(context, target, made, controls))
    found.add(nearness(context.networks, made, direction.truth, controls))
    return found.part(
        task,
        direction.keys,
        seen,
        _cases(context, direction, made, found.each),
        source=source,
        target=target,
        style=style,
        gaps=floor_gap(context, target, len(made)),
    )


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
    return encoded(model, shown, target).style


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

    known = {HELD_OUT: classifier.held_out[target]}
    yield beside("domain_accuracy", taken, made, others, known)


def _kept_content(made: Seen, others: Mapping[str, Seen]) -> Iterator[Found]:
    """Structure distance to the source, beside that of another source and of Reinhard transfer."""
    source, transferred = others[IDENTITY].maps, others[REINHARD].maps
    if made.maps is None or source is None or transferred is None:
        return
    pairs = {REINHARD: transferred, OTHER: np.roll(source, 1, axis=0)}
    yield beside("structure", partial(_structure, source), made.maps, pairs)


def _structure(maps: np.ndarray, others: np.ndarray) -> np.ndarray:
    # A batch at a time: (h w)^2 similarities for each picture.
    parts = [
        structure_distance(torch.from_numpy(maps[i : i + 64]), torch.from_numpy(others[i : i + 64]))
        for i in range(0, len(maps), 64)
    ]
    return torch.cat(parts).double().numpy()


def _cases(
    context: Context, direction: Direction, made: Images, each: Mapping[str, np.ndarray]
) -> Cases:
    """By what is known best: distance to the truth, else kept content, else naturalness."""
    measure = next(name for name in ("st_lpips", "psnr", "structure", "niqe") if name in each)
    columns = {"input": direction.source, "exemplar": direction.exemplar, "result": made}
    if direction.truth is not None:
        columns["truth"] = direction.truth
    return cases(measure, each[measure], columns, context.settings.shown)
