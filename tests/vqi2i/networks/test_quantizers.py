"""Quantizers: what they share, and what keeps each of them alive."""

import math
from typing import get_args

import pytest
import torch

from tests.vqi2i.networks.test_autoencoder import network
from vqi2i.config import LearnedQuantizer, QuantizerKind
from vqi2i.networks.quantizers import (
    EmaCodebook,
    LearnedCodebook,
    ProjectedCodebook,
    Quantizer,
    UnitCodebook,
    Usage,
    assignments,
    build_quantizer,
)

KINDS = get_args(QuantizerKind)


def quantizer(kind: str) -> Quantizer:
    torch.manual_seed(0)
    levels = {"fsq_levels": (4, 3), "codebook_size": 12, "embed_dim": 2} if kind == "fsq" else {}
    return build_quantizer(network(quantizer=kind, **levels))


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_stand_for_the_codes_that_come_out(kind: str) -> None:
    quantize = quantizer(kind)
    quantized = quantize(torch.randn(2, quantize.dim, 5, 3))
    assert quantized.tokens.shape == (2, 5, 3)
    assert 0 <= int(quantized.tokens.min()) <= int(quantized.tokens.max()) < quantize.size
    torch.testing.assert_close(quantize.lookup(quantized.tokens), quantized.codes)


@pytest.mark.parametrize("kind", KINDS)
def test_a_code_is_its_own_token(kind: str) -> None:
    quantize = quantizer(kind)
    tokens = torch.arange(quantize.size).view(1, 1, -1)
    codes = quantize.lookup(tokens)
    if kind == "fsq":
        codes = (0.999 * codes).atanh()  # content is squashed on its way
    assert torch.equal(quantize(codes).tokens, tokens)


@pytest.mark.parametrize("levels", [(7, 7), (4, 3), (2, 5, 8)], ids=str)
def test_content_that_is_drawn_to_a_code_reads_back_as_it(levels: tuple[int, ...]) -> None:
    """The pull is that of equation (6): every code of a bounded quantizer, those on its bounds
    among them.
    """
    size = math.prod(levels)
    quantize = build_quantizer(
        network(quantizer="fsq", fsq_levels=levels, codebook_size=size, embed_dim=len(levels))
    )
    tokens = torch.arange(size).view(1, 1, -1)
    content = torch.zeros(1, len(levels), 1, size, requires_grad=True)
    adam = torch.optim.Adam([content], 0.1)
    for _ in range(60):
        adam.zero_grad()
        (quantize.bounded(content) - quantize.lookup(tokens)).abs().mean().backward()
        adam.step()
    assert torch.equal(quantize(content).tokens, tokens)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("fsq", "l2")])
def test_vectors_have_no_bounds(kind: str) -> None:
    quantize = quantizer(kind)
    content = 5 * torch.randn(1, quantize.dim, 2, 2)
    assert quantize.bounded(content) is content


def test_directions_are_compared_with_codes_where_codes_lie() -> None:
    quantize = quantizer("l2")
    codes = quantize.lookup(torch.arange(quantize.size).view(1, 1, -1))
    torch.testing.assert_close(quantize.bounded(3 * codes), codes)


@pytest.mark.parametrize("kind", KINDS)
def test_content_receives_a_gradient(kind: str) -> None:
    quantize = quantizer(kind)
    content = torch.randn(1, quantize.dim, 3, 3, requires_grad=True)
    quantize(content).codes.square().sum().backward()
    assert content.grad is not None
    assert content.grad.any()


@pytest.mark.parametrize("kind", get_args(LearnedQuantizer))
def test_the_codebook_term_pulls_codes_to_the_content(kind: str) -> None:
    quantize = quantizer(kind)
    content = torch.randn(4, quantize.dim, 4, 4)
    adam = torch.optim.Adam(quantize.parameters(), 0.01)
    losses = []
    for _ in range(60):
        loss = quantize(content).codebook
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_only_chosen_vectors_of_a_learned_codebook_move_but_all_projected_ones() -> None:
    content = torch.randn(1, 8, 1, 1)
    learned, projected = LearnedCodebook(6, 8), ProjectedCodebook(6, 8)
    learned(content).codebook.backward()
    projected(content).codebook.backward()
    assert learned.vectors.grad is not None
    assert int(learned.vectors.grad.any(1).sum()) == 1
    before = projected.table.detach()
    with torch.no_grad():
        projected.projection.weight -= projected.projection.weight.grad
    assert (projected.table != before).any(1).all()


def test_unit_codes_have_length_one_and_ignore_the_contents_length() -> None:
    quantize, content = UnitCodebook(6, 8), torch.randn(1, 8, 3, 3)
    torch.testing.assert_close(quantize.table.norm(dim=1), torch.ones(6))
    assert torch.equal(quantize(content).tokens, quantize(5 * content).tokens)


