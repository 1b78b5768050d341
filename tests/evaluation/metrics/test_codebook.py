"""Use of a codebook: closed forms, and intervals that hold the truth."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from errors import UserError
from evaluation.metrics import codebook
from evaluation.metrics.codebook import codebook_use


def drawn(images: int, shares: list[float], seed: int) -> Tensor:
    """Images of 4 x 4 tokens with these shares of codes."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.choice(len(shares), (images, 4, 4), p=shares))


def test_codes_that_are_used_alike_have_the_perplexity_of_their_number():
    tokens = torch.arange(8).view(2, 2, 2).repeat(3, 1, 1)
    found = codebook_use(tokens, 32)
    assert found.used.value == 8 / 32
    assert found.perplexity.value == pytest.approx(8)
    assert found.dead == 24
    assert found.entropy == pytest.approx(3)


def test_shares_of_codes_give_the_entropy_in_bits():
    tokens = torch.tensor([0, 0, 1, 2]).view(1, 2, 2).repeat(5, 1, 1)
    found = codebook_use(tokens, 3)
    assert found.entropy == pytest.approx(1.5)
    assert found.perplexity.value == pytest.approx(2**1.5)
    assert (found.used.value, found.dead) == (1, 0)


def test_images_that_are_all_alike_leave_no_doubt():
    found = codebook_use(torch.full((6, 2, 2), 3), 8)
    assert found.used == pytest.approx((1 / 8,) * 3)
    assert found.perplexity == pytest.approx((1, 1, 1))
    assert found.entropy == 0


def test_intervals_hold_the_truth_as_often_as_they_say():
    shares = [0.5, 0.25, 0.125, 0.125]
    truth = math.exp(-sum(share * math.log(share) for share in shares))
    held = []
    for seed in range(120):
        found = codebook_use(drawn(40, shares, seed), 4, draws=150).perplexity
        held.append(found.low <= truth <= found.high)
    assert 0.88 < np.mean(held) <= 0.99


def test_intervals_are_over_images_not_over_tokens():
    """Images of one code each are as many draws as there are images."""
    one_each = drawn(30, [0.5, 0.5], 0)[:, :1, :1].repeat(1, 4, 4)
    many = drawn(30, [0.5, 0.5], 0)
    narrow, wide = (codebook_use(tokens, 2, draws=300).perplexity for tokens in (many, one_each))
    assert wide.high - wide.low > 5 * (narrow.high - narrow.low)


def test_intervals_lie_around_the_figure_where_every_image_has_codes_of_its_own():
    tokens = torch.arange(20 * 4).view(20, 2, 2)
    found = codebook_use(tokens, 1000)
    assert found.used.low < found.used.value == 0.08 < found.used.high
    assert found.perplexity.low < found.perplexity.value < found.perplexity.high
    assert found == codebook_use(tokens, 1000)


def test_intervals_stay_where_the_figures_can_be():
    tokens = drawn(9, [0.25] * 4, 1)
    tokens[0] = 0
    found = codebook_use(tokens, 4)
    assert found.perplexity.high <= 4
    assert found.used == (1, 1, 1)


def test_resamples_are_counted_in_parts_of_bounded_memory(monkeypatch: pytest.MonkeyPatch):
    tokens = drawn(12, [0.25] * 4, 2)
    whole = codebook_use(tokens, 16, draws=50)
    monkeypatch.setattr(codebook, "AT_ONCE", 100)
    assert codebook_use(tokens, 16, draws=50) == whole


def test_what_is_no_grid_of_tokens_is_refused():
    with pytest.raises(UserError, match="at least one image, got none"):
        codebook_use(torch.zeros(0, 4, 4, dtype=torch.int64), 8)
    with pytest.raises(ValueError, match=r"they are \(n, h, w\)"):
        codebook_use(torch.zeros(4, 4, dtype=torch.int64), 8)
    with pytest.raises(ValueError, match="tokens 8 to 8 of a codebook of 8 codes"):
        codebook_use(torch.full((1, 4, 4), 8), 8)
