"""From the fields of a form to a chain, within limits."""

import json
from typing import Any

from errors import UserError
from serving.engine import ComposeJob
from serving.problems import Problem
from serving.schema import Limits, ModelInfo
from vqi2i.chain import Chain, finishing, keep_mask, read_chain
from vqi2i.config import assignment
from vqi2i.steps import Complete, Extend, Generate


def chain_of(domain: str | None, steps: list[Any]) -> Chain:
    """The chain of plain steps on images of a domain.

    Raises:
        Problem: 422 if they are none.
    """
    try:
        return read_chain({"from": domain, "steps": steps})
    except UserError as error:
        raise Problem(422, str(error)) from error


def read_steps(text: str) -> list[Any]:
    """Steps from JSON.

    Raises:
        Problem: 422 if it is no list in JSON.
    """
    try:
        steps = json.loads(text)
    except ValueError as error:
        raise Problem(422, f"field 'steps' is not JSON: {error}") from error
    if not isinstance(steps, list):
        raise Problem(422, 'field \'steps\' must be a list, for example [{"extend": {"right": 64}}]')
    return steps


def settings(text: str | None) -> dict[str, Any]:
    """Settings of sampling from `name=value,name=value`; the step that takes them knows which there are.

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
        raise Problem(422, "pixels of one domain do not fit a picture of another: leave out either 'to' or 'paste'")
    return finishing(domain, target, paste=paste)


def one_or_the_other(keep: object, mask: object) -> None:
    """Raise a Problem (422) unless exactly one of both is given."""
    if (keep is None) == (mask is None):
        raise Problem(422, "say what stays: either 'keep' or 'mask'")


def needs_prior(chain: Chain) -> bool:
    """Whether a chain imagines anything."""
    return any(isinstance(step, Extend | Complete | Generate) for step in chain.steps)


def check_work(job: ComposeJob, model: ModelInfo, limits: Limits) -> None:
    """Follow the size of the canvas through a chain.

    Raises:
        Problem: 422 if it or the part to imagine becomes too large, or the chain asks for files that are missing.
    """
    if missing := [name for name in job.chain.pictures if name not in job.pictures]:
        raise Problem(422, f"the steps name pictures that were not sent: {', '.join(missing)}")
    height, width = job.image.shape[:2] if job.image is not None else (0, 0)
    new, added = 0, 0
    for step in job.chain.steps:
        before = height * width
        if isinstance(step, Generate):
            height, width = step.height or model.resolution, step.width or model.resolution
            new += height * width * job.count
        elif isinstance(step, Extend):
            more = step.top + step.bottom, step.left + step.right
            height, width, added = height + more[0], width + more[1], max(added, *more)
            new += height * width - before
        elif isinstance(step, Complete):
            new += before - int(keep_mask(step.keep, (height, width)).sum()) if step.keep is not None else before
        if max(height, width) > limits.max_side or height * width > limits.max_pixels:
            raise Problem(
                422, f"the canvas would become {width}x{height}: at most {limits.max_side} pixels a side and "
                f"{limits.max_pixels / 1e6:g} megapixels",
            )  # fmt: skip
    if added > limits.max_extension:
        raise Problem(422, f"{added} pixels are to be added along one side: ask for at most {limits.max_extension}")
    if new > limits.max_new_pixels:
        raise Problem(
            422, f"{new:,} pixels are to be imagined and at most {limits.max_new_pixels:,} can be: ask for fewer, or "
            "scale the image down",
        )  # fmt: skip
