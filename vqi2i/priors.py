"""The kinds of prior over tokens."""

from vqi2i.causal import CausalPrior
from vqi2i.config import NetworkConfig, PriorConfig
from vqi2i.masked import MaskedPrior

Prior = CausalPrior | MaskedPrior


def build_prior(config: PriorConfig, network: NetworkConfig) -> Prior:
    """An untrained prior over the tokens of a network."""
    size, domains = network.codebook_size, len(network.domains)
    if config.kind == "masked":
        return MaskedPrior(config, codebook_size=size, num_domains=domains)
    return CausalPrior(config, codebook_size=size, num_domains=domains, stride=network.stride)
