"""The kinds of prior over tokens."""

import torch
from torch import Tensor

from vqi2i.config import NetworkConfig, PriorConfig
from vqi2i.priors.causal import CausalPrior
from vqi2i.priors.masked import MaskedPrior

Prior = CausalPrior | MaskedPrior


def build_prior(config: PriorConfig, network: NetworkConfig) -> Prior:
    """An untrained prior over the tokens of a network."""
    size, domains = network.codebook_size, len(network.domains)
    if config.kind == "masked":
        return MaskedPrior(config, codebook_size=size, num_domains=domains)
    return CausalPrior(config, codebook_size=size, num_domains=domains, stride=network.stride)


@torch.no_grad()
def embed_codes(prior: Prior, codes: Tensor, *, std: float = 0.04) -> None:
    """Let tokens begin as what they stand for.

    Tokens of similar codes have similar embeddings and logits.

    What training would have to find out about every token by itself, from few images, is there from
    the start.

    Args:
        prior: untrained.
        codes: the codebook's vectors (codebook_size, d); projected at random onto the prior's
            width.
        std: of the embeddings; hardly matters between .02 and .1 (docs/LOG.md).
    """
    # To unit variance, which the projection keeps: the embeddings have the deviation `std`.
    spread = codes - codes.mean(dim=0)
    spread = spread / spread.square().mean().sqrt()
    projection = torch.randn(codes.shape[1], prior.config.width) * codes.shape[1] ** -0.5
    embedded = (std * spread @ projection.to(spread)).to(prior.head.weight)
    # Rows behind the codes (domains, hidden tokens) stay as they were drawn.
    prior.embedding.weight[: len(codes)] = embedded
    prior.head.weight.copy_(embedded)
