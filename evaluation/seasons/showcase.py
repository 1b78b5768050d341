"""Every application on a few images, as figures of a report."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch

import imaging
from evaluation.reports.pictures import Figure, Row
from evaluation.seasons.protocol import Paired
from imaging.codec import Images, Pixels
from vqi2i.translator import Translator

Progress = Callable[[int, int], None]  # told (figures done, figures in all)

SHOWN = 8
SAMPLES = 3


def translation_figures(
    translator: Translator, triples: Mapping[tuple[str, str], Paired]
) -> list[Figure]:
    """Source, exemplar, translation and truth, per direction."""
    figures = []
    for (source, target), paired in triples.items():
        images, exemplars = paired.source[:SHOWN], paired.exemplar[:SHOWN]
        style = translator.encode(imaging.to_tensor(exemplars), target).style
        shown = translator.translate(
            imaging.to_tensor(images), source=source, target=target, style=style
        )
        rows = [
            Row(f"{source}: content", list(images)),
            Row(f"{target}: style", list(exemplars)),
            Row("translation", imaging.to_pixels(shown)),
            Row("truth", list(paired.truth[:SHOWN])),
        ]
        caption = (
            "The content of the first row in the style of the second, and what the painter would "
            "have painted."
        )
        figures.append(Figure(f"Translation, {source} to {target}, by example", caption, rows))
    return figures


def showcase(
    translator: Translator,
    images: Mapping[str, Images],
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Figure]:
    """What the model does with a few images of each domain; without a prior, only what needs none.

    Args:
        translator: the model.
        images: uint8 (n, h, w, 3) of each domain, n >= 3.
        seed: for everything that is sampled.
        progress: told (figures done, figures in all).
    """
    domains = list(images)
    pairs = list(zip(domains, domains[1:] + domains[:1], strict=True)) + [
        (domain, domain) for domain in domains
    ]
    makers = [partial(_restyled, translator, images, *pair, seed) for pair in pairs]
    if translator.prior is not None:
        makers += [
            partial(_generated, translator, seed),
            partial(_extended, translator, images, seed),
            partial(_completed, translator, images, seed),
        ]
    makers.append(partial(_blended, translator, images))
    figures = []
    for make in makers:
        figures.append(make())
        if progress:
            progress(len(figures), len(makers))
    return figures


def _restyled(
    translator: Translator, images: Mapping[str, Images], source: str, target: str, seed: int
) -> Figure:
    batch = imaging.to_tensor(images[source][:SHOWN])
    rows = [Row(source, list(images[source][:SHOWN]))]
    for sample in range(SAMPLES):
        # One style per row: image i would otherwise have the seed `seed + i`.
        seeds = [seed + 1000 + sample] * len(batch)
        shown = translator.translate(batch, source=source, target=target, seed=seeds)
        rows.append(Row(f"style {sample + 1}", imaging.to_pixels(shown)))
    title = (
        f"Restyling within {source}"
        if source == target
        else f"Translation, {source} to {target}, sampled styles"
    )
    caption = (
        "Each row below the first has one style, drawn from the style prior: no example image is "
        "involved."
    )
    return Figure(title, caption, rows)


def _generated(translator: Translator, seed: int) -> Figure:
    rows = [
        Row(domain, imaging.to_pixels(translator.generate(SHOWN, domain=domain, seed=seed)))
        for domain in translator.domains
    ]
    return Figure(
        "Generation from nothing", "Tokens and styles are sampled; no image goes in.", rows
    )


def _extended(translator: Translator, images: Mapping[str, Images], seed: int) -> Figure:
    rows = []
    for domain in images:
        batch = imaging.to_tensor(images[domain][:SAMPLES])
        width = batch.shape[3]
        wide = translator.extend(batch, domain=domain, left=width // 2, right=width, seed=seed)
        rows += [
            Row(domain, [_framed(image, width // 2, width) for image in images[domain][:SAMPLES]])
        ]
        rows += [Row("extended", imaging.to_pixels(wide))]
    caption = (
        "Half a width is added on the left and one on the right; above each canvas stands the "
        "image it grew from."
    )
    return Figure("Extension", caption, rows)


def _framed(image: Pixels, left: int, right: int) -> Pixels:
    return np.pad(image, ((0, 0), (left, right), (0, 0)), constant_values=128)


def _completed(translator: Translator, images: Mapping[str, Images], seed: int) -> Figure:
    rows = []
    for domain in images:
        pixels = images[domain][:SHOWN]
        height, width = pixels.shape[1:3]
        mask = np.zeros((height, width), bool)
        mask[:, : width // 2] = True
        whole = translator.complete(
            imaging.to_tensor(pixels), mask=torch.from_numpy(mask), domain=domain, seed=seed
        )
        rows += [
            Row(f"{domain}: kept", list(np.where(mask[..., None], pixels, 128).astype(np.uint8)))
        ]
        rows += [Row("completed", imaging.to_pixels(whole)), Row("original", list(pixels))]
    return Figure("Completion", "The right half is imagined from the left one.", rows)


def _blended(translator: Translator, images: Mapping[str, Images]) -> Figure:
    rows = []
    for domain in images:
        styles = translator.encode(imaging.to_tensor(images[domain][:SAMPLES]), domain).style
        canvas = imaging.to_tensor(images[domain][SAMPLES : SAMPLES + 4])
        if translator.prior is not None:
            canvas = translator.extend(canvas, domain=domain, right=2 * canvas.shape[3])
        blended = translator.transition(canvas, domain=domain, styles=styles)
        rows += [
            Row(f"{domain}: styles", list(images[domain][:SAMPLES])),
            Row("blended", imaging.to_pixels(blended)),
        ]
    return Figure(
        "Transition",
        "The style changes across the canvas through the styles above it, from left to right.",
        rows,
    )
