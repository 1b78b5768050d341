"""Bits per token: exact where they can be, a bound that is the truth for a prior whose answers
depend on nothing.
"""

import math

import pytest
import torch

from tests.vqi2i.priors import test_causal, test_masked
from vqi2i.priors.likelihood import _one_draw_each, nats_per_token


def test_the_causal_priors_figure_is_the_chain_rule() -> None:
    model, tokens, domains = (
        test_causal.prior(),
        torch.randint(11, (3, 4, 6)),
        torch.tensor([0, 1, 1]),
    )
    found = nats_per_token(model, tokens, domains, rows=2)
    likely = model(model.inputs(tokens.flatten(1), domains)).log_softmax(-1).detach()
    wanted = -likely.gather(2, tokens.flatten(1)[..., None]).mean(dim=(1, 2))
    torch.testing.assert_close(found, wanted)


def test_the_masked_priors_figure_is_a_mean_over_orders() -> None:
    model = test_masked.prior()
    grid, domains = torch.randint(11, (1, 4, 6)), torch.tensor([1])
    found = float(nats_per_token(model, grid.expand(3000, -1, -1), domains.expand(3000)).mean())
    orders = [torch.randperm(24) for _ in range(60)]
    known = torch.stack(
        [torch.stack([order.argsort() >= done for done in range(24)]) for order in orders]
    )
    now = torch.stack(
        [torch.stack([order.argsort() == done for done in range(24)]) for order in orders]
    )
    hidden, asked = (part.flatten(0, 1).view(-1, 4, 6) for part in (known, now))
    with torch.no_grad():
        likely = model(
            grid.expand(len(hidden), -1, -1), hidden, domains.expand(len(hidden))
        ).log_softmax(-1)
    truth = -likely.gather(3, grid.expand(len(hidden), -1, -1)[..., None])[..., 0][asked].mean()
    assert found == pytest.approx(float(truth), rel=0.03)


def test_every_number_of_hidden_cells_comes_equally_often_and_always_the_same_way() -> None:
    for count, times in ((24, 1), (72, 3)):
        hidden = _one_draw_each(count, (4, 6)).sum(dim=(1, 2))
        assert torch.bincount(hidden).tolist() == [0, *[times] * 24]
        assert hidden.tolist() != sorted(hidden.tolist())
    assert torch.equal(_one_draw_each(9, (4, 6)), _one_draw_each(9, (4, 6)))


def test_a_prior_that_knows_nothing_needs_all_bits() -> None:
    model = test_masked.prior()
    torch.nn.init.zeros_(model.head.weight)
    found = nats_per_token(model, torch.randint(11, (5, 4, 6)), torch.zeros(5, dtype=torch.long))
    torch.testing.assert_close(found, torch.full((5,), math.log(11)))
