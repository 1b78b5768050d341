"""What networks say of real images is kept; what is not installed is named."""

from pathlib import Path

import numpy as np
import pytest

from evaluation.networks.efficientnet_lite import EfficientNetLite
from evaluation.networks.sight import Networks, Seen


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)


def same(a: Seen, b: Seen) -> bool:
    return all((a.features[name] == b.features[name]).all() for name in a.features | b.features)


def test_real_images_are_looked_at_once(
    images: np.ndarray, tmp_path: Path, no_extra: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Networks(cache=tmp_path).see_real(images)
    again = Networks(cache=tmp_path)
    monkeypatch.setattr(again, "see", None)
    assert same(again.see_real(images.copy()), first)


def test_other_pixels_are_other_images(images: np.ndarray, tmp_path: Path, no_extra: None) -> None:
    networks = Networks(cache=tmp_path)
    first = networks.see_real(images)
    images[0, 0, 0, 0] ^= 1
    assert not same(networks.see_real(images), first)


def test_a_file_that_was_cut_short_is_made_again(
    images: np.ndarray, tmp_path: Path, no_extra: None
) -> None:
    networks = Networks(cache=tmp_path)
    first = networks.see_real(images)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert same(networks.see_real(images), first)
    assert path.read_bytes() == whole


def test_without_the_extra_random_convolutions_look(images: np.ndarray, no_extra: None) -> None:
    networks = Networks()
    assert set(networks.see(images).features) == {"random"}
    assert networks.second_opinion(images) is None
    assert len(networks.gaps) == 3  # Lite0, ST-LPIPS, Lite2
    assert all("pip install 'vqi2i[metrics]'" in gap for gap in networks.gaps)


def test_what_was_kept_lies_in_memory_as_what_was_seen(
    images: np.ndarray, tmp_path: Path, lite0: EfficientNetLite
) -> None:
    networks = Networks(cache=tmp_path)
    seen, kept = networks.see_real(images), networks.see_real(images)
    assert seen.maps is not None
    assert kept.maps is not None
    # sums over another order would differ in their last bits
    assert seen.maps.strides == kept.maps.strides
    assert all(each.flags.c_contiguous for each in seen.features.values())


def test_a_second_opinion_that_is_installed_later_is_another_evaluation(
    no_extra: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = Networks()
    with_it = Networks()
    monkeypatch.setattr(with_it, "lite2", object())
    assert with_it.identity != without.identity
    assert Networks().identity == without.identity
