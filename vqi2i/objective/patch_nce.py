"""PatchNCE (Park et al., 2020): patches of translations resemble their own source patches."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PatchNCE(nn.Module):
    """Contrastive loss over the content encoder's own features, one small head per feature map.

    Args:
        channels: of each feature map.
        num_patches: positions compared per image and map.
        temperature: of the similarities.
        width: channels after the heads.
    """

    def __init__(
        self,
        channels: Sequence[int],
        *,
        num_patches: int = 256,
        temperature: float = 0.07,
        width: int = 256,
    ):
        super().__init__()
        self.num_patches = num_patches
        self.temperature = temperature
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(c, width), nn.ReLU(), nn.Linear(width, width)) for c in channels
        )

    def forward(
        self, queries: Sequence[Tensor], keys: Sequence[Tensor], generator: torch.Generator
    ) -> Tensor:
        """Mean cross-entropy of finding each patch's source among the patches of the same image.

        Args:
            queries: features (b, c, h, w) of translations.
            keys: features of the images that their content came from, in the same order; not
                trained by this loss.
            generator: draws the positions, the same ones for every image.
        """
        losses = []
        for head, query, key in zip(self.heads, queries, keys, strict=True):
            # (p,), p = num_patches or all positions of a small map
            positions = torch.randperm(query.shape[2] * query.shape[3], generator=generator)[
                : self.num_patches
            ]
            # The host goes on to the way back.
            positions = positions.to(query.device, non_blocking=True)
            # (b, c, h, w) to unit vectors (b, p, width)
            found, sought = (
                F.normalize(head(x.flatten(2)[:, :, positions].mT).float(), dim=-1)
                for x in (query, key.detach())
            )
            # (b, p, p): patch i of the translation with patch j of the source; i = j is right
            similarities = found @ sought.detach().mT / self.temperature
            own = torch.arange(len(positions), device=query.device).expand(len(query), -1)
            losses.append(F.cross_entropy(similarities.flatten(0, 1), own.flatten()))
        return torch.stack(losses).mean()
