"""What a model looks like while it is trained: held-out figures and a grid of pictures."""

import numpy as np
from torch import Tensor

import imaging
from evaluation.metrics import psnr
from imaging.codec import Pixels
from vqi2i.translator import Translator

BATCH = 32
SHOWN = 8


def reconstruction_psnr(translator: Translator, held_out: dict[str, Tensor]) -> float:
    """Mean PSNR in dB of held-out images rebuilt from their own tokens and style."""
    values = []
    for domain, images in held_out.items():
        for part in images.split(BATCH):
            encoded = translator.encode(part, domain)
            rebuilt = imaging.to_pixels(translator.decode(encoded.tokens, encoded.style, domain))
            values.append(psnr(np.stack(rebuilt), np.stack(imaging.to_pixels(part))))
    return float(np.concatenate(values).mean())


def translation_grid(translator: Translator, held_out: dict[str, Tensor]) -> Pixels:
    """Per domain three rows: images, their reconstructions, and translations to the next domain by its exemplars."""
    rows: list[Pixels] = []
    domains = list(held_out)
    count = min(SHOWN, *(len(images) for images in held_out.values()))
    for source, target in zip(domains, domains[1:] + domains[:1], strict=True):
        images, exemplars = held_out[source][:count], held_out[target][:count]
        encoded = translator.encode(images, source)
        style = translator.encode(exemplars, target).style
        rows += imaging.to_pixels(images)
        rows += imaging.to_pixels(translator.decode(encoded.tokens, encoded.style, source))
        rows += imaging.to_pixels(translator.decode(encoded.tokens, style, target))
    return imaging.grid(rows, count)


def generation_grid(translator: Translator) -> Pixels:
    """A row of generated images per domain, the same seeds every time."""
    rows = [image for d in translator.domains for image in imaging.to_pixels(translator.generate(SHOWN, domain=d))]
    return imaging.grid(rows, SHOWN)
