"""What a model looks like while it is trained: figures, pictures, the use of its codebook."""

import numpy as np
from torch import Tensor

import imaging
from evaluation.metrics.similarity import psnr
from imaging.codec import Pixels
from vqi2i.translator import Translator

BATCH = 32
SHOWN = 8
_SIZE, _DPI = (6.4, 3.6), 100  # inches, pixels per inch


def usage_picture(history: Tensor) -> Pixels:
    """Draw how often codes were chosen.

    Args:
        history: counts (times, codes), oldest first.

    Returns:
        Above, each code's share against a uniform one (1), most used first; below, the same codes
        over time, the logarithms of their counts: dark is never.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    counts = history.numpy().astype(np.float64)
    totals = counts.sum(0)
    # stable, so that codes of equal use keep their order from picture to picture
    by_use = np.argsort(-totals, kind="stable")
    share = totals[by_use] * len(totals) / max(totals.sum(), 1)
    figure = Figure(figsize=_SIZE, dpi=_DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True)
    above.bar(np.arange(len(share)), share, width=1.0, color="#356fa5")
    above.axhline(1, color="#888888", linewidth=0.8)
    above.set_ylabel("share x codes")
    above.set_title(f"{np.count_nonzero(totals)} of {len(totals)} codes in use", fontsize=10)
    below.imshow(np.log1p(counts[:, by_use]), aspect="auto", interpolation="nearest", cmap="magma")
    below.set_yticks([0, len(counts) - 1], ["an epoch ago", "now"])
    below.set_xlabel("code, most used first")
    canvas.draw()
    # Without alpha.
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


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
    """Per domain three rows: images, reconstructions, translations by the next domain's styles."""
    rows: list[Pixels] = []
    domains = list(held_out)
    count = min(SHOWN, *(len(images) for images in held_out.values()))
    # Each domain to the next one, the last to the first.
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
    rows = [
        image
        for d in translator.domains
        for image in imaging.to_pixels(translator.generate(SHOWN, domain=d))
    ]
    return imaging.grid(rows, SHOWN)
