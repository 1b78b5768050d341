"""The masked prior, the masks it learns from, and the order in which it imagines."""

from typing import Any

import pytest
import torch

from tests.vqi2i.company import check_rows_are_the_same_in_any_company
from tests.vqi2i.priors.test_causal import generators
from vqi2i.config import PriorConfig
from vqi2i.priors.infill import complete, infill
from vqi2i.priors.masked import MaskedPrior
from vqi2i.priors.masked_infill import best_window, halton, shares
from vqi2i.priors.masks import _partly, scattered, training_mask
from vqi2i.priors.sampling import Sampling
from vqi2i.priors.transformer import Rotation

WINDOW = (4, 6)


def prior(*, local: bool = True) -> MaskedPrior:
    torch.manual_seed(0)
    config = PriorConfig(
        kind="masked",
        positions="rotary",
        local=local,
        num_layers=2,
        num_heads=2,
        width=16,
        window=WINDOW,
    )
    model = MaskedPrior(config, codebook_size=11, num_domains=2).eval()
    for (
        parameter
    ) in model.parameters():  # away from the small initialisation, so that context matters
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def test_hidden_tokens_do_not_matter_and_visible_ones_do() -> None:
    model, tokens = prior(), torch.randint(11, (1, *WINDOW))
    hidden = torch.zeros(1, *WINDOW, dtype=torch.bool)
    hidden[:, 1, 2:5] = True
    domains = torch.tensor([0])
    logits = model(tokens, hidden, domains)
    assert torch.equal(logits, model(torch.where(hidden, 3, tokens), hidden, domains))
    changed = tokens.clone()
    changed[0, 3, 5] = (changed[0, 3, 5] + 1) % 11  # after the hidden ones in raster order
    assert not torch.allclose(logits[hidden], model(changed, hidden, domains)[hidden])
    assert not torch.allclose(logits, model(tokens, hidden, torch.tensor([1])))


def test_a_cell_is_the_sum_of_its_token_its_place_and_the_domain() -> None:
    model, tokens = prior(), torch.randint(11, (2, *WINDOW))
    hidden, domains = torch.rand(2, *WINDOW) < 0.5, torch.tensor([1, 2])  # the second is not told
    x = torch.zeros(2, *WINDOW, 16)
    for row in range(2):
        for y in range(4):
            for c in range(6):
                shown = 11 if hidden[row, y, c] else int(tokens[row, y, c])
                x[row, y, c] = model.embedding.weight[shown] + model.rows[y] + model.columns[c]
                x[row, y, c] += model.domains.weight[int(domains[row])]
    x, turn = x.flatten(1, 2), Rotation(*model.turns)
    for block in model.blocks:
        x = block(x, (turn, turn), causal=False)
    wanted = model.head(model.norm(x)).view(2, *WINDOW, 11)
    torch.testing.assert_close(model(tokens, hidden, domains), wanted, atol=1e-4, rtol=1e-4)


def test_only_hidden_tokens_are_measured() -> None:
    model, tokens = prior(), torch.randint(11, (2, *WINDOW))
    hidden = torch.zeros(2, *WINDOW, dtype=torch.bool)
    hidden[0, 0, 0] = hidden[1, 3, 1:3] = True
    domains = torch.tensor([0, 1])
    found = model.nll(tokens, hidden, domains).detach()
    likely = model(tokens, hidden, domains).log_softmax(-1).detach()
    assert found[0] == pytest.approx(-float(likely[0, 0, 0, tokens[0, 0, 0]]), rel=1e-4)
    pair = [-float(likely[1, 3, column, tokens[1, 3, column]]) for column in (1, 2)]
    assert found[1] == pytest.approx(sum(pair) / 2, rel=1e-4)


def test_training_masks_leave_scattered_cells_sides_and_boxes() -> None:
    masks = [training_mask((8, 8), generator) for generator in generators(*range(400))]
    assert all(mask.any() for mask in masks)
    sides = [
        torch.cat([torch.ones(8, n, dtype=torch.bool), torch.zeros(8, 8 - n, dtype=torch.bool)], 1)
        for n in range(1, 8)
    ]
    turned = [side.rot90(turns) for side in sides for turns in range(4)]
    assert sum(any(torch.equal(mask, side) for side in turned) for mask in masks) > 20
    shares_hidden = torch.stack(masks).float().mean(dim=(1, 2))
    assert shares_hidden.min() < 0.1
    assert 0.45 < shares_hidden.mean() < 0.75
    assert (shares_hidden == 1).any()


