"""Styles are sampled where training images have theirs."""

import math

import pytest
import torch

from vqi2i.errors import UserError
from vqi2i.priors.style_prior import StylePrior


def test_sampled_styles_stay_with_the_modes_they_were_fitted_on() -> None:
    modes = torch.tensor([[-5.0, 0.0], [5.0, 0.0]]).repeat_interleave(100, 0) + 0.1 * torch.randn(
        200, 2
    )
    prior = StylePrior({"summer": modes})
    drawn = prior.sample("summer", [torch.Generator().manual_seed(seed) for seed in range(300)])
    distance = torch.cdist(drawn, torch.tensor([[-5.0, 0.0], [5.0, 0.0]])).min(1).values
    assert (distance < 3).double().mean() > 0.95
    assert 0.3 < (drawn[:, 0] > 0).double().mean() < 0.7


def test_styles_are_drawn_around_fitted_ones_as_wide_as_half_of_scotts_rule() -> None:
    rows = torch.tensor([[0.0, 0.0], [100.0, 0.0]])
    prior = StylePrior({"summer": rows})
    drawn = prior.sample("summer", [torch.Generator().manual_seed(seed) for seed in range(600)])
    width = 0.5 * 2 ** (-1 / 6) * 50
    spread = drawn - rows[(drawn[:, 0] > 50).long()]
    assert float((drawn[:, 0] < 0).float().mean()) == pytest.approx(0.25, abs=0.06)
    mean = math.sqrt(2 / math.pi) * width  # of how far a Gaussian lies from its middle
    assert float(spread[:, 0].abs().mean()) == pytest.approx(mean, rel=0.1)
    assert not spread[:, 1].any()
    assert torch.equal(drawn[:1], prior.sample("summer", [torch.Generator().manual_seed(0)]))


def test_without_style_there_is_one_look_for_everybody() -> None:
    prior = StylePrior({"summer": torch.zeros(4, 0)})
    assert prior.sample("summer", [torch.Generator() for _ in range(3)]).shape == (3, 0)


def test_a_style_prior_is_read_back_and_knows_its_domains() -> None:
    prior = StylePrior({"summer": torch.rand(3, 2), "winter": torch.rand(4, 2)})
    again = StylePrior.from_tensors(prior.state_dict())
    assert again.domains == prior.domains == ("summer", "winter")
    assert torch.equal(again.styles("winter"), prior.styles("winter"))
    with pytest.raises(UserError, match="no style prior for night: give an example"):
        prior.styles("night")


@pytest.mark.parametrize("rows", [torch.zeros(0, 8), torch.zeros(8)], ids=["none", "flat"])
def test_a_style_prior_needs_styles(rows: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"the style prior of summer needs .*, got \(.*8,?\)"):
        StylePrior({"summer": rows})
