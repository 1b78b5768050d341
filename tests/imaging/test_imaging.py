"""Bytes, pixels and tensors, there and back."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import imaging
from imaging import ImageError


def picture(height: int = 20, width: int = 30) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_png_keeps_every_pixel() -> None:
    assert np.array_equal(imaging.decode(imaging.encode(picture())), picture())


@pytest.mark.parametrize("image_format", ["jpeg", "webp"])
def test_lossy_formats_stay_close(image_format: str) -> None:
    smooth = np.repeat(np.linspace(0, 255, 30).astype(np.uint8)[None, :, None], 20, 0).repeat(3, 2)
    assert (
        np.abs(imaging.decode(imaging.encode(smooth, image_format)).astype(int) - smooth).mean() < 3
    )


def test_tensors_keep_every_pixel() -> None:
    tensor = imaging.to_tensor([picture(), picture()])
    assert tensor.shape == (2, 3, 20, 30)
    assert float(tensor.min()) == -1
    assert float(tensor.max()) == 1
    assert np.array_equal(imaging.to_pixels(tensor)[1], picture())


def test_overshoot_is_clipped() -> None:
    assert imaging.to_pixels(torch.full((1, 3, 2, 2), 1.7))[0].max() == 255


@pytest.mark.parametrize(
    "data", [b"", b"<html>", imaging.encode(picture())[:200]], ids=["empty", "text", "cut"]
)
def test_what_is_no_image_is_named(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "broken.png"
    file.write_bytes(data)
    with pytest.raises(ImageError, match=r"broken\.png"):
        imaging.read(file)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC picture"),
        (b"\xff\x0a\x2e\x03", "a JPEG XL picture"),
        (b"FUJIFILMCCD-RAW 0201", "a camera's raw file"),
        (b"8BPS\0\1", "a Photoshop document"),
    ],
)
def test_a_picture_that_cannot_be_read_is_named_as_what_it_is_with_the_remedy(
    data: bytes, kind: str, tmp_path: Path
) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(data + bytes(60))
    with pytest.raises(
        ImageError, match=rf"photo\.jpg: the file is {kind}, which cannot .*: convert it to JPEG"
    ):
        imaging.read(file)


def test_formats_that_an_installation_of_pillow_lacks_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = io.BytesIO()
    Image.fromarray(picture()).save(stream, "AVIF")
    assert imaging.decode(stream.getvalue()).shape == (20, 30, 3)
    monkeypatch.setattr("PIL.features.check", lambda name: name != "avif")
    with pytest.raises(
        ImageError, match="Pillow cannot decode AVIF: convert the file to JPEG"
    ) as raised:
        imaging.decode(stream.getvalue())
    assert raised.value.reason == "avif"


def test_unknown_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tiff"):
        imaging.encode(picture(), "tiff")
    with pytest.raises(ValueError, match=r"\.gif"):
        imaging.write(tmp_path / "a.gif", picture())


@pytest.mark.parametrize(("height", "width"), [(20, 30), (30, 20), (100, 31)])
def test_fit_is_a_square_and_resizing_keeps_the_aspect(height: int, width: int) -> None:
    assert imaging.fit(picture(height, width), 16).shape == (16, 16, 3)
    resized = imaging.resize_short_side(picture(height, width), 40)
    assert min(resized.shape[:2]) == 40
    assert abs(resized.shape[0] / resized.shape[1] - height / width) < 0.05


def test_a_crop_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="40x40 from an image of 30x20"):
        imaging.center_crop(picture(), 40, 40)


def test_a_grid_shows_every_image() -> None:
    sheet = imaging.grid(
        [np.full((4, 4, 3), value, np.uint8) for value in (10, 20, 30)], columns=2, gap=1
    )
    assert sheet.shape == (9, 9, 3)
    assert {10, 20, 30} <= set(np.unique(sheet).tolist())
    with pytest.raises(ValueError, match="at least one"):
        imaging.grid([], columns=2)
