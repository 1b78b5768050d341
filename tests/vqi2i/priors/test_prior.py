"""What priors of every kind share."""

import pytest
import torch

from tests.conftest import TINY
from vqi2i.config import PriorConfig
from vqi2i.networks.autoencoder import Autoencoder
from vqi2i.priors.prior import build_prior, embed_codes


def distances(rows: torch.Tensor) -> torch.Tensor:
    return torch.pdist(rows / rows.std())


@pytest.mark.parametrize("kind", ["causal", "masked"])
@pytest.mark.parametrize("quantizer", ["ema_restart", "fsq"])
def test_tokens_of_near_codes_begin_near_each_other(kind: str, quantizer: str) -> None:
    sizes = (
        {"codebook_size": 16, "embed_dim": 2, "fsq_levels": (4, 4)} if quantizer == "fsq" else {}
    )
    network = TINY.model_copy(update={"quantizer": quantizer, **sizes})
    torch.manual_seed(0)
    codes = Autoencoder(network).codebook.codes()
    positions = "rotary" if kind == "masked" else "learned"
    prior = build_prior(
        PriorConfig.model_validate({"kind": kind, "positions": positions, "width": 64}), network
    )
    others = prior.embedding.weight[len(codes) :].clone()
    embed_codes(prior, codes)
    for begun in (prior.embedding.weight[: len(codes)].detach(), prior.head.weight.detach()):
        assert begun.shape == (network.codebook_size, 64)
        assert 0.02 < begun.std() < 0.08
        pairs = torch.stack([distances(codes), distances(begun)])
        assert torch.corrcoef(pairs)[0, 1] > 0.8
    # domains, or what hidden tokens look like
    assert torch.equal(prior.embedding.weight[len(codes) :], others)
