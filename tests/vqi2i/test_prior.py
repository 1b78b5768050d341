"""The causal prior and what is sampled from it."""

from typing import Literal

import pytest
import torch

from vqi2i.causal import CausalPrior, KeyValueCache
from vqi2i.config import PriorConfig
from vqi2i.sampling import Sampling, draw, fill_window, probabilities

Condition = Literal["domain", "coordinates"]
CONDITIONS: list[Condition] = ["domain", "coordinates"]


def prior(condition: Condition = "domain") -> CausalPrior:
    torch.manual_seed(0)
    config = PriorConfig(num_layers=2, num_heads=2, width=16, window=(4, 6), dropout=0.1, condition=condition)
    model = CausalPrior(config, codebook_size=11, num_domains=2, stride=4).eval()
    for parameter in model.parameters():  # away from the small initialisation, so that context matters
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_cached_logits_are_the_uncached_ones(condition: Condition) -> None:
    model, tokens = prior(condition), torch.randint(11, (3, 24))
    inputs = model.inputs(tokens, torch.tensor([0, 1, 1]))
    whole = model(inputs)
    cache, pieces, start = KeyValueCache(2), [], 0
    for length in (1, 7, 1, inputs.shape[1] - 9):
        pieces.append(model(inputs[:, start : start + length], start, cache))
        start += length
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, atol=1e-4, rtol=1e-4)


def test_no_token_sees_itself_or_what_follows() -> None:
    model, tokens = prior(), torch.randint(11, (1, 24))
    domains = torch.tensor([0])
    changed = tokens.clone()
    changed[:, 10:] = (changed[:, 10:] + 1) % 11
    before, after = model(model.inputs(tokens, domains)), model(model.inputs(changed, domains))
    torch.testing.assert_close(before[:, :11], after[:, :11])
    assert not torch.allclose(before[:, 11:], after[:, 11:])


def test_the_domain_matters() -> None:
    model, tokens = prior(), torch.randint(11, (1, 24))
    assert not torch.allclose(
        model(model.inputs(tokens, torch.tensor([0]))), model(model.inputs(tokens, torch.tensor([1])))
    )


def test_top_k_and_top_p_keep_the_likely_tokens() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    assert probabilities(logits, Sampling(top_p=1.0)).allclose(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))
    assert probabilities(logits, Sampling(top_k=2, top_p=1.0)).allclose(torch.tensor([[0.625, 0.375, 0, 0]]))
    assert probabilities(logits, Sampling(top_p=0.7)).allclose(torch.tensor([[0.625, 0.375, 0, 0]]))
    assert probabilities(logits, Sampling(top_p=0.01)).allclose(torch.tensor([[1.0, 0, 0, 0]]))


def test_tokens_are_drawn_with_their_probabilities() -> None:
    probs = torch.tensor([[0.7, 0.0, 0.3]]).expand(4000, -1)
    drawn = draw(probs, generators(*range(4000)))
    shares = torch.bincount(drawn, minlength=3) / 4000
    assert shares[1] == 0
    assert abs(shares[0] - 0.7) < 0.03


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.1}])
def test_senseless_sampling_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Sampling(**options)  # type: ignore[arg-type]


def test_known_tokens_stay_and_steer_the_rest() -> None:
    model, tokens = prior(), torch.randint(11, (1, 4, 6))
    known = torch.zeros(4, 6, dtype=torch.bool)
    known[:, :3] = True
    domains = torch.tensor([0])
    filled = fill_window(model, tokens, known, domains, Sampling(), generators(1))
    assert torch.equal(filled[:, known], tokens[:, known])
    other = fill_window(model, (tokens + 1) % 11, known, domains, Sampling(), generators(1))
    assert not torch.equal(filled[:, ~known], other[:, ~known])


@pytest.mark.parametrize("condition", CONDITIONS)
def test_sampling_with_a_cache_follows_the_uncached_model(condition: Condition) -> None:
    model = prior(condition)
    known = torch.zeros(4, 6, dtype=torch.bool)
    filled = fill_window(
        model, torch.zeros(1, 4, 6, dtype=torch.long), known, torch.tensor([1]), Sampling(), generators(5)
    )
    flat, generator = torch.zeros(1, 24, dtype=torch.long), generators(5)
    for cell in range(24):
        logits = model(model.inputs(flat, torch.tensor([1])))[:, model.config.prefix_length - 1 + cell]
        flat[:, cell] = draw(probabilities(logits, Sampling()), generator)
    assert torch.equal(filled.flatten(1), flat)
