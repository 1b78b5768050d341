"""The causal prior on canvases: token after token in windows that move over what is there."""

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from vqi2i.errors import UserError
from vqi2i.networks.batching import in_calls
from vqi2i.priors.causal import CausalPrior
from vqi2i.priors.kv_cache import Stepper
from vqi2i.priors.sampling import Precision, Sampling, draw, probabilities, uniforms
from vqi2i.priors.windows import Piece, Window, around, cells, grown, lattice

_MOST_ROWS = 8  # each keeps keys and values of its own


def rows_per_call(precision: Precision, device: torch.device, count: int) -> int:
    """Rows of every call, so that a row's tokens do not depend on its company.

    See `vqi2i.networks.batching`.

    CPUs fetch bfloat16 weights well for one row only. Their kernel for 8 bits treats every row
    alike, whatever their number, so that a call need hold no more than the `count` there are.
    """
    if device.type == "cpu" and precision != "float32":
        return 1 if precision == "bf16" else min(count, _MOST_ROWS)
    return 4


def fill(
    prior: CausalPrior,
    tokens: Tensor,
    known: Tensor,
    domains: Tensor,
    sampling: Sampling,
    generators: Sequence[torch.Generator],
) -> Iterator[Piece]:
    """Sample the unknown cells of canvases (b, h, w); the canvas after every window.

    See `vqi2i.priors.infill`.
    """
    canvas, filled = grown(tokens, known, prior.config.window)
    rows = rows_per_call(sampling.precision, tokens.device, len(tokens))
    if sampling.windows == "per_token":
        yield from _per_token(prior, canvas, filled, domains, sampling, generators, rows)
        return
    stepper = Stepper(prior, rows, sampling.precision)
    for window in lattice(filled.shape, prior.config.window, sampling.context):
        if filled[window].all():
            continue
        known = filled[window]
        # One number per unknown cell, drawn before the call: rows that only fill it up draw none.
        chance = uniforms(generators, int((~known).sum())).to(tokens.device)
        part = (slice(None), *window)
        canvas[part] = in_calls(
            partial(fill_window, stepper, known, sampling), rows, canvas[part], domains, chance
        )
        filled[window] = True
        yield canvas, filled


def fill_window(
    stepper: Stepper,
    known: Tensor,
    sampling: Sampling,
    tokens: Tensor,
    domains: Tensor,
    chance: Tensor,
) -> Tensor:
    """Sample unknown cells of windows (b, h, w) in raster order; known runs are fed at once.

    Args:
        stepper: a prior whose window has the size (h, w).
        known: bool (h, w).
        sampling: how boldly.
        tokens: int64 (b, h, w); values where not `known` are ignored.
        domains: int64 (b,), index of each row's domain.
        chance: uniform numbers (b, number of unknown cells).
    """
    unknown = (~known.flatten()).nonzero().flatten().tolist()
    sequence = stepper.prior.sequence(tokens.flatten(1), domains)
    prefix = stepper.prior.config.prefix_length
    stepper.restart()
    for number, cell in enumerate(unknown):
        # All known tokens since the last one that was drawn; `cell` itself is not fed.
        logits = stepper.feed(sequence[:, stepper.fed : prefix + cell])
        sequence[:, prefix + cell] = draw(probabilities(logits, sampling), chance[:, number])
    return sequence[:, prefix:].view_as(tokens)


def _per_token(
    prior: CausalPrior,
    canvas: Tensor,
    filled: Tensor,
    domains: Tensor,
    sampling: Sampling,
    generators: Sequence[torch.Generator],
    rows: int,
) -> Iterator[Piece]:
    """As the release does it: every token has a window of its own; nothing is kept for the next."""
    unknown = cells(~filled)
    chance = uniforms(generators, len(unknown)).to(canvas.device)
    for number, cell in enumerate(unknown):
        window = around(cell, filled.shape, prior.config.window)
        # the cell's row and column in the window
        place = (cell[0] - window[0].start, cell[1] - window[1].start)
        patch = canvas[:, window[0], window[1]]

        logits = in_calls(partial(_release_logits, prior, window, place), rows, patch, domains)
        canvas[:, cell[0], cell[1]] = draw(probabilities(logits, sampling), chance[:, number])
        filled[cell] = True
        # At the end of every row of the canvas.
        if number + 1 == len(unknown) or unknown[number + 1][0] != cell[0]:
            yield canvas, filled


def _release_logits(
    prior: CausalPrior, window: Window, place: tuple[int, int], patch: Tensor, domains: Tensor
) -> Tensor:
    """Logits (b, k) of the cell at `place` of windows (b, h, w) that lie at `window` of a canvas.

    Coordinates are cut out of the training grid at the window's place on the canvas, so that they
    become fewer the further it has moved, and all positions with them: off what the prior was
    trained on, and reproduced as it is.

    Raises:
        UserError: no coordinates are left, where the release's output means nothing.
    """
    columns = patch.shape[2]
    sequence = prior.sequence(patch.flatten(1), domains)
    # what lies before the cell in the window; behind it nothing may be seen
    end = prior.config.prefix_length + place[0] * columns + place[1]
    if prior.config.condition == "domain":
        return prior(sequence[:, :end])[:, -1]
    grid = prior.coordinates.view(prior.config.window)[window[0].start :, window[1].start :]
    if not grid.numel():
        raise UserError(
            "windows=per_token, as in the release, cannot go a whole window past where the canvas "
            "begins: use block"
        )
    coordinates = grid.flatten().expand(len(patch), -1)
    return prior(torch.cat([coordinates, sequence[:, prior.config.prefix_length : end]], dim=1))[
        :, -1
    ]