def test_a_box_is_missing_as_often_as_all_but_a_box() -> None:
    masks = [training_mask((6, 6), generator) for generator in generators(*range(1500))]

    def boxes(hidden: list[torch.Tensor]) -> int:
        """Those that are a rectangle of some cells which reaches across in neither direction."""
        found = 0
        for mask in hidden:
            rows, columns = mask.any(1), mask.any(0)
            filled = torch.equal(mask, rows[:, None] & columns)
            found += filled and int(mask.sum()) > 3 and not (rows.all() or columns.all())
        return found

    missing, kept = boxes(masks), boxes([~mask for mask in masks])
    assert 25 < kept < 90
    assert 25 < missing < 90


def test_half_of_the_regions_are_missing_in_part_by_a_cosine_share() -> None:
    region = torch.zeros(10, 12, dtype=torch.bool)
    region[:, :10] = True
    parts = [_partly(region, generator) for generator in generators(*range(1200))]
    assert all(bool((part <= region).all()) and part.any() for part in parts)
    counts = torch.tensor([int(part.sum()) for part in parts])
    scattered_ones = counts[counts < 100].float() / 100
    assert 0.4 < len(scattered_ones) / len(parts) < 0.56
    assert float(scattered_ones.mean()) == pytest.approx(0.63, abs=0.04)  # 2 / pi, all aside
    few = [int(_partly(region[:2, :2], generator).sum()) for generator in generators(*range(200))]
    assert min(few) == 1
    nothing = torch.zeros(3, 3, dtype=torch.bool)
    assert all(_partly(nothing, generator).any() for generator in generators(*range(20)))


@pytest.mark.parametrize("window", [(1, 1), (1, 5), (5, 1)])
def test_the_smallest_windows_have_masks_too(window: tuple[int, int]) -> None:
    for generator in generators(*range(60)):
        mask = training_mask(window, generator)
        assert mask.shape == window
        assert mask.any()


def test_scattered_masks_hide_as_many_cells_as_asked() -> None:
    (generator,) = generators(0)
    assert [int(scattered((3, 4), count, generator).sum()) for count in (0, 5, 99)] == [1, 5, 12]


def test_halton_order_is_even_at_any_time() -> None:
    ranks = halton((8, 8))
    assert ranks.flatten().sort().values.tolist() == list(range(64))
    quarters = (ranks < 16).view(2, 4, 2, 4).sum(dim=(1, 3))
    assert quarters.min() >= 3
    assert quarters.max() <= 5


def test_more_and_more_cells_come_with_every_step() -> None:
    known = shares(8)
    gains = [after - before for before, after in zip([0.0, *known], known, strict=False)]
    assert known[-1] == 1
    assert gains == sorted(gains)


def test_the_window_with_most_context_comes_first() -> None:
    known = torch.zeros(4, 18, dtype=torch.bool)
    known[:, 12:] = True
    wanted = ~known
    window = best_window(known, wanted, WINDOW, context=0.5)
    assert window == (slice(0, 4), slice(9, 15))
    assert best_window(known, torch.zeros_like(wanted), WINDOW, context=0.5) is None


OPTIONS: list[dict[str, Any]] = [
    {},
    {"order": "confidence"},
    {"steps": 3},
    {"steps": 100},
    {"guidance": 2.0},
    {"precision": "bf16"},
    {"context": 0.0, "top_k": 3},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("height", "width"), [(4, 6), (9, 14), (2, 3), (4, 20)])
def test_any_mask_is_filled_and_known_tokens_stay(
    height: int, width: int, options: dict[str, Any]
) -> None:
    torch.manual_seed(height)
    known = torch.rand(height, width) < 0.3
    tokens = torch.where(known, torch.randint(11, (2, height, width)), -1)
    canvases = list(
        infill(prior(), tokens, known, torch.tensor([0, 1]), Sampling(**options), generators(1, 2))
    )
    before = known
    for canvas in canvases:
        assert torch.equal(canvas.tokens[:, known], tokens[:, known])
        assert canvas.known[before].all()
        before = canvas.known
    assert before.all()
    assert ((canvases[-1].tokens >= 0) & (canvases[-1].tokens < 11)).all()


def test_steps_are_those_asked_for() -> None:
    empty, known = torch.zeros(1, *WINDOW, dtype=torch.long), torch.zeros(WINDOW, dtype=torch.bool)
    for steps in (4, 8, 24):
        given = prior(), empty, known, torch.tensor([0]), Sampling(steps=steps), generators(1)
        assert len(list(infill(*given))) == steps


