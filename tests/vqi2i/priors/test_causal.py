"""The causal prior and what is sampled from it."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vqi2i.config import PriorConfig
from vqi2i.priors.causal import CausalPrior
from vqi2i.priors.causal_infill import fill_window
from vqi2i.priors.infill import complete, infill
from vqi2i.priors.kv_cache import Stepper
from vqi2i.priors.sampling import Precision, Sampling, draw, probabilities, uniforms

KINDS: dict[str, dict[str, Any]] = {
    "domain": {},
    "coordinates": {"condition": "coordinates"},
    "rotary": {"positions": "rotary"},
    "local": {"positions": "rotary", "local": True},
}
kinds = pytest.mark.parametrize("kind", KINDS)


def prior(kind: str = "domain") -> CausalPrior:
    torch.manual_seed(0)
    config = PriorConfig(
        num_layers=2, num_heads=2, width=16, window=(4, 6), dropout=0.1, **KINDS[kind]
    )
    model = CausalPrior(config, codebook_size=11, num_domains=2, stride=4).eval()
    for (
        parameter
    ) in model.parameters():  # away from the small initialisation, so that context matters
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


@kinds
def test_cached_logits_are_the_uncached_ones(kind: str) -> None:
    model, tokens = prior(kind), torch.randint(11, (3, 24))
    inputs = model.inputs(tokens, torch.tensor([0, 1, 1]))
    whole, stepper = model(inputs), Stepper(model, rows=3)
    for _ in range(2):
        for length in (1, 7, 1, inputs.shape[1] - 9):
            logits = stepper.feed(inputs[:, stepper.fed : stepper.fed + length])
            torch.testing.assert_close(logits, whole[:, stepper.fed - 1], atol=1e-4, rtol=1e-4)
        stepper.restart()


@pytest.mark.parametrize(("precision", "error"), [("bf16", 0.03), ("int8", 0.03)])
def test_small_precisions_stay_near(precision: Precision, error: float) -> None:
    model, tokens = prior("local"), torch.randint(11, (3, 24))
    inputs = model.inputs(tokens, torch.tensor([0, 1, 1]))
    exact, rounded = Stepper(model, rows=3).feed(inputs), Stepper(model, 3, precision).feed(inputs)
    assert 0 < (rounded - exact).norm() < error * exact.norm()


@pytest.mark.parametrize("precision", ["float32", "bf16", "int8"])
def test_weights_that_have_changed_are_used(precision: Precision) -> None:
    model, inputs = prior(), torch.randint(11, (1, 5))
    before = Stepper(model, 1, precision).feed(inputs)
    assert torch.equal(Stepper(model, 1, precision).feed(inputs), before)
    with torch.no_grad():
        model.blocks[0].query.weight.mul_(-1)  # type: ignore[union-attr, operator]
    assert not torch.equal(Stepper(model, 1, precision).feed(inputs), before)


@kinds
def test_no_token_sees_itself_or_what_follows(kind: str) -> None:
    model, tokens = prior(kind), torch.randint(11, (1, 24))
    first = model.config.prefix_length
    domains = torch.tensor([0])
    changed = tokens.clone()
    changed[:, 10:] = (changed[:, 10:] + 1) % 11
    before, after = model(model.inputs(tokens, domains)), model(model.inputs(changed, domains))
    torch.testing.assert_close(before[:, : first + 10], after[:, : first + 10])
    assert not torch.allclose(before[:, first + 10 :], after[:, first + 10 :])


def test_what_lies_around_a_cell_is_what_is_mixed() -> None:
    model = prior("local")
    mixer = model.blocks[0].local
    with torch.no_grad():
        mixer.norm.weight.fill_(1)
        mixer.norm.bias.zero_()
        x = torch.zeros(1, 24, 16, requires_grad=True)
    mixer(x + torch.randn(1, 24, 16))[0, 15].sum().backward()  # the cell in row 2 and column 3
    (felt,) = (x.grad.abs().sum(-1) > 0).nonzero()[:, 1].split(24)
    content = {int(place) - 1 for place in felt}  # input i holds the token before cell i
    assert {divmod(cell, 6) for cell in content} == {(2, 2), (2, 1), (1, 4), (1, 3), (1, 2)}


def test_the_domain_matters() -> None:
    model, tokens = prior(), torch.randint(11, (1, 24))
    assert not torch.allclose(
        model(model.inputs(tokens, torch.tensor([0]))),
        model(model.inputs(tokens, torch.tensor([1]))),
    )


def test_top_k_and_top_p_keep_the_likely_tokens() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    assert probabilities(logits, Sampling(top_p=1.0)).allclose(
        torch.tensor([[0.5, 0.3, 0.15, 0.05]])
    )
    assert probabilities(logits, Sampling(top_k=2, top_p=1.0)).allclose(
        torch.tensor([[0.625, 0.375, 0, 0]])
    )
    assert probabilities(logits, Sampling(top_p=0.7)).allclose(torch.tensor([[0.625, 0.375, 0, 0]]))
    assert probabilities(logits, Sampling(top_p=0.01)).allclose(torch.tensor([[1.0, 0, 0, 0]]))


def test_a_lower_temperature_prefers_the_likely_tokens() -> None:
    logits = torch.tensor([[0.6, 0.3, 0.1]]).log()
    squared = torch.tensor([[0.36, 0.09, 0.01]]) / 0.46
    torch.testing.assert_close(probabilities(logits, Sampling(temperature=0.5, top_p=1.0)), squared)
    assert probabilities(logits, Sampling(temperature=4.0, top_p=1.0))[0, 0] < 0.5


def test_tokens_are_drawn_with_their_probabilities() -> None:
    probs = torch.tensor([[0.7, 0.0, 0.3]]).expand(4000, -1)
    drawn = draw(probs, uniforms(generators(*range(4000)), 1)[:, 0])
    shares = torch.bincount(drawn, minlength=3) / 4000
    assert shares[1] == 0
    assert abs(shares[0] - 0.7) < 0.03


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.0},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"context": 1.0},
        {"steps": 0},
        {"guidance": -1.0},
    ],
)
def test_senseless_sampling_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Sampling(**options)  # type: ignore[arg-type]


def test_known_tokens_stay_and_steer_the_rest() -> None:
    model, tokens = prior(), torch.randint(11, (1, 4, 6))
    known = torch.zeros(4, 6, dtype=torch.bool)
    known[:, :3] = True
    domains = torch.tensor([0])
    given = Stepper(model, rows=1), known, Sampling()
    chance = uniforms(generators(1), 12)
    filled = fill_window(*given, tokens, domains, chance)
    assert torch.equal(filled[:, known], tokens[:, known])
    other = fill_window(*given, (tokens + 1) % 11, domains, chance)
    assert not torch.equal(filled[:, ~known], other[:, ~known])


@kinds
def test_sampling_with_a_cache_follows_the_uncached_model(kind: str) -> None:
    model = prior(kind)
    known = torch.zeros(4, 6, dtype=torch.bool)
    empty, domains = torch.zeros(1, 4, 6, dtype=torch.long), torch.tensor([1])
    flat, chance = torch.zeros(1, 24, dtype=torch.long), uniforms(generators(5), 24)
    filled = fill_window(Stepper(model, rows=1), known, Sampling(), empty, domains, chance)
    for cell in range(24):
        logits = model(model.inputs(flat, domains))[:, model.config.prefix_length - 1 + cell]
        flat[:, cell] = draw(probabilities(logits, Sampling()), chance[:, cell])
    assert torch.equal(filled.flatten(1), flat)


def release_extends(model: CausalPrior, tokens: Tensor, width: int, chance: Tensor) -> Tensor:
    """What the release does, written down as described: windows of 4x6 tokens, coordinates cut out
    at their place.
    """
    canvas = torch.cat([tokens, torch.zeros(len(tokens), 4, width - 6, dtype=torch.long)], dim=2)
    number = 0
    for row in range(4):
        for column in range(6, width):
            left = column - 3
            if width - column < 3:
                left = width - 6
            prompt = (
                model.coordinates.view(4, 6)[:, left : left + 6]
                .reshape(1, -1)
                .expand(len(tokens), -1)
            )
            patch = canvas[:, :, left : left + 6].flatten(1)
            logits = model(torch.cat([prompt, patch], dim=1)[:, :-1])[:, -24:]
            local = row * 6 + column - left
            canvas[:, row, column] = draw(
                probabilities(logits[:, local], Sampling()), chance[:, number]
            )
            number += 1
    return canvas


def test_windows_per_token_are_those_of_the_release() -> None:
    model, tokens = prior("coordinates"), torch.randint(11, (2, 4, 6))
    known = torch.zeros(4, 9, dtype=torch.bool)
    known[:, :6] = True
    wide = F.pad(tokens, (0, 3))
    given = known, torch.tensor([0, 1])
    seeds = generators(3, 4)
    found = complete(infill(model, wide, *given, Sampling(windows="per_token"), seeds))
    wanted = release_extends(model, tokens, 9, uniforms(generators(3, 4), 12))
    assert torch.equal(found, wanted)
    assert not torch.equal(
        found, complete(infill(model, wide, *given, Sampling(), generators(3, 4)))
    )


def test_windows_per_token_end_where_the_release_scrambles() -> None:
    model, known = prior("coordinates"), torch.zeros(4, 13, dtype=torch.bool)
    known[:, :6] = True
    tokens = torch.zeros(1, 4, 13, dtype=torch.long)
    with pytest.raises(ValueError, match="use block"):
        complete(
            infill(
                model,
                tokens,
                known,
                torch.tensor([0]),
                Sampling(windows="per_token"),
                generators(1),
            )
        )
