"""What ties a translation to its source: the terms of each baseline's objective but for the
adversarial one.
"""

from collections.abc import Iterator
from itertools import permutations
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.networks import Generators, direction
from training.stages.baselines.config import BaselineConfig, CUTConfig, CycleGANConfig
from vqi2i.networks.domain_rows import partners
from vqi2i.objective.patch_nce import PatchNCE


class Made(NamedTuple):
    """What the generators make of a batch, and what that costs."""

    translations: Tensor  # (n, 3, h, w) row i: in the domain of image i, from another domain
    terms: dict[str, Tensor]  # unweighted means over all rows


class Objective(nn.Module):
    """The terms of a baseline; it may have weights of its own, which learn with the generators."""

    def forward(
        self, generators: Generators, images: Tensor, shift: int, patches: torch.Generator
    ) -> Made:
        """Translate a batch and say what that costs.

        Args:
            generators: of all directions; those from the domain `shift` places on are taken.
            images: (n, 3, h, w), rows ordered domain by domain.
            shift: domains from each image's own to the one that its translation comes from.
            patches: draws those that are compared.
        """
        raise NotImplementedError


class CycleConsistency(Objective):
    """CycleGAN (Zhu et al., 2017): there and back is the image again."""

    def forward(
        self, generators: Generators, images: Tensor, shift: int, patches: torch.Generator
    ) -> Made:
        """Translate there and back; images of a generator's target domain are to stay."""
        domains = generators.config.domains
        sources = partners(images, len(domains), shift)
        rows: list[tuple[Tensor, ...]] = []
        for source, target, shown in _by_direction(domains, shift, sources, images):
            made, kept = generators(shown, source, target).chunk(2)
            rows.append((made, kept, generators(made, target, source)))
        translations, kept, back = (torch.cat(each) for each in zip(*rows, strict=True))
        # |G_ba(G_ab(x)) - x| and |G_ab(y) - y|
        terms = {"cycle": F.l1_loss(back, sources), "identity": F.l1_loss(kept, images)}
        return Made(translations, terms)


class PatchContrast(Objective):
    """CUT (Park et al., 2020): patches of a translation resemble their own source patches.

    Args:
        config: how they are compared.
        generators: whose features they are.
    """

    def __init__(self, config: CUTConfig, generators: Generators):
        super().__init__()
        self.heads = nn.ModuleDict(
            {
                direction(a, b): PatchNCE(
                    generators.of(a, b).feature_channels, **config.patch_nce.model_dump()
                )
                for a, b in permutations(config.domains, 2)
            }
        )

    def forward(
        self, generators: Generators, images: Tensor, shift: int, patches: torch.Generator
    ) -> Made:
        """Translate, and compare features; so are those of images of the target domain."""
        domains = generators.config.domains
        sources = partners(images, len(domains), shift)
        translations, contrasts, same = [], [], []
        for source, target, shown in _by_direction(domains, shift, sources, images):
            generator, heads = generators.of(source, target), self.heads[direction(source, target)]
            made, keys = generator.with_features(shown)
            queries = generator.features(made)
            # of the first half of the rows, then of the second
            for half, found in enumerate((contrasts, same)):
                halves = [
                    [maps.chunk(2)[half] for maps in features] for features in (queries, keys)
                ]
                found.append(heads(*halves, patches))
            translations.append(made.chunk(2)[0])
        terms = {
            "patch_nce": torch.stack(contrasts).mean(),
            "identity_nce": torch.stack(same).mean(),
        }
        return Made(torch.cat(translations), terms)


def _by_direction(
    domains: tuple[str, ...], shift: int, sources: Tensor, images: Tensor
) -> Iterator[tuple[str, str, Tensor]]:
    """For each domain as target, its source domain and 2b images: b of the source, then b of the
    target.
    """
    rows = zip(sources.chunk(len(domains)), images.chunk(len(domains)), strict=True)
    for index, pair in enumerate(rows):
        yield domains[(index + shift) % len(domains)], domains[index], torch.cat(pair)


def make_objective(config: BaselineConfig, generators: Generators) -> Objective:
    """The objective of a method."""
    if isinstance(config, CUTConfig):
        return PatchContrast(config, generators)
    assert isinstance(config, CycleGANConfig)
    return CycleConsistency()
