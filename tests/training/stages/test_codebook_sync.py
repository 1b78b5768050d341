"""Workers with parts of a batch move a codebook as one with the whole of it does."""

import copy

import pytest
import torch
from torch import Tensor

from tests.training.company import company
from training.distributed.worker import LocalWorker
from training.stages.codebook_sync import Assigned, RollingUsage, SharedCodebook
from vqi2i.networks.quantizers import EmaCodebook

DOMAINS = 2
# two images of each domain, domain by domain
CONTENT = torch.arange(4 * 3 * 2 * 2).view(4, 3, 2, 2) / 10


def shared(codebook: EmaCodebook, rank: int = 0, world_size: int = 1) -> SharedCodebook:
    worker = LocalWorker(None, None)  # type: ignore[arg-type]
    worker.rank, worker.world_size = rank, world_size
    return SharedCodebook(codebook, worker, DOMAINS, RollingUsage(codebook.size, window=8))


def codebook() -> EmaCodebook:
    torch.manual_seed(0)
    return EmaCodebook(5, 3, decay=0.5, restart_below=0.9)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def of_rank(content: Tensor, rank: int) -> Tensor:
    """One of two workers' image of each domain."""
    return content.unflatten(0, (DOMAINS, -1))[:, rank]


def test_two_workers_follow_as_one_does() -> None:
    alone, parted = codebook(), codebook()
    tokens = alone.nearest(CONTENT)
    said = shared(alone).assigned(CONTENT, tokens)
    torch.testing.assert_close(said.counts, torch.bincount(tokens.flatten(), minlength=5).float())
    assert said.candidates.shape == (1, 16, 3)
    ranks = [
        shared(parted, rank, 2).assigned(of_rank(CONTENT, rank), of_rank(tokens, rank))
        for rank in range(2)
    ]
    together = Assigned(*(sum(parts) for parts in zip(*ranks, strict=True)))
    torch.testing.assert_close(together.counts, said.counts)
    torch.testing.assert_close(together.sums, said.sums)
    restarted = (
        shared(alone).follow(said, 0, generator()),
        shared(parted, 1, 2).follow(together, 0, generator()),
    )
    assert restarted[0] == restarted[1] > 0
    torch.testing.assert_close(parted.vectors, alone.vectors)


def test_which_codes_are_chosen_is_counted_at_its_position() -> None:
    book = shared(codebook())
    for position, code in ((0, 1), (100, 3)):
        book.follow(book.assigned(CONTENT, torch.full((4, 2, 2), code)), position, generator())
    assert book._usage.history().sum(0).tolist() == [0, 0, 0, 16, 0]


def test_two_workers_start_from_the_same_vectors_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = codebook()
    shared(alone).start_from(CONTENT, generator())
    books = [codebook(), codebook()]
    company(2, monkeypatch).ask(
        lambda rank: shared(books[rank], rank, 2).start_from(of_rank(CONTENT, rank), generator())
    )
    for book in books:
        assert torch.equal(book.vectors, alone.vectors)


def test_a_codebook_starts_on_what_is_finite() -> None:
    content = CONTENT.clone()
    content[1:] = torch.nan
    book = codebook()
    shared(book).start_from(content, generator())
    finite = content[0].flatten(1).T
    assert all((vector == finite).all(dim=1).any() for vector in book.vectors)
    before = copy.deepcopy(book.state_dict())
    shared(book).start_from(content[1:2].repeat(2, 1, 1, 1), generator())
    assert all(torch.equal(value, before[name]) for name, value in book.state_dict().items())
