"""Structure distance: blind to what styles change, awake to what contents are."""

import numpy as np
import pytest
import torch

from evaluation.metrics.structure import structure_distance
from evaluation.networks.efficientnet_lite import EfficientNetLite
from evaluation.tasks.color_transfer import reinhard
from imaging import to_tensor
from pipelines.synthetic.dataset import DOMAINS, draw_content, draw_style, render

A, B = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])


def row(*places: torch.Tensor) -> torch.Tensor:
    """A map (1, 2, 1, places)."""
    return torch.stack(places, 1)[None, :, None]


def test_it_is_zero_for_the_same_layout_of_other_features():
    assert structure_distance(row(A, A, B), row(3 * B, B, A)).item() == pytest.approx(0)


def test_it_is_the_root_mean_square_of_similarities_that_changed():
    # Of nine pairs of places the four between the last one and the others change from 0 to 1.
    found = structure_distance(row(A, A, B), row(A, A, A)).item()
    assert found == pytest.approx((4 / 9) ** 0.5)


def test_each_image_has_its_own():
    maps = torch.cat([row(A, A, B), row(A, B, B)])
    found = structure_distance(maps, row(A, A, B).expand(2, -1, -1, -1))
    assert found.shape == (2,)
    assert found[0] < 1e-3 < found[1]


def test_maps_of_two_shapes_do_not_compare():
    with pytest.raises(ValueError, match="equal"):
        structure_distance(row(A, B), row(A, A, B))


def test_a_recoloured_picture_is_nearer_than_any_other_picture(lite0: EfficientNetLite):
    rng = np.random.default_rng(0)
    pictures, exemplars = (
        np.stack(
            [
                render(draw_content(rng), draw_style(rng, domain), height=64, width=64)
                for _ in range(6)
            ]
        )
        for domain in DOMAINS
    )
    source = lite0.extract(to_tensor(pictures)).maps
    recoloured = lite0.extract(to_tensor(reinhard(pictures, exemplars))).maps
    own = structure_distance(source, recoloured)
    for shift in range(1, 6):
        assert (own < structure_distance(source, recoloured.roll(shift, 0))).all()