def test_guidance_0_is_none_and_more_is_some() -> None:
    empty, known = torch.zeros(1, *WINDOW, dtype=torch.long), torch.zeros(WINDOW, dtype=torch.bool)

    def sample(**options: float) -> torch.Tensor:
        return complete(
            infill(prior(), empty, known, torch.tensor([0]), Sampling(**options), generators(1))
        )  # type: ignore[arg-type]

    assert torch.equal(sample(), sample(guidance=0.0))
    assert not torch.equal(sample(), sample(guidance=5.0))


class Partial(MaskedPrior):
    """Expects token 0 a little more of a domain than of any, and no token beside 0 and 1."""

    def forward(
        self, tokens: torch.Tensor, hidden: torch.Tensor, domains: torch.Tensor
    ) -> torch.Tensor:
        logits = torch.full((*tokens.shape, self.codebook_size), -torch.inf)
        logits[..., 0] = 0.5 * (domains != self.no_domain).float()[:, None, None]
        logits[..., 1] = 0.0
        return logits.nan_to_num(neginf=-1e4)


def test_guidance_strengthens_what_a_domain_has_more_of_than_others() -> None:
    prior = Partial(
        PriorConfig(kind="masked", positions="rotary", window=(8, 8)),
        codebook_size=5,
        num_domains=2,
    )
    empty, known = torch.zeros(1, 8, 8, dtype=torch.long), torch.zeros(8, 8, dtype=torch.bool)

    def share(guidance: float) -> float:
        given = (
            prior,
            empty,
            known,
            torch.tensor([0]),
            Sampling(guidance=guidance, top_p=1.0),
            generators(1),
        )
        return float((complete(infill(*given)) == 0).float().mean())

    assert 0.5 < share(0.0) < 0.8
    assert share(8.0) > 0.9


class Sure(MaskedPrior):
    """Knows which token is in the right half, and nothing of the left one."""

    asked: torch.dtype | None = None

    def forward(
        self, tokens: torch.Tensor, hidden: torch.Tensor, domains: torch.Tensor
    ) -> torch.Tensor:
        self.asked = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
        logits = torch.zeros(*tokens.shape, self.codebook_size)
        logits[..., tokens.shape[2] // 2 :, 3] = 9.0
        return logits


def sure(**options: Any) -> tuple[Sure, list[torch.Tensor]]:
    """Such a prior, and where it is when half of an empty grid is known."""
    config = PriorConfig(kind="masked", positions="rotary", window=(4, 4))
    model = Sure(config, codebook_size=5, num_domains=1)
    empty, known = torch.zeros(1, 4, 4, dtype=torch.long), torch.zeros(4, 4, dtype=torch.bool)
    sampling, half = Sampling(steps=4, **options), []
    for (generator,) in (generators(seed) for seed in range(8)):
        canvases = infill(model, empty, known, torch.tensor([0]), sampling, [generator])
        half.append(next(canvas.known for canvas in canvases if canvas.known.sum() >= 4))
    return model, half


def test_the_surest_cells_come_first_and_at_high_temperature_any() -> None:
    right = torch.arange(4).expand(4, -1) >= 2
    _, cool = sure(order="confidence", temperature=0.01)
    assert all((right | ~known).all() for known in cool)
    _, hot = sure(order="confidence", temperature=10.0)
    assert any((known & ~right).any() for known in hot)
    for found in (cool, hot):  # and chance decides among equals
        assert len({tuple(known.flatten().tolist()) for known in found}) > 4
    _, even = sure(order="halton")
    assert len({tuple(known.flatten().tolist()) for known in even}) == 1


def test_bf16_is_bfloat16_whatever_the_device_would_take() -> None:
    usual = torch.get_autocast_dtype("cpu")
    torch.set_autocast_dtype("cpu", torch.float16)
    try:
        assert sure(precision="bf16")[0].asked == torch.bfloat16
        assert sure()[0].asked is None
    finally:
        torch.set_autocast_dtype("cpu", usual)


@pytest.mark.parametrize("order", ["halton", "confidence"])
def test_a_seed_gives_the_same_tokens_in_any_company(order: Any) -> None:
    check_rows_are_the_same_in_any_company(prior(), Sampling(order=order))


@pytest.mark.parametrize("options", [{"windows": "per_token"}, {"precision": "int8"}])
def test_options_of_causal_priors_are_refused(options: dict[str, Any]) -> None:
    empty, known = torch.zeros(1, *WINDOW, dtype=torch.long), torch.zeros(WINDOW, dtype=torch.bool)
    with pytest.raises(ValueError, match="for causal priors"):
        complete(
            infill(prior(), empty, known, torch.tensor([0]), Sampling(**options), generators(1))
        )
