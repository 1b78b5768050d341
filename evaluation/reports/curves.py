"""Training curves as SVG that takes its colours and its font from the page around it."""

import io
import re
from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

MAX_POINTS = 300  # more would not be told apart at this size
# Placeholders for colours that only the page knows.
_INK, _ACCENT = "#010203", "#040506"
_INK_VARIABLE, _ACCENT_VARIABLE = "var(--muted)", "var(--accent)"


def curve_svg(name: str, points: Sequence[tuple[float, float]]) -> str:
    """Draw one curve of (images seen, value) as an `<svg>` element for an HTML page.

    Curves of more than 300 points are averaged over neighbours. The page defines `--muted` and
    `--accent`.

    Raises:
        ValueError: there are no points.
    """
    if not points:
        raise ValueError(f"curve {name!r} has no points: leave it out of the report")
    images, values = _thinned(points)
    figure = Figure(figsize=(3.6, 2.1), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(
        images, values, color=_ACCENT, linewidth=1.6, marker="o" if len(images) == 1 else None
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_INK)
    axes.tick_params(colors=_INK, labelsize=9)
    axes.grid(axis="y", color=_INK, alpha=0.2, linewidth=0.6)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    return _for_page(figure, name)


def _thinned(points: Sequence[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    table = np.asarray(points, dtype=np.float64)
    if len(table) > MAX_POINTS:
        table = np.stack([part.mean(axis=0) for part in np.array_split(table, MAX_POINTS)])
    return table[:, 0], table[:, 1]


def _for_page(figure: Figure, name: str) -> str:
    """The figure without what only a file of its own needs: prolog, namespaces, metadata, names of
    groups.
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    # the salt keeps ids unique on the page
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"|\sid="[\w.]+_\d+"', "", svg)
    svg = re.sub(r"<!--.*?-->\s*", "", svg)
    return svg.replace(_INK, _INK_VARIABLE).replace(_ACCENT, _ACCENT_VARIABLE)
