"""Random crop, flip and colours that depend on the sample's key alone, not on the thread or what came before."""

import os
import random
import threading
from typing import Any

import numpy as np

from imaging.codec import Pixels


class Augmentation:
    """Cut a random `crop` x `crop` window, mirror it half of the time, vary its colours; safe for several threads.

    Args:
        crop: side of the window in pixels.
        flip: whether half of the windows are mirrored.
        jitter: how far brightness, contrast and saturation may go from 1, and four times how far hue from 0; 0 to 1.
    """

    def __init__(self, crop: int, *, flip: bool = True, jitter: float = 0.0) -> None:
        self._crop = crop
        self._flip = flip
        self._jitter = jitter
        self._thread = threading.local()  # an albumentations Compose carries state: one per thread

    def __call__(self, pixels: Pixels, out: Pixels, key: int, color_key: int | None = None) -> None:
        """Augment one image (h, w, 3) into `out`, uint8 (crop, crop, 3).

        Images with the same `key` are cut and mirrored alike; colours follow `color_key` and stay without one.
        """
        image = self._apply("geometry", pixels, key)
        if color_key is not None and self._jitter:
            image = self._apply("colors", image, color_key)
        np.copyto(out, image)

    def _apply(self, kind: str, pixels: Pixels, key: int) -> Pixels:
        compose = getattr(self._thread, kind, None)
        if compose is None:
            compose = self._build(kind)
            setattr(self._thread, kind, compose)
        # Without this, albumentations 2.0.8 repeats the same augmentations in every worker and epoch.
        compose.set_random_state(np.random.Generator(np.random.Philox(key=key)), random.Random(key))
        return compose(image=pixels)["image"]

    def _build(self, kind: str) -> Any:
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # importing it asks PyPI for news otherwise
        import albumentations as A

        if kind == "colors":
            near = (1 - self._jitter, 1 + self._jitter)
            hue = (-self._jitter / 4, self._jitter / 4)
            return A.Compose([A.ColorJitter(brightness=near, contrast=near, saturation=near, hue=hue, p=1)])
        steps: list[Any] = [A.RandomCrop(self._crop, self._crop)]
        return A.Compose([*steps, A.HorizontalFlip(p=0.5)] if self._flip else steps)
