"""Chains of applications: checked as a whole, performed on a canvas, decoded once.

As YAML, with names of files for examples and masks:

    from: summer
    steps:
      - extend: {left: 32, right: 64, draw: {temperature: 0.9}}
      - translate: {to: winter, style: snow.jpg}
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from vqi2i.checking.typed import meant
from vqi2i.editing.canvas import Canvas
from vqi2i.editing.editor import Editor
from vqi2i.editing.steps import (
    STEPS,
    Complete,
    Extend,
    Generate,
    Keep,
    Paste,
    Step,
    Transition,
    Translate,
)
from vqi2i.errors import UserError
from vqi2i.model import Model
from vqi2i.networks.stopping import may_stop
from vqi2i.seeds import Seeds, generators

# rows and columns that stay, in quarters of the sides
_KEPT = {
    "left": (slice(None), slice(None, 2)),
    "right": (slice(None), slice(2, None)),
    "top": (slice(None, 2), slice(None)),
    "bottom": (slice(2, None), slice(None)),
    "top-left": (slice(None, 2), slice(None, 2)),
    "top-right": (slice(None, 2), slice(2, None)),
    "bottom-left": (slice(2, None), slice(None, 2)),
    "bottom-right": (slice(2, None), slice(2, None)),
    "center": (slice(1, 3), slice(1, 3)),
}


@dataclass(frozen=True)
class Chain:
    """Steps to be taken one after the other."""

    steps: tuple[Step, ...]
    source: str | None = None  # the images' domain; None if the first step generates

    def __post_init__(self) -> None:
        if not self.steps:
            raise UserError(f"a chain needs at least one step: {', '.join(STEPS)}")
        for number, step in enumerate(self.steps, 1):
            if isinstance(step, Generate) != (self.source is None and number == 1):
                raise UserError(
                    f"step {number} ({name_of(step)}): a chain begins either with the domain of "
                    "its images (from) or with generate, and goes on with other steps"
                )
            if isinstance(step, Complete) and (step.keep is None) == (step.mask is None):
                raise UserError(f"step {number} (complete): say what stays, by either keep or mask")

    @property
    def pictures(self) -> list[str]:
        """Names of all examples and masks that the steps ask for."""
        return list(dict.fromkeys(name for step in self.steps for name in step.pictures()))


def read_chain(data: Any) -> Chain:
    """The chain of parsed YAML or JSON.

    Raises:
        UserError: it is no chain; the message names the step and what is wrong with it.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("steps"), list):
        raise UserError(
            "a chain is a mapping with `steps`, a list, and `from`, the domain of the image"
        )
    if unknown := sorted(set(data) - {"from", "steps"}):
        raise UserError(f"a chain has `from` and `steps` and no {', '.join(map(str, unknown))}")
    return Chain(
        tuple(_step(number, item) for number, item in enumerate(data["steps"], 1)), data.get("from")
    )


def finishing(
    domain: str, target: str, *, style: str | None = None, paste: int | None = None
) -> list[dict[str, Any]]:
    """The last steps of a chain, as written down: show elsewhere, put the given pixels back.

    Args:
        domain: of the images.
        target: the domain to show the result in.
        style: name of an example of it; the images' own if None and `target` is `domain`, else
            sampled.
        paste: put the given pixels back, with a border so many pixels wide.
    """
    steps: list[dict[str, Any]] = []
    if target != domain or style is not None:
        steps.append({"translate": {"to": target, "style": style}})
    if paste is not None:
        steps.append({"paste": {"feather": paste}})
    return steps


def name_of(step: Step) -> str:
    """What a step is called in a chain."""
    return next(name for name, kind in STEPS.items() if isinstance(step, kind))


def perform(
    model: Model, chain: Chain, images: Tensor | None, pictures: Mapping[str, Tensor], seed: Seeds
) -> Iterator[Canvas]:
    """Canvases on the way to a chain's result, which is the last one; see `Translator.compose`."""
    scene = _Scene(model, pictures, seed)
    if (images is None) != (chain.source is None):
        raise UserError(
            "a chain that begins with generate takes no image, and every other one needs an image"
        )
    if missing := [name for name in chain.pictures if name not in pictures]:
        raise UserError(f"the chain asks for pictures that were not given: {', '.join(missing)}")
    canvas = None
    if images is not None and chain.source is not None:
        yield (canvas := scene.editor.from_images(images, chain.source))
    # From 0 here, as seeds count steps; people are told from 1 on.
    for number, step in enumerate(chain.steps):
        may_stop()
        try:
            for state in scene.perform(step, number, canvas):
                yield (canvas := state)
        except UserError as error:
            raise UserError(f"step {number + 1} ({name_of(step)}): {error}") from error


