import pytest
import torch

from baselines.config import GeneratorConfig
from baselines.networks import Generator, Generators

SMALL = {"base_channels": 8, "num_res_blocks": 2}


@pytest.mark.parametrize(("patch", "multipliers"), [(1, (1,)), (2, (1, 2)), (2, (1, 2, 2))])
def test_a_translation_has_the_size_of_its_image(patch: int, multipliers: tuple[int, ...]) -> None:
    config = GeneratorConfig.model_validate(
        {"domains": ("a", "b"), "patch": patch, "channel_multipliers": multipliers, **SMALL}
    )
    generator, images = Generator(config), torch.rand(2, 3, 32, 48)
    made, features = generator.with_features(images)
    assert made.shape == images.shape
    assert [len(each[0]) for each in features] == [*generator.feature_channels]
    assert features[-1].shape[2:] == (32 // config.stride, 48 // config.stride)


def test_features_come_from_no_further_than_the_middle() -> None:
    generator = Generator(GeneratorConfig.model_validate({"domains": ("a", "b"), **SMALL}))
    images = torch.rand(1, 3, 16, 16)
    before = generator.features(images)
    for parameter in generator.rest.parameters():
        torch.nn.init.zeros_(parameter)
    for old, new in zip(before, generator.features(images), strict=True):
        assert torch.equal(old, new)


def test_there_is_a_generator_for_each_ordered_pair_of_domains() -> None:
    config = GeneratorConfig.model_validate({"domains": ("a", "a_b", "b-c"), **SMALL})
    generators = Generators(config)
    pairs = [(a, b) for a in config.domains for b in config.domains if a != b]
    assert len({id(generators.of(*pair)) for pair in pairs}) == 6
    images = torch.rand(1, 3, 16, 16)
    for pair in pairs:
        assert torch.equal(generators(images, *pair), generators.of(*pair)(images))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"domains": ("a", "a")}, "domains must differ"),
        ({"domains": ("a",)}, "at least 2"),
        ({"domains": ("a", "b>c")}, "a domain cannot be called"),
        ({"resolution": 66}, "resolution 66 is not a multiple of the stride 4"),
    ],
)
def test_networks_that_cannot_be_are_refused(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        GeneratorConfig.model_validate({"domains": ("a", "b"), **changes})
