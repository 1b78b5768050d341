"""How well a prior predicts grids of tokens: figures of both kinds that can be compared."""

import math

import torch
from torch import Tensor

from vqi2i.priors.causal import CausalPrior
from vqi2i.priors.masks import scattered
from vqi2i.priors.prior import Prior


@torch.no_grad()
def nats_per_token(prior: Prior, tokens: Tensor, domains: Tensor, *, rows: int = 32) -> Tensor:
    """Negative log-likelihood (b,) of grids (b, h, w) by the chain rule, divided by their cells.

    A causal prior's is exact. A masked prior predicts a grid one token at a time in any order; the
    mean over all orders is an upper bound of its code length (Hoogeboom et al., Autoregressive
    Diffusion Models, 2022). It equals the mean loss of the hidden tokens when their number is
    uniform in 1..h*w and their places are random: one draw per grid, the numbers spread evenly over
    the grids, the same at every call. The mean over some hundred grids is good to a few hundredths
    of a bit.

    Args:
        prior: in evaluation mode.
        tokens: int64 (b, h, w), the size of the prior's window.
        domains: int64 (b,).
        rows: grids per pass.
    """
    if isinstance(prior, CausalPrior):
        return torch.cat(
            [prior.nll(*part) for part in zip(tokens.split(rows), domains.split(rows), strict=True)]
        )
    hidden = _one_draw_each(len(tokens), prior.config.window).to(tokens.device)
    parts = zip(tokens.split(rows), hidden.split(rows), domains.split(rows), strict=True)
    return torch.cat([prior.nll(*part) for part in parts])


def _one_draw_each(count: int, window: tuple[int, int]) -> Tensor:
    """Hidden cells (count, h, w); their numbers run evenly through 1..h*w in a shuffled order."""
    generator = torch.Generator().manual_seed(0)
    cells = math.prod(window)
    # Stratified: one share in each of `count` equal parts of [0, 1).
    shares = (
        torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)
    ) / count
    return torch.stack(
        [scattered(window, 1 + int(share * cells), generator) for share in shares.tolist()]
    )
