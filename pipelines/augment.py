"""Random crop and flip whose result depends on the sample's key alone, not on the thread or what came before."""

import os
import random
import threading
from typing import Any

import numpy as np

from imaging.codec import Pixels


class Augmentation:
    """Cut a random `crop` x `crop` window and mirror it half of the time; safe to call from several threads."""

    def __init__(self, crop: int, *, flip: bool = True) -> None:
        self._crop = crop
        self._flip = flip
        self._thread = threading.local()  # an albumentations Compose carries state: one per thread

    def __call__(self, pixels: Pixels, key: int) -> Pixels:
        """Augment one image (h, w, 3) with the randomness of `key`: uint8 (crop, crop, 3)."""
        compose = getattr(self._thread, "compose", None)
        if compose is None:
            compose = self._thread.compose = self._build()
        # Without this, albumentations 2.0.8 repeats the same augmentations in every worker and epoch.
        compose.set_random_state(np.random.Generator(np.random.Philox(key=key)), random.Random(key))
        return compose(image=pixels)["image"]

    def _build(self) -> Any:
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # importing it asks PyPI for news otherwise
        import albumentations as A

        steps: list[Any] = [A.RandomCrop(self._crop, self._crop)]
        return A.Compose([*steps, A.HorizontalFlip(p=0.5)] if self._flip else steps)
