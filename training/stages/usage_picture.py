"""How a codebook is used, as a picture: how often each code is chosen, and when it was over the last epoch."""

import numpy as np
from torch import Tensor

from imaging.codec import Pixels

_SIZE, _DPI = (6.4, 3.6), 100  # inches, pixels per inch


def usage_picture(history: Tensor) -> Pixels:
    """Draw how often codes were chosen.

    Args:
        history: counts (times, codes), oldest first.

    Returns:
        Above, each code's share against a uniform one (1), most used first; below, the same codes over time, each
        time's counts by the largest of all: dark is never.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    counts = history.numpy().astype(np.float64)
    totals = counts.sum(0)
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
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])
