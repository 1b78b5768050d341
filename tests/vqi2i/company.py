"""What tests of both priors ask for: rows that do not disturb each other."""

import torch

from tests.vqi2i.priors.test_causal import generators
from vqi2i.priors.infill import complete, infill
from vqi2i.priors.prior import Prior
from vqi2i.priors.sampling import Sampling


def check_rows_are_the_same_in_any_company(model: Prior, sampling: Sampling) -> None:
    """Eight canvases larger than a window, of both domains, each alone and all together."""
    known = torch.zeros(4, 10, dtype=torch.bool)
    empty, seeds = torch.zeros(8, 4, 10, dtype=torch.long), range(4, 12)
    domains = torch.tensor([0, 1] * 4)
    together = complete(infill(model, empty, known, domains, sampling, generators(*seeds)))
    for row, seed in enumerate(seeds):
        alone = complete(
            infill(model, empty[:1], known, domains[row : row + 1], sampling, generators(seed))
        )
        assert torch.equal(together[row : row + 1], alone)