def keep_mask(keep: Keep, size: tuple[int, int]) -> Tensor:
    """The mask (h, w) that keeps a half or a quarter of a picture."""
    mask = torch.zeros(size, dtype=torch.bool)
    # Quarters to pixels; None, an open end, stays None.
    rows, columns = (
        slice(*(mark and mark * side // 4 for mark in (part.start, part.stop)))
        for part, side in zip(_KEPT[keep], size, strict=True)
    )
    mask[rows, columns] = True
    return mask


def as_mask(picture: Tensor) -> Tensor:
    """The mask (h, w) that an image (1, 3, h, w) in [-1, 1] paints: what is bright stays."""
    return picture[0].mean(dim=0) > 0


@dataclass(frozen=True)
class _Scene:
    """All that steps work with."""

    model: Model
    pictures: Mapping[str, Tensor]
    seed: Seeds

    @property
    def editor(self) -> Editor:
        return Editor(self.model)

    def perform(self, step: Step, number: int, canvas: Canvas | None) -> Iterator[Canvas]:
        """Canvases on the way to what a step makes of one."""
        if isinstance(step, Generate):
            yield from self._generated(step, number)
            return
        assert canvas is not None  # a chain begins with an image or with generate
        match step:
            case Translate():
                yield self.editor.translated(
                    canvas, step.to, self._style(step, number, len(canvas.tokens))
                )
            case Extend():
                sides = {side: getattr(step, side) for side in ("left", "right", "top", "bottom")}
                yield from self.editor.extended(
                    canvas, step.draw, self._draws(number, canvas), **sides
                )
            case Complete():
                named = step.mask is not None
                mask = (
                    as_mask(self.pictures[step.mask or ""])
                    if named
                    else keep_mask(step.keep or "left", canvas.size)
                )
                yield from self.editor.completed(
                    canvas, mask, step.draw, self._draws(number, canvas)
                )
            case Transition():
                # An example that is named twice is encoded once.
                examples = {
                    name: self._example(name, step.to) for name in dict.fromkeys(step.styles)
                }
                styles = torch.cat([examples[name] for name in step.styles])
                yield self.editor.blended(canvas, step.to, styles, step.direction)
            case Paste():
                yield self.editor.pasted(canvas, step.feather)

    def _generated(self, step: Generate, number: int) -> Iterator[Canvas]:
        count = 1 if isinstance(self.seed, int) else len(self.seed)
        side = self.model.network.resolution
        styles = self.model.sample_styles(step.domain, count, self.seed, step=number)
        blank = self.editor.blank(
            styles, step.domain, height=step.height or side, width=step.width or side
        )
        yield from self.editor.infilled(
            blank, step.draw, generators(self.seed, count, "tokens", step=number)
        )

    def _draws(self, number: int, canvas: Canvas) -> list[torch.Generator]:
        return generators(self.seed, len(canvas.tokens), "tokens", step=number)

    def _style(self, step: Translate, number: int, count: int) -> Tensor:
        if step.style is not None:
            return self._example(step.style, step.to)
        return self.model.sample_styles(step.to, count, self.seed, step=number)

    def _example(self, name: str, domain: str) -> Tensor:
        return self.model.encode(self.pictures[name], domain).style


def _step(number: int, item: Any) -> Step:
    if not isinstance(item, Mapping) or len(item) != 1:
        raise UserError(
            f"step {number} must be one name with its settings, such as `extend: {{right: 64}}`"
        )
    ((name, settings),) = item.items()
    if name not in STEPS:
        near = meant(name, STEPS)
        raise UserError(
            f"step {number}: there is no step {name!r}{near}, choose one of {', '.join(STEPS)}"
        )
    try:
        return STEPS[name].model_validate(settings or {})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if not isinstance(part, int))
        if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
            known = STEPS[name].model_fields
            listed = ", ".join(known)
            raise UserError(
                f"step {number} ({name}): {where} is no setting of it{meant(where, known)}, "
                f"choose among {listed}"
            ) from error
        what = first["msg"].removeprefix("Value error, ")
        raise UserError(f"step {number} ({name}): {where + ': ' if where else ''}{what}") from error
