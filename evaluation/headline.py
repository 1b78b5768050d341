"""Two rules of honest reports: which measure may lead one, and how the weights it judges were
chosen, as their bundle says.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from errors import UserError
from evaluation.metrics.frechet import check_leads
from evaluation.networks.weights import REMEDY
from vqi2i.bundle import CHOSEN, TRAINED_WITH
from vqi2i.checking.typed import meant

LPIPS = "vgg16-lpips"
RANDOM = "random"
PLUG_IN = "plug_in"
# The network behind every measure that may lead, by its short name.
LEADERS = {
    "kid_lite0": "lite0",
    "kid_lite0_places": "lite0",
    "kid_lite2": "lite2",
    "kid_random": RANDOM,
    "kid_plug_in": PLUG_IN,
    "cmmd_plug_in": PLUG_IN,
    "frechet_plug_in": PLUG_IN,
}
NETWORKS = {"lite0": "EfficientNet-Lite0", "lite2": "EfficientNet-Lite2"}


class Headline(NamedTuple):
    """What leads a report."""

    measure: str  # a name of `MEASURES`
    reason: str  # a sentence for the report


def headline(provenance: Mapping[str, Any], installed: Collection[str]) -> Headline:
    """The measure that leads, if nobody asks for one: KID on the best network that is there and is
    not in the model's training loss.

    A model is good at what it was trained to please, so such a network would flatter it. A plug-in
    never leads by itself.

    Args:
        provenance: of the model's bundle.
        installed: networks whose weights are there, of `lite0` and `lite2`.
    """
    passed_over = []
    for short, title in NETWORKS.items():
        if short not in installed:
            passed_over.append(f"{title} is not installed ({REMEDY})")
        elif _in_loss(title, provenance):
            passed_over.append(f"{title} is in the model's training loss")
        else:
            return Headline(f"kid_{short}", _reason(title, passed_over, provenance))
    return Headline(f"kid_{RANDOM}", _reason("random convolutions", passed_over, provenance))


def asked_headline(
    measure: str,
    provenance: Mapping[str, Any],
    installed: Collection[str],
    *,
    plug_in: str | None = None,
    images: int,
) -> Headline:
    """The measure that somebody wants to lead, if it may.

    Args:
        measure: one of `LEADERS`.
        provenance: of the model's bundle.
        installed: as in `headline`.
        plug_in: name of the plug-in, if one is given; it is known by its name alone.
        images: on each side.

    Raises:
        UserError: there is no such measure, its network is not there or is in the model's training
            loss, or a Fréchet distance would be of too few images.
    """
    network = LEADERS.get(measure)
    if network is None:
        raise UserError(
            f"{measure!r} cannot lead a report{meant(measure, LEADERS)}: choose one of "
            f"{', '.join(LEADERS)}"
        )
    if network == PLUG_IN and plug_in is None:
        raise UserError(f"{measure} needs a network of yours: give it with --plug-in")
    titles = NETWORKS | {PLUG_IN: plug_in or "", RANDOM: "random convolutions"}
    title = titles[network]
    if network in NETWORKS and network not in installed:
        raise UserError(f"{measure} needs {title}, which is not installed: {REMEDY}")
    if network != RANDOM and _in_loss(title, provenance):
        raise UserError(
            f"{measure} cannot lead a report of this model: {title} is in its training loss, which "
            "would flatter it; choose another measure"
        )
    if measure.startswith("frechet"):
        check_leads(images)
    return Headline(measure, _reason(title, [], provenance))


def trained_with(provenance: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Names of the pretrained networks in a model's training loss; None if its bundle does not say.

    Older bundles say it by their perceptual term.
    """
    names = provenance.get(TRAINED_WITH)
    if isinstance(names, list | tuple):
        return tuple(map(str, names))
    match provenance.get("perceptual"):
        case {"lpips_vgg": _}:
            return (LPIPS,)
        case "none" | "multiscale":
            return ()
        case _:
            return None


def how_chosen(provenance: Mapping[str, Any]) -> str:
    """How the weights that are judged were chosen among all that their training went through: a
    sentence for the report, of a prior's, too.
    """
    parts = [_how("the weights", provenance.get(CHOSEN), provenance.get("measured_on"))]
    if any(name.startswith("prior_") for name in provenance):
        told, split = provenance.get(f"prior_{CHOSEN}"), provenance.get("prior_measured_on")
        parts.append(_how("the prior's weights", told, split))
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _how(what: str, told: object, measured: object) -> str:
    if told == "last":
        return f"{what} are the last of their training"
    figure, on, split = str(told or "").partition(" on ")
    if on:
        images = {"train": "training"}.get(split, split)
        flattered = ", so figures are better here than on new images" if split == "test" else ""
        return f"{what} were chosen by {figure} on {images} images{flattered}"
    doubt = (
        ", perhaps by test images, and figures would be better here than on new ones"
        if measured == "test"
        else ""
    )
    return f"how {what} were chosen is not known: the bundle does not say it{doubt}"


def _in_loss(title: str, provenance: Mapping[str, Any]) -> bool:
    """Whether a network, or a part or an extension of it, was trained with, by its name."""
    name = _letters(title)
    others = map(_letters, trained_with(provenance) or ())
    return any(name in other or other in name for other in others)


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())


def _reason(title: str, passed_over: list[str], provenance: Mapping[str, Any]) -> str:
    because = f": {', '.join(passed_over)}" if passed_over else ""
    unknown = (
        "" if trained_with(provenance) is not None else "; what it was trained with is not known"
    )
    return f"led by {title}{because}{unknown}"
