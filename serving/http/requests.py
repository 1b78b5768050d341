"""From the fields of a form to a chain, and how much work that is, within limits."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from errors import UserError
from serving.http.problems import Problem
from serving.http.schema import Limits, ModelInfo
from serving.http.uploads import Size
from vqi2i.config import assignment
from vqi2i.editing.chain import Chain, finishing, keep_mask, read_chain
from vqi2i.editing.steps import Complete, Extend, Generate

_TOKEN = 16  # pixels that cost the autoencoder as much time as one to be imagined costs the prior


@dataclass(frozen=True)
class Work:
    """How much a request asks for, in pixels."""

    largest: int  # of the pictures sent and made, and of the canvases between
    passed: int  # through the networks, about

    def is_large(self, limits: Limits) -> bool:
        """Whether others should not wait for it."""
        return self.largest > limits.large_pixels or self.passed > 4 * limits.large_pixels


def chain_of(domain: str | None, steps: list[Any]) -> Chain:
    """The chain of plain steps on images of a domain.

    Raises:
        Problem: 422 if they are none.
    """
    try:
        return read_chain({"from": domain, "steps": steps})
    except UserError as error:
        raise Problem(422, str(error)) from error


def read_steps(text: str, limits: Limits) -> list[Any]:
    """Steps from JSON.

    Raises:
        Problem: 422 if it is no list in JSON, or a longer one than `limits` allow.
    """
    try:
        steps = json.loads(text)
    except ValueError as error:
        raise Problem(422, f"field 'steps' is not JSON: {error}") from error
    except RecursionError as error:
        raise Problem(
            422, "field 'steps' is nested too deeply: it is a list of steps with their settings"
        ) from error
    if not isinstance(steps, list):
        raise Problem(
            422, 'field \'steps\' must be a list, for example [{"extend": {"right": 64}}]'
        )
    if len(steps) > limits.max_steps:
        raise Problem(
            422,
            f"field 'steps' has {len(steps)} steps: at most {limits.max_steps} can be in one "
            "request",
        )
    return steps


def settings(text: str | None) -> dict[str, Any]:
    """Settings of sampling from `name=value,name=value`; the step that takes them knows which there
    are.

    Raises:
        Problem: 422 if it has another form.
    """
    pairs = [pair.strip() for pair in (text or "").split(",") if pair.strip()]
    try:
        return dict(assignment(pair, "field 'draw':") for pair in pairs)
    except UserError as error:
        raise Problem(422, str(error)) from error


def shown_and_pasted(domain: str, target: str, paste: int | None) -> list[dict[str, Any]]:
    """The steps that show a canvas in another domain, and put the given pixels back."""
    if target != domain and paste is not None:
        raise Problem(
            422,
            "pixels of one domain do not fit a picture of another: leave out either 'to' or "
            "'paste'",
        )
    return finishing(domain, target, paste=paste)


def one_or_the_other(keep: object, mask: object) -> None:
    """Raise a Problem (422) unless exactly one of both is given."""
    if (keep is None) == (mask is None):
        raise Problem(422, "say what stays: either 'keep' or 'mask'")


def needs_prior(chain: Chain) -> bool:
    """Whether a chain imagines anything."""
    return any(isinstance(step, Extend | Complete | Generate) for step in chain.steps)


def check_names(chain: Chain, sent: Collection[str]) -> None:
    """Raise a Problem (422) if a chain asks for pictures that were not sent."""
    if missing := [name for name in chain.pictures if name not in sent]:
        raise Problem(422, f"the steps name pictures that were not sent: {', '.join(missing)}")


def work_of_translation(sent: Sequence[Size], samples: int, limits: Limits) -> Work:
    """What it takes to translate the first of the images sent.

    Raises:
        Problem: 422 if the pictures are too many for their size.
    """
    areas = [_area(size) for size in sent]
    _check_made(samples, areas[0], limits)
    return Work(largest=max(areas), passed=sum(areas) + samples * areas[0])


def work_of_chain(
    chain: Chain,
    image: Size | None,
    pictures: Collection[Size],
    count: int,
    model: ModelInfo,
    limits: Limits,
) -> Work:
    """What it takes to follow a chain, by the size of the canvas at each of its steps.

    Args:
        chain: what to do.
        image: size of the image that it begins with; None if it begins by generating.
        pictures: sizes of examples and masks.
        count: how often it is followed.
        model: which generates pictures of its own size if no other is asked for.
        limits: on the canvas, the part to imagine and the pictures made.

    Raises:
        Problem: 422 if one of these becomes too large.
    """
    height, width = image or (0, 0)
    new, added = 0, 0
    largest = max([height * width, *map(_area, pictures)])
    passed = height * width + sum(map(_area, pictures))
    for step in chain.steps:
        before = height * width
        if isinstance(step, Generate):
            height, width = step.height or model.resolution, step.width or model.resolution
            new += height * width * count
        elif isinstance(step, Extend):
            more = step.top + step.bottom, step.left + step.right
            height, width, added = height + more[0], width + more[1], max(added, *more)
            new += height * width - before
        elif isinstance(step, Complete):
            new += (
                before - int(keep_mask(step.keep, (height, width)).sum())
                if step.keep is not None
                else before
            )
        if max(height, width) > limits.max_side or height * width > limits.max_pixels:
            raise Problem(
                422,
                f"the canvas would become {width}x{height}: at most {limits.max_side} pixels a "
                f"side and {limits.max_pixels / 1e6:g} megapixels",
            )
        if isinstance(step, Extend | Complete):
            # read, and for a prior in raster order mirrored, painted and read again
            passed += 4 * height * width
        largest = max(largest, height * width)
    _check_new(new, added, limits)
    _check_made(count, height * width, limits)
    return Work(largest=largest, passed=passed + count * height * width + _TOKEN * new)


def _check_new(new: int, added: int, limits: Limits) -> None:
    if added > limits.max_extension:
        raise Problem(
            422,
            f"{added} pixels are to be added along one side: ask for at most "
            f"{limits.max_extension}",
        )
    if new > limits.max_new_pixels:
        raise Problem(
            422,
            f"{new:,} pixels are to be imagined and at most {limits.max_new_pixels:,} can be: ask "
            "for fewer, or scale the image down",
        )


def _check_made(count: int, pixels: int, limits: Limits) -> None:
    if count * pixels > limits.max_made_pixels:
        raise Problem(
            422,
            f"{count} pictures of {pixels / 1e6:.1f} megapixels are asked for and at most "
            f"{limits.max_made_pixels / 1e6:g} megapixels can be made in one request: ask for "
            "fewer",
        )


def _area(size: Size) -> int:
    return size[0] * size[1]
