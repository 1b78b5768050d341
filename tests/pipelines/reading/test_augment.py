import numpy as np
import pytest

from pipelines.reading.augment import Augmentation

PALETTE = np.random.default_rng(0).integers(40, 216, (6, 3), dtype=np.uint8)
MAP = PALETTE[np.random.default_rng(1).integers(0, 6, (40, 36))]


def _augmented(
    pixels: np.ndarray, key: int, color_key: int | None = None, *, jitter: float = 0.0
) -> np.ndarray:
    out = np.empty((24, 24, 3), np.uint8)
    Augmentation(24, jitter=jitter)(pixels, out, key, color_key)
    return out


def _colors(*images: np.ndarray) -> int:
    """Different colours, or combinations of colours at the same place."""
    return len(np.unique(np.concatenate(images, axis=-1).reshape(-1, 3 * len(images)), axis=0))


@pytest.mark.parametrize("key", range(8))
def test_colours_change_everywhere_alike_and_nothing_moves(key: int) -> None:
    plain, varied = _augmented(MAP, key), _augmented(MAP, key, 100 + key, jitter=0.4)
    assert not np.array_equal(plain, varied)
    assert _colors(plain, varied) == _colors(plain) == 6
    assert np.array_equal(varied, _augmented(MAP, key, 100 + key, jitter=0.4))
    assert not np.array_equal(varied, _augmented(MAP, key, 200 + key, jitter=0.4))
    assert _colors(_augmented(MAP, key + 1), varied) > 6  # another place would show


def test_the_same_key_cuts_and_mirrors_alike_whatever_was_done_before() -> None:
    augment = Augmentation(24)
    outs = np.empty((40, 24, 24, 3), np.uint8)
    for key, out in enumerate(outs):
        augment(MAP, out, key)
    assert all(np.array_equal(_augmented(MAP, key), outs[key]) for key in reversed(range(40)))
    windows = np.lib.stride_tricks.sliding_window_view(MAP, (24, 24, 3)).reshape(-1, 24, 24, 3)
    straight = {window.tobytes() for window in windows}
    mirrored = {window[:, ::-1].tobytes() for window in windows}
    kinds = [out.tobytes() in straight for out in outs]
    assert all(
        straight or out.tobytes() in mirrored for straight, out in zip(kinds, outs, strict=True)
    )
    assert 10 < sum(kinds) < 30
    assert len({out.tobytes() for out in outs}) > 30


def test_the_draws_are_those_of_an_albumentations_pipeline() -> None:
    import random

    import albumentations as A

    pipeline = A.Compose([A.RandomCrop(24, 24), A.HorizontalFlip(p=0.5)])
    for key in range(20):
        pipeline.set_random_state(np.random.default_rng(key), random.Random(key))
        assert np.array_equal(pipeline(image=MAP)["image"], _augmented(MAP, key))


def test_colours_vary_as_far_as_asked_to_both_sides() -> None:
    import random

    import albumentations as A

    near = (0.6, 1.4)
    pipeline = A.Compose(
        [A.ColorJitter(brightness=near, contrast=near, saturation=near, hue=(-0.1, 0.1), p=1)]
    )
    for key in range(20):
        pipeline.set_random_state(
            np.random.Generator(np.random.Philox(key=key)), random.Random(key)
        )
        plain, varied = _augmented(MAP, 3), _augmented(MAP, 3, key, jitter=0.4)
        assert np.array_equal(pipeline(image=plain)["image"], varied)
    gray = np.full((24, 24, 3), 100, np.uint8)
    lights = [int(_augmented(gray, 0, key, jitter=0.4)[0, 0, 0]) for key in range(60)]
    assert 58 <= min(lights) < 75
    assert 125 < max(lights) <= 142
