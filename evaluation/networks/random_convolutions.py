"""Features of a network that has learned nothing: what is left where no weights are installed."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

WIDTHS = (3, 64, 128, 256)
BATCH_SIZE = 32


class RandomConvolutions:
    """Three seeded convolutions of stride 2 with ReLU; a fallback without the metrics extra.

    KID on them tells domains apart by colour and coarse texture. It does **not** see blur, noise
    or JPEG, so a good figure says little of quality: name it whenever it stands for KID-Lite0.

    Args:
        seed: of the weights; features of two seeds do not compare.
    """

    name = "random convolutions"

    def __init__(self, seed: int = 0):
        draw = torch.Generator().manual_seed(seed)
        self.weights = [  # variances of Kaiming's rule keep the scale through ReLU
            torch.randn(after, before, 3, 3, generator=draw) * (2 / (9 * before)) ** 0.5
            for before, after in pairwise(WIDTHS)
        ]

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Mean and deviation over places of the last maps.

        Args:
            images: (n, 3, h, w) in [-1, 1], seen at their own size; done in batches of 32.

        Returns:
            (n, 512), float32 on the CPU.
        """
        return torch.cat([self._batch(batch.cpu()) for batch in images.split(BATCH_SIZE)])

    def _batch(self, x: Tensor) -> Tensor:
        for weight in self.weights:
            x = F.relu(F.conv2d(x, weight, stride=2, padding=1))
        return torch.cat([x.mean((2, 3)), x.std((2, 3))], dim=1)
