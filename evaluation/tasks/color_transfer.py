"""Reinhard transfer: a translation that needs no model, to stand beside those that do."""

import cv2
import numpy as np

from imaging.codec import Images, Pixels


def reinhard(images: Images, exemplars: Images) -> Images:
    """Give images the mean and deviation of exemplars' Lab channels (Reinhard et al., 2001)."""
    return np.stack(
        [_transfer(image, exemplar) for image, exemplar in zip(images, exemplars, strict=True)]
    )


def _transfer(image: Pixels, exemplar: Pixels) -> Pixels:
    # float32 in [0, 1], for which OpenCV's L runs from 0 to 100 and a, b are not rounded
    source, target = (
        cv2.cvtColor(x.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) for x in (image, exemplar)
    )
    scale = target.std(axis=(0, 1)) / np.maximum(source.std(axis=(0, 1)), 1e-6)
    moved = (source - source.mean(axis=(0, 1))) * scale + target.mean(axis=(0, 1))
    rgb = cv2.cvtColor(moved.astype(np.float32), cv2.COLOR_LAB2RGB)
    return np.clip(np.rint(rgb * 255), 0, 255).astype(np.uint8)
