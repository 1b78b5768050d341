"""Structure distance: is the content kept, whatever the colours? No truth is needed."""

import torch.nn.functional as F
from torch import Tensor


def structure_distance(maps: Tensor, others: Tensor) -> Tensor:
    """How differently two images resemble themselves (after Kolkin et al., 2019; Tumanyan et al.,
    2022, who compare features of other networks).

    Which places of an image resemble which others outlives a new style. The distance is the root
    mean square, over all pairs of places, of the difference of their cosine similarities.

    Args:
        maps: features of the sources (n, channels, h, w): `Features.maps`, stride 16 of Lite0.
        others: of their translations, the same shape.

    Returns:
        (n,) in [0, 2]; 0 for equal maps. Read it beside that of unrelated images.

    Raises:
        ValueError: the shapes differ.
    """
    if maps.shape != others.shape:
        raise ValueError(f"maps of shapes {tuple(maps.shape)} and {tuple(others.shape)}: equal?")
    difference = _self_similarity(maps) - _self_similarity(others)
    return difference.square().mean((1, 2)).sqrt()


def _self_similarity(maps: Tensor) -> Tensor:
    """Cosine similarities (n, h w, h w) of all pairs of places."""
    places = F.normalize(maps.flatten(2), dim=1)
    return places.transpose(1, 2) @ places
