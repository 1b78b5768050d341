"""Random convolutions: the same everywhere, and honest about what they can see."""

import torch

from evaluation.metrics.kid import kid, kid_floor
from evaluation.networks.random_convolutions import RandomConvolutions


def pictures(count: int, bright: float = 0.0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(count)
    return torch.rand(count, 3, 32, 32, generator=draw) * 0.5 + bright


def test_the_seed_alone_decides_the_features():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (RandomConvolutions(seed).features(pictures(40)) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other)
    assert one.shape == (40, 512)
    assert torch.equal(torch.get_rng_state(), before)


def test_images_are_seen_one_by_one():
    network, images = RandomConvolutions(), pictures(40)
    alone = network.features(images[35:36])
    torch.testing.assert_close(network.features(images)[35:36], alone)


def test_other_colours_are_seen():
    network = RandomConvolutions()
    real, same, brighter = (
        network.features(images) for images in (pictures(60), pictures(30), pictures(30, 0.2))
    )
    floor = kid_floor(real, 30)
    assert floor.deviations(kid(real[:30], brighter)) > 10
    assert abs(floor.deviations(kid(real[:30], same))) < 4
