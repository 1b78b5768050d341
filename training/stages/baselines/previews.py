"""What a baseline looks like while it is trained."""

import numpy as np
from torch import Tensor

import imaging
from baselines.translator import BaselineTranslator
from evaluation.metrics.similarity import psnr
from imaging.codec import Pixels
from training.stages.previews import BATCH, SHOWN


def cycle_psnr(translator: BaselineTranslator, held_out: dict[str, Tensor]) -> float:
    """Mean PSNR in dB of held-out images translated to the next domain and back.

    It says whether a model has lost its content, and not whether it translates: generators that
    change nothing have the best.
    """
    values = []
    for source, target in _round(held_out):
        for images in held_out[source].split(BATCH):
            there = translator.translate(images, source=source, target=target)
            back = translator.translate(there, source=target, target=source)
            values.append(
                psnr(np.stack(imaging.to_pixels(back)), np.stack(imaging.to_pixels(images)))
            )
    return float(np.concatenate(values).mean())


def translation_grid(translator: BaselineTranslator, held_out: dict[str, Tensor]) -> Pixels:
    """Per domain two rows: images, and translations to the next domain."""
    rows: list[Pixels] = []
    count = min(SHOWN, *(len(images) for images in held_out.values()))
    for source, target in _round(held_out):
        images = held_out[source][:count]
        rows += imaging.to_pixels(images)
        rows += imaging.to_pixels(translator.translate(images, source=source, target=target))
    return imaging.grid(rows, count)


def _round(held_out: dict[str, Tensor]) -> list[tuple[str, str]]:
    """Each domain with the next one, the last with the first."""
    domains = list(held_out)
    return list(zip(domains, domains[1:] + domains[:1], strict=True))
