"""Random crop, flip and colours that depend on the sample's key alone, not on the thread or what
came before.
"""

import os
import random
import threading
from typing import Any

import cv2
import numpy as np

from imaging.codec import Pixels


class Augmentation:
    """Cut a random `crop` x `crop` window, mirror it half of the time, vary its colours; safe for
    several threads.

    Args:
        crop: side of the window in pixels.
        flip: whether half of the windows are mirrored.
        jitter: how far brightness, contrast and saturation may go from 1, and four times how far
            hue from 0; 0 to 1.
    """

    def __init__(self, crop: int, *, flip: bool = True, jitter: float = 0.0) -> None:
        self._crop = crop
        self._flip = flip
        self._jitter = jitter
        self._thread = threading.local()  # an albumentations Compose carries state: one per thread

    @property
    def varies_colors(self) -> bool:
        """Whether colours are changed at all."""
        return self._jitter > 0

    def __call__(self, pixels: Pixels, out: Pixels, key: int, color_key: int | None = None) -> None:
        """Augment one image (h, w, 3) into `out`, uint8 (crop, crop, 3).

        Images with the same `key` are cut and mirrored alike; colours follow `color_key` and stay
        without one.
        """
        own = self._thread
        if not hasattr(own, "draws"):
            own.draws, own.crop, own.flip, own.colors = self._build()
        # Without seeds of our own, albumentations 2.0.8 repeats the same augmentations in every
        # worker and epoch.
        own.draws.seed(key)
        own.draws.random()  # the draw of a Compose, which decides whether anything is done
        left, top, right, bottom = own.crop.get_params_dependent_on_data(
            {"shape": pixels.shape}, {}
        )["crop_coords"]
        # The steps draw; what they drew is done in one pass, straight into the batch: half the time
        # of their own way.
        if self._flip and own.flip.should_apply():
            cv2.flip(pixels[top:bottom, left:right], 1, dst=out)
        else:
            np.copyto(out, pixels[top:bottom, left:right])
        if color_key is not None and self.varies_colors:
            own.colors.set_random_state(
                np.random.Generator(np.random.Philox(key=color_key)), random.Random(color_key)
            )
            np.copyto(out, own.colors(image=out)["image"])

    def _build(self) -> tuple[random.Random, Any, Any, Any]:
        # importing it asks PyPI for news otherwise
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
        import albumentations as A

        draws = random.Random()
        no_generator: Any = None  # they draw from Python's alone, or fail at once
        crop, flip = A.RandomCrop(self._crop, self._crop), A.HorizontalFlip(p=0.5)
        for step in (crop, flip):
            step.set_random_state(no_generator, draws)
        near = (1 - self._jitter, 1 + self._jitter)
        hue = (-self._jitter / 4, self._jitter / 4)
        colors = A.Compose(
            [A.ColorJitter(brightness=near, contrast=near, saturation=near, hue=hue, p=1)]
        )
        return draws, crop, flip, colors
