"""What each baseline asks of its generators, on generators whose answer is known."""

import pytest
import torch
from torch import Tensor, nn

from baselines.config import GeneratorConfig
from baselines.networks import Generator, Generators
from training.stages.baselines.config import CUTConfig
from training.stages.baselines.objectives import CycleConsistency, PatchContrast
from training.stages.baselines.recipes import cut64

THREE = ("day", "dusk", "night")


class Shift(Generator):
    """Adds a number to its images instead of translating them."""

    def __init__(self, config: GeneratorConfig, by: float):
        super().__init__(config)
        self.by = by

    def with_features(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        return images + self.by, self.features(images)


def _generators(domains: tuple[str, ...], by: dict[str, float]) -> Generators:
    torch.manual_seed(0)
    config = GeneratorConfig(domains=domains, base_channels=8, num_res_blocks=2)
    generators = Generators(config)
    generators.directions = nn.ModuleDict(
        {name: Shift(config, by.get(name, 0.0)) for name in generators.directions}
    )
    return generators


def _images(domains: int) -> Tensor:
    return torch.rand(2 * domains, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def _patches() -> torch.Generator:
    return torch.Generator().manual_seed(2)


def test_generators_that_change_nothing_pay_nothing_for_cycles_and_identity() -> None:
    images = _images(2)
    made = CycleConsistency()(_generators(("a", "b"), {}), images, 1, _patches())
    assert {name: float(term) for name, term in made.terms.items()} == {"cycle": 0, "identity": 0}
    # The rows of a translation stand where those of its new domain do.
    assert torch.equal(made.translations, images.roll(2, 0))


def test_a_way_back_that_does_not_undo_the_way_there_is_paid() -> None:
    generators = _generators(("a", "b"), {"a->b": 0.25, "b->a": 0.5})
    made = CycleConsistency()(generators, _images(2), 1, _patches())
    assert float(made.terms["cycle"]) == pytest.approx(0.75)
    assert float(made.terms["identity"]) == pytest.approx((0.25 + 0.5) / 2)
    undone = _generators(("a", "b"), {"a->b": 0.25, "b->a": -0.25})
    made = CycleConsistency()(undone, _images(2), 1, _patches())
    assert float(made.terms["cycle"]) == pytest.approx(0, abs=1e-6)
    assert float(made.terms["identity"]) == pytest.approx(0.25)


@pytest.mark.parametrize("shift", [1, 2])
def test_with_three_domains_each_is_translated_from_the_one_so_many_places_on(shift: int) -> None:
    names = [f"{a}->{b}" for a in THREE for b in THREE if a != b]
    by = {name: number / 8 for number, name in enumerate(names)}
    images = _images(3)
    for objective in (CycleConsistency(), _contrast(_generators(THREE, by))):
        made = objective(_generators(THREE, by), images, shift, _patches())
        for index, rows in enumerate(made.translations.chunk(3)):
            source = (index + shift) % 3
            added = by[f"{THREE[source]}->{THREE[index]}"]
            torch.testing.assert_close(rows, images.chunk(3)[source] + added)


def _contrast(generators: Generators) -> PatchContrast:
    config = cut64(generators.config.domains)
    network = generators.config
    torch.manual_seed(3)
    return PatchContrast(CUTConfig(**{**dict(config), "network": network}), generators)


def test_patches_are_found_again_more_easily_where_nothing_has_changed() -> None:
    same, images = _generators(("a", "b"), {}), _images(2)
    contrast = _contrast(same)
    kept = contrast(same, images, 1, _patches()).terms
    # Each generator knows by its features where each patch is, if translations are the images.
    assert kept.keys() == {"patch_nce", "identity_nce"}
    other = Generators(same.config)
    changed = contrast(other, images, 1, _patches()).terms
    for name, term in kept.items():
        assert term < changed[name]


class Noted(nn.Module):
    """Heads that keep what they are to compare."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[list[Tensor], list[Tensor]]] = []

    def forward(
        self, queries: list[Tensor], keys: list[Tensor], generator: torch.Generator
    ) -> Tensor:
        self.seen.append((queries, keys))
        return torch.tensor(float(len(self.seen)))


def test_translations_are_compared_with_their_sources_and_kept_images_with_themselves() -> None:
    generators, images = _generators(("a", "b"), {"a->b": 0.5, "b->a": 0.5}), _images(2)
    contrast = _contrast(generators)
    noted = {name: Noted() for name in contrast.heads}
    contrast.heads = nn.ModuleDict(noted)
    terms = contrast(generators, images, 1, _patches()).terms
    assert {name: float(term) for name, term in terms.items()} == {
        "patch_nce": 1,
        "identity_nce": 2,
    }
    own = dict(zip("ab", images.chunk(2), strict=True))
    for name, heads in noted.items():
        source, target = name.split("->")
        for (queries, keys), shown in zip(heads.seen, (own[source], own[target]), strict=True):
            generator = generators.of(source, target)
            for found, wanted in ((keys, shown), (queries, shown + 0.5)):
                for one, other in zip(found, generator.features(wanted), strict=True):
                    torch.testing.assert_close(one, other)


def test_gradients_of_a_contrast_reach_the_generator_and_the_heads() -> None:
    config = GeneratorConfig(domains=("a", "b"), base_channels=8, num_res_blocks=2)
    generators = Generators(config)
    contrast = _contrast(generators)
    terms = contrast(generators, _images(2), 1, _patches()).terms
    torch.stack([*terms.values()]).sum().backward()
    for module in (generators, contrast):
        missing = [n for n, p in module.named_parameters() if p.grad is None or not p.grad.any()]
        assert missing == []
