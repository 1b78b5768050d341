"""What is imagined of a canvas, whatever its size and mask."""

import pytest
import torch
from torch import Tensor

from tests.vqi2i.company import check_rows_are_the_same_in_any_company
from tests.vqi2i.priors.test_causal import generators, prior
from vqi2i.priors import causal_infill
from vqi2i.priors.causal_infill import rows_per_call
from vqi2i.priors.infill import complete, infill
from vqi2i.priors.sampling import Precision, Sampling


def left_column_known(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Two canvases of which the left column is all sevens and the rest no token at all."""
    tokens = torch.full((2, height, width), -1)
    known = torch.zeros(height, width, dtype=torch.bool)
    known[:, 0] = True
    tokens[:, :, 0] = 7
    return tokens, known


@pytest.mark.parametrize(("height", "width"), [(4, 6), (4, 15), (9, 7), (2, 3), (3, 20)])
def test_canvases_of_any_size_are_filled(height: int, width: int) -> None:
    tokens, known = left_column_known(height, width)
    filled = complete(
        infill(prior(), tokens, known, torch.tensor([0, 1]), Sampling(), generators(1, 2))
    )
    assert filled.shape == tokens.shape
    assert (filled[:, :, 0] == 7).all()
    assert ((filled >= 0) & (filled < 11)).all()


def test_a_canvas_grows_and_what_is_known_stays() -> None:
    tokens, known = left_column_known(4, 15)
    canvases = list(
        infill(prior(), tokens, known, torch.tensor([0, 1]), Sampling(), generators(1, 2))
    )
    assert len(canvases) > 1
    for before, after in zip([(tokens, known), *canvases], canvases, strict=False):
        assert after.known.sum() > before[1].sum()
        assert torch.equal(after.tokens[:, before[1]], before[0][:, before[1]])
    assert canvases[-1].known.all()


def test_a_canvas_without_gaps_comes_back() -> None:
    tokens, known = torch.randint(11, (1, 5, 9)), torch.ones(5, 9, dtype=torch.bool)
    (canvas,) = infill(prior(), tokens, known, torch.tensor([0]), Sampling(), generators(1))
    assert torch.equal(canvas.tokens, tokens)
    assert canvas.known.all()


@pytest.mark.parametrize(
    ("precision", "device", "count", "rows"),
    [
        ("float32", "cpu", 3, 4),
        ("float32", "cpu", 9, 4),
        ("bf16", "cpu", 3, 1),
        ("int8", "cpu", 3, 3),
        ("int8", "cpu", 9, 8),
        ("bf16", "cuda", 3, 4),
    ],
)
def test_calls_have_as_many_rows_as_the_precision_and_the_device_take_well(
    precision: Precision, device: str, count: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rows_per_call(precision, torch.device(device), count) == rows
    asked: list[tuple[object, ...]] = []

    def noting(*given: object) -> int:
        asked.append(given)
        return 1

    monkeypatch.setattr(causal_infill, "rows_per_call", noting)
    tokens, known = left_column_known(4, 6)
    given = prior(), tokens, known, torch.tensor([0, 1]), Sampling(precision=precision)
    complete(infill(*given, generators(1, 2)))
    assert set(asked) == {(precision, torch.device("cpu"), 2)}


@pytest.mark.parametrize("precision", ["float32", "bf16", "int8"])
def test_a_seed_gives_the_same_tokens_in_any_company(precision: Precision) -> None:
    check_rows_are_the_same_in_any_company(prior(), Sampling(precision=precision))
