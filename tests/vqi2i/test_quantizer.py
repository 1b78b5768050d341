"""The codebook: nearest vectors, straight-through gradients, moving averages and restarts."""

import torch

from vqi2i.quantizer import Codebook, Usage


def codebook() -> Codebook:
    torch.manual_seed(0)
    return Codebook(6, 4)


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
    assert (moved - quantized.codes.detach()).norm() < (content.detach() - quantized.codes.detach()).norm()


def test_vectors_move_to_the_mean_of_what_chooses_them() -> None:
    book = codebook()
    target = book.vectors[:1] + 0.1
    generator = torch.Generator().manual_seed(0)
    for _ in range(400):
        counts, sums = book.assignments(target.expand(12, -1), torch.zeros(12, dtype=torch.long))
        book.counts.clamp_min_(1)  # keeps the idle codes from being restarted: another test's business
        book.update(counts, sums, target, generator)
    torch.testing.assert_close(book.vectors[0], target[0], atol=1e-2, rtol=0)


def test_dead_codes_are_restarted_on_content() -> None:
    book = codebook()
    content = torch.randn(50, 4) + 5
    generator = torch.Generator().manual_seed(0)
    restarted = 0
    for _ in range(300):
        tokens = book.nearest(content.T[None, :, :, None]).flatten()
        restarted += book.update(*book.assignments(content, tokens), content, generator)
    tokens = book.nearest(content.T[None, :, :, None])
    assert restarted > 0
    assert len(tokens.unique()) == 6


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
