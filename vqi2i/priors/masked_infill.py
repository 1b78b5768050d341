"""The masked prior on canvases: many tokens at a time, with context on all sides."""

import math
from collections.abc import Iterator, Sequence
from functools import cache, partial

import torch
from torch import Tensor

from vqi2i.errors import UserError
from vqi2i.networks.batching import in_calls
from vqi2i.priors.masked import MaskedPrior
from vqi2i.priors.sampling import Sampling, draw, probabilities, uniforms
from vqi2i.priors.windows import Piece, Window, grown, lattice

_FEWEST = 2  # steps, however little is to be imagined


def fill(
    prior: MaskedPrior,
    tokens: Tensor,
    known: Tensor,
    domains: Tensor,
    sampling: Sampling,
    generators: Sequence[torch.Generator],
) -> Iterator[Piece]:
    """Sample the unknown cells of canvases (b, h, w); the canvas after every step.

    See `vqi2i.priors.infill`.
    """
    _check(sampling)
    canvas, filled = grown(tokens, known, prior.config.window)
    wanted = torch.zeros_like(filled)
    wanted[: known.shape[0], : known.shape[1]] = ~known  # the rest of a small canvas stays hidden
    while (
        window := best_window(filled, wanted, prior.config.window, sampling.context)
    ) is not None:
        part = (slice(None), *window)
        for state in _fill_window(
            prior, canvas[part], filled[window], wanted[window], domains, sampling, generators
        ):
            canvas[part], filled[window] = state
            wanted &= ~filled
            yield canvas, filled


def best_window(
    known: Tensor, wanted: Tensor, window: Sequence[int], context: float
) -> Window | None:
    """Of the windows that lack something wanted, the one that shows most; None if there is none."""
    candidates = [place for place in lattice(known.shape, window, context) if wanted[place].any()]
    return max(candidates, key=lambda place: int(known[place].sum()), default=None)


@cache
def halton(window: tuple[int, int]) -> Tensor:
    """Rank (h, w) of every cell in an order that spreads evenly at any time.

    The Halton sequence of bases 2 and 3.

    Besnier et al., Halton Scheduler For Masked Generative Image Transformer, 2025.
    """
    rows, columns = window
    ranks = torch.full((rows, columns), -1)
    number = found = 0
    while found < rows * columns:
        number += 1
        cell = int(_radical_inverse(number, 2) * rows), int(_radical_inverse(number, 3) * columns)
        if ranks[cell] < 0:
            ranks[cell], found = found, found + 1
    return ranks


def shares(steps: int) -> list[float]:
    """Share of the wanted cells that is known after every step: few at first (MaskGIT).

    That is when least is known to draw them from.
    """
    return [1 - math.cos(math.pi / 2 * (step + 1) / steps) for step in range(steps - 1)] + [1.0]


def _fill_window(
    prior: MaskedPrior,
    tokens: Tensor,
    known: Tensor,
    wanted: Tensor,
    domains: Tensor,
    sampling: Sampling,
    generators: Sequence[torch.Generator],
) -> Iterator[Piece]:
    """Sample wanted cells of windows (b, h, w) in steps; tokens and what all rows know by then."""
    count = int(wanted.sum())
    # As many steps as the part to imagine has of a window's, but no more than cells.
    steps = min(count, max(_FEWEST, math.ceil(sampling.steps * count / wanted.numel())))
    # The same shape whatever the company: see `vqi2i.networks.batching`.
    rows = 1 if tokens.device.type == "cpu" else 4
    tokens, hidden = tokens.clone(), (~known).expand_as(tokens).clone()
    # wanted and not yet imagined, as many in every row, though not the same cells
    open_ = wanted.expand_as(tokens).clone()
    ranks = halton(prior.config.window).to(tokens.device)
    for share in shares(steps):
        # cells left after this step: at least one fewer than before
        left = count - max(math.floor(share * count), count - int(open_[0].sum()) + 1)
        logits = in_calls(partial(_logits, prior, sampling), rows, tokens, hidden, domains)
        # (b * h * w, k); every cell is drawn, also those that are not taken
        probs = probabilities(logits.flatten(0, 2), sampling)
        # (b, 2, h * w): for the tokens, and for the order in which they are taken
        chance = uniforms(generators, 2 * wanted.numel()).to(tokens.device).unflatten(1, (2, -1))
        drawn = draw(probs, chance[:, 0].flatten()).view_as(tokens)
        if sampling.order == "halton":
            merit = -ranks.expand_as(tokens).float()
        else:
            # Gumbel noise that fades: first nearly any cell may come, at last the surest (MaskGIT).
            # (b, h, w)
            noise = -(-chance[:, 1].clamp(1e-9, 1 - 1e-7).log()).log().view_as(drawn)
            sure = probs.gather(1, drawn.flatten()[:, None]).log().view_as(noise)
            merit = sure + sampling.temperature * (1 - share) * noise
        taken = open_ & _best(merit.masked_fill(~open_, -torch.inf), int(open_[0].sum()) - left)
        tokens = torch.where(taken, drawn, tokens)
        open_, hidden = open_ & ~taken, hidden & ~taken
        # Rows may have taken different cells: known is what no row hides.
        yield tokens, ~hidden.any(dim=0)


def _logits(
    prior: MaskedPrior, sampling: Sampling, tokens: Tensor, hidden: Tensor, domains: Tensor
) -> Tensor:
    """Logits (b, h, w, k); with guidance, away from what the prior expects of any domain."""
    with torch.autocast(tokens.device.type, torch.bfloat16, enabled=sampling.precision == "bf16"):
        told = prior(tokens, hidden, domains).float()
        if not sampling.guidance:
            return told
        # Classifier-free guidance (Ho & Salimans, 2022), from training without domains.
        untold = prior(tokens, hidden, torch.full_like(domains, prior.no_domain)).float()
    return told + sampling.guidance * (told - untold)


def _best(merit: Tensor, count: int) -> Tensor:
    """The `count` cells of highest merit in each of (b, h, w)."""
    flat = merit.flatten(1)
    chosen = torch.zeros_like(flat, dtype=torch.bool).scatter(
        1, flat.topk(count, dim=1).indices, True
    )
    return chosen.view_as(merit)


def _radical_inverse(number: int, base: int) -> float:
    """Digits of a number mirrored at the point."""
    # Digits d0 d1 d2 ... from the lowest on become 0.d0d1d2...
    value, weight = 0.0, 1 / base
    while number:
        number, digit = divmod(number, base)
        value += digit * weight
        weight /= base
    return value


def _check(sampling: Sampling) -> None:
    if sampling.windows == "per_token":
        raise UserError(
            "windows=per_token is for causal priors: a masked prior sees both sides of a window"
        )
    if sampling.precision == "int8":
        raise UserError(
            "precision=int8 is for causal priors, which fetch all weights for every token: use bf16"
        )