def test_the_release_starts_all_vectors_near_zero() -> None:
    assert (LearnedCodebook(512, 4).vectors.abs() <= 1 / 512).all()


def codebook() -> EmaCodebook:
    torch.manual_seed(0)
    return EmaCodebook(6, 4)


def test_each_vector_is_its_own_nearest() -> None:
    book = codebook()
    tokens = torch.tensor([[[0, 1, 2], [5, 4, 3]]])
    assert torch.equal(book.nearest(book.lookup(tokens)), tokens)


def test_nearest_is_the_smallest_distance() -> None:
    book, content = codebook(), torch.randn(2, 4, 3, 3)
    rows = content.permute(0, 2, 3, 1).reshape(-1, 4)
    assert torch.equal(book.nearest(content).flatten(), torch.cdist(rows, book.vectors).argmin(1))


def test_gradients_pass_straight_through() -> None:
    content = torch.randn(1, 4, 3, 3, requires_grad=True)
    quantized = codebook()(content)
    weights = torch.randn_like(content)
    (quantized.codes * weights).sum().backward()
    assert content.grad is not None
    torch.testing.assert_close(content.grad, weights)


def test_commitment_pulls_content_to_its_code() -> None:
    book, content = codebook(), torch.randn(1, 4, 3, 3, requires_grad=True)
    quantized = book(content)
    quantized.commitment.backward()
    assert content.grad is not None
    moved = content.detach() - 10 * content.grad
    assert (moved - quantized.codes.detach()).norm() < (
        content.detach() - quantized.codes.detach()
    ).norm()


def test_vectors_move_to_the_mean_of_what_chooses_them() -> None:
    book = codebook()
    target = book.vectors[:1] + 0.1
    generator = torch.Generator().manual_seed(0)
    for _ in range(400):
        counts, sums = assignments(
            target.expand(12, -1), torch.zeros(12, dtype=torch.long), book.size
        )
        # keeps the idle codes from being restarted: another test's business
        book.counts.clamp_min_(1)
        book.follow(counts, sums, target, generator)
    torch.testing.assert_close(book.vectors[0], target[0], atol=1e-2, rtol=0)


def test_dead_codes_are_restarted_on_content() -> None:
    book = codebook()
    content = torch.randn(50, 4) + 5
    generator = torch.Generator().manual_seed(0)
    restarted = 0
    for _ in range(300):
        tokens = book.nearest(content.T[None, :, :, None]).flatten()
        restarted += book.follow(*assignments(content, tokens, book.size), content, generator)
    tokens = book.nearest(content.T[None, :, :, None])
    assert restarted > 0
    assert len(tokens.unique()) == 6


def test_codes_in_use_stay_where_they_are_when_dead_ones_are_restarted() -> None:
    book = codebook()
    before = book.vectors.clone()
    alive, dead = torch.tensor([0, 2, 3]), torch.tensor([1, 4, 5])
    book.counts[dead] = 1e-6
    content = before[alive].repeat(4, 1)  # exactly what the codes in use stand for already
    counts, sums = assignments(content, alive.repeat(4), book.size)
    candidates = torch.randn(50, 4) + 9
    assert book.follow(counts, sums, candidates, torch.Generator().manual_seed(0)) == 3
    torch.testing.assert_close(book.vectors[alive], before[alive])
    distances = (book.vectors[dead][:, None] - candidates).norm(dim=2).min(dim=1).values
    torch.testing.assert_close(distances, torch.zeros(3), atol=1e-4, rtol=0)


def test_a_restarted_code_is_given_time_to_be_chosen() -> None:
    book = EmaCodebook(4, 2, decay=0.5, restart_below=0.1)
    counts, sums = torch.tensor([8.0, 8.0, 8.0, 0.0]), torch.ones(4, 2)
    restarted = [book.follow(counts, sums, torch.ones(1, 2), torch.Generator()) for _ in range(12)]
    assert 0 < sum(restarted) < len(restarted) / 2


def test_a_codebook_starts_on_content_also_when_there_is_little() -> None:
    book = codebook()
    content = torch.randn(3, 4)
    book.start_from(content, torch.Generator().manual_seed(0))
    assert all((content == vector).all(1).any() for vector in book.vectors)


def test_usage_counts_codes_and_weighs_them() -> None:
    usage = Usage.of(torch.tensor([5, 5, 0, 0]))
    assert usage.used == 0.5
    assert abs(usage.perplexity - 2) < 1e-9
    assert Usage.of(torch.zeros(4)).used == 0
