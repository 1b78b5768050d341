"""A folder of everything that people's image folders hold, and what should become of each file."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageCms, TiffImagePlugin

import imaging

HEIGHT, WIDTH = 48, 64
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


class Corpus(NamedTuple):
    """What a build of `folder` with short sides of HEIGHT must come to, by source."""

    folder: Path
    shown: dict[str, np.ndarray]  # pixels in a shard, about
    copied: dict[str, bytes]  # bytes in a shard
    rejected: dict[str, str]  # reasons


def picture(name: str, channels: int = 3) -> np.ndarray:
    """Smooth colours that are different for each name, so that lossy formats stay close to them."""
    coarse = np.random.default_rng(zlib.crc32(name.encode())).integers(
        20, 236, (3, 4, channels), dtype=np.uint8
    )
    return cv2.resize(coarse, (WIDTH, HEIGHT)).reshape(HEIGHT, WIDTH, channels)


def save(image: Image.Image | np.ndarray, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(
        stream, kind, **options
    )
    return stream.getvalue()


def build(folder: Path) -> Corpus:
    """Write the files; none has the bytes of another."""
    corpus = Corpus(folder, {}, {}, {})
    folder.mkdir(parents=True)
    for write in (
        _no_images,
        _unreadable,
        _cut,
        _damaged,
        _bombs,
        _odd_pixels,
        _animated,
        _shapes,
        _odd_names,
        _odd_files,
        _turned,
    ):
        write(corpus)
    return corpus


def _reject(corpus: Corpus, source: str, data: bytes, reason: str) -> None:
    (corpus.folder / source).write_bytes(data)
    corpus.rejected[source] = reason


def _show(corpus: Corpus, source: str, data: bytes, pixels: np.ndarray) -> None:
    path = corpus.folder / source
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    corpus.shown[source] = pixels


def _no_images(corpus: Corpus) -> None:
    _reject(corpus, "zero.jpg", b"", "empty")
    _reject(corpus, "page.jpg", b"<!DOCTYPE html><html>404</html>", "not_an_image")
    _reject(corpus, "drawing.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not_an_image")
    _reject(corpus, "noise.jpeg", np.random.default_rng(0).bytes(5000), "not_an_image")
    _reject(corpus, "paper.tif", b"%!PS-Adobe-3.0 EPSF-3.0\n", "not_an_image")
    _reject(corpus, "Thumbs.db", b"\xd0\xcf\x11\xe0" + bytes(100), "other_file")
    _reject(corpus, "notes.txt", b"nothing to see", "other_file")
    _reject(corpus, "truth.json", b"{}", "other_file")
    _reject(corpus, ".hidden.jpg", save(picture("hidden"), "JPEG"), "hidden")
    _reject(corpus, "._finder.jpg", b"\0\5\26\7", "hidden")


def _unreadable(corpus: Corpus) -> None:
    """Pictures as phones, cameras and web servers make them, which nothing here can decode."""
    avif = save(picture("avif"), "AVIF")
    _reject(corpus, "IMG_1.HEIC", avif.replace(b"avif", b"heic", 1), "heic")
    _reject(corpus, "IMG_2.jpg", b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(50), "heic")
    _reject(corpus, "IMG_3.heif", b"\0\0\0\x14ftypmif1\0\0\0\0miaf" + bytes(50), "heif")
    _reject(corpus, "no_heic.heic", b"nothing of the kind", "not_an_image")
    _reject(corpus, "a.jxl", b"\xff\x0a" + bytes(50), "jpeg_xl")
    _reject(corpus, "b", b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(50), "jpeg_xl")
    _reject(corpus, "IMG_4.CR3", b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "camera_raw")
    _reject(corpus, "IMG_5.CR2", b"II*\0\x10\0\0\0CR\2\0" + bytes(50), "camera_raw")
    dng, preview = TiffImagePlugin.ImageFileDirectory_v2(), TiffImagePlugin.ImageFileDirectory_v2()
    dng[50706], preview[254] = b"\1\4\0\0", 1
    _reject(corpus, "IMG_6.dng", save(picture("dng"), "TIFF", tiffinfo=dng), "camera_raw")
    _reject(corpus, "IMG_7.NEF", save(picture("preview"), "TIFF", tiffinfo=preview), "camera_raw")
    _reject(corpus, "layers.psd", b"8BPS\0\1" + bytes(50), "photoshop")
    _reject(corpus, "IMG_8.MOV", b"\0\0\0\x14ftypqt  \0\0\0\0qt  " + bytes(50), "other_file")
    _reject(corpus, "light.avif", _with_transfer(avif, 16), "unsupported")


def _with_transfer(avif: bytes, function: int) -> bytes:
    """An AVIF file whose numbers mean other amounts of light."""
    place = avif.index(b"colrnclx") + 10
    return avif[:place] + function.to_bytes(2, "big") + avif[place + 2 :]


def _cut(corpus: Corpus) -> None:
    for kind, points in {
        "JPEG": (4, 30, 300, 0.5, 0.9, -20, -2, -1),
        "PNG": (12, 30, 0.5, -20, -12, -4, -1),
        "WEBP": (25, 0.5, -1),
        "BMP": (20, 0.5, -1),
        "TIFF": (4, 0.5, -1),
        "GIF": (14, 0.5, 0.9),
        "AVIF": (30, 0.5, 0.9, -1),
        "JPEG2000": (30, 0.5, 0.9, -1),
    }.items():
        for point in points:
            name = f"cut_{kind}_{point}.{kind.lower()}"
            data = save(picture(name), kind)
            at = int(point * len(data)) if isinstance(point, float) else point
            _reject(corpus, name, data[:at], "damaged")


def _damaged(corpus: Corpus) -> None:
    for name, options in {
        "garbage.jpg": {},
        "garbage_progressive.jpg": {"progressive": True},
    }.items():
        data = bytearray(save(picture(name), "JPEG", quality=100, **options))
        start = data.index(b"\xff\xda") + 200  # inside the first scan
        data[start : start + 300] = np.random.default_rng(1).bytes(300)
        _reject(corpus, name, bytes(data), "damaged")
    for name, chunk in {
        "crc_header.png": b"IHDR",
        "crc_data.png": b"IDAT",
        "crc_end.png": b"IEND",
    }.items():
        data = save(picture(name), "PNG")
        start = data.index(chunk)
        length = int.from_bytes(data[start - 4 : start], "big")
        end = start + 4 + length
        crc = (int.from_bytes(data[end : end + 4], "big") ^ 1).to_bytes(4, "big")
        _reject(corpus, name, data[:end] + crc + data[end + 4 :], "damaged")
    _reject(corpus, "only_header.jpg", b"\xff\xd8\xff\xe0" + bytes(40), "damaged")


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _png(width: int, height: int, body: bytes, *others: bytes) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + b"".join(others)
        + _chunk(b"IDAT", body)
        + _chunk(b"IEND", b"")
    )


def _deflated_zeros(count: int) -> bytes:
    packer = zlib.compressobj(9)
    sizes = [1 << 20] * (count >> 20) + [count & (1 << 20) - 1]
    return b"".join(packer.compress(bytes(size)) for size in sizes) + packer.flush()


def _bombs(corpus: Corpus) -> None:
    _reject(corpus, "bomb_header.png", _png(60000, 60000, zlib.compress(b"")), "too_large")
    _reject(corpus, "bomb_content.png", _png(10000, 10000, _deflated_zeros(100 << 20)), "too_large")
    _reject(corpus, "bomb_200.png", _png(20000, 10000, zlib.compress(b"1")), "too_large")
    profile = _chunk(b"iCCP", b"icc\0\0" + _deflated_zeros(300 << 20))
    _reject(
        corpus, "bomb_profile.png", _png(64, 48, zlib.compress(bytes(65 * 48)), profile), "damaged"
    )
    rows = _png(64, 48, _deflated_zeros(300 << 20))  # far more of them than the header promises
    _reject(corpus, "bomb_rows.png", rows, "damaged")
    data = save(picture("bomb"), "JPEG")
    frame = data.index(b"\xff\xc0")
    _reject(
        corpus, "bomb.jpg", data[: frame + 5] + b"\xff\xdc\xff\xdc" + data[frame + 9 :], "too_large"
    )
    data = save(picture("bomb_jp2"), "JPEG2000")
    size = data.index(b"ihdr") + 4
    _reject(
        corpus,
        "bomb.jp2",
        data[:size] + struct.pack(">II", 7000, 7000) + data[size + 8 :],
        "too_large",
    )
    canvas = b"RIFF\x30\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0" + b"\xfe\x3f\0\xfe\x3f\0" + bytes(20)
    _reject(corpus, "bomb.webp", canvas, "too_large")
    with (corpus.folder / "endless.jpg").open("wb") as stream:
        stream.truncate(20 << 30)  # a hole: it takes no space
    corpus.rejected["endless.jpg"] = "too_large"
    _show(corpus, "huge.png", _png(7000, 7000, _deflated_zeros(7001 * 7000)), np.zeros((48, 48, 3)))
    clear = np.zeros((7000, 7000, 4), np.uint8)
    clear[..., 2] = 9  # blue that cannot be seen
    data = cv2.imencode(".png", clear, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
    _show(corpus, "huge_clear.png", data, np.full((48, 48, 3), 255))


def _odd_pixels(corpus: Corpus) -> None:
    for name in ("rgb.png", "rgb.bmp", "rgb.tiff", "rgb.webp", "rgb.avif"):
        _show(corpus, name, save(picture(name), name.partition(".")[2]), picture(name))
    for name, options in {"rgb.jp2": {}, "rgb.j2k": {"no_jp2": True}}.items():
        _show(corpus, name, save(picture(name), "JPEG2000", **options), picture(name))
    _show(corpus, "lzw.tif", save(picture("lzw"), "TIFF", compression="tiff_lzw"), picture("lzw"))
    for name, options in {"plain.jpg": {}, "subsampled.jpg": {"subsampling": 2}}.items():
        data = save(picture(name), "JPEG", quality=90, **options)
        (corpus.folder / name).write_bytes(data)
        corpus.copied[name] = data
    _show(
        corpus,
        "progressive.jpg",
        save(picture("progressive"), "JPEG", progressive=True),
        picture("progressive"),
    )
    _show(
        corpus,
        "trailing.jpg",
        save(picture("trailing"), "JPEG") + b"\0moov" * 99,
        picture("trailing"),
    )
    first, second = Image.fromarray(picture("first")), Image.fromarray(picture("second"))
    _show(
        corpus,
        "stereo.jpg",
        save(first, "MPO", save_all=True, append_images=[second]),
        picture("first"),
    )
    for name in ("gray.jpg", "gray.png", "gray.gif", "gray.avif", "gray.jp2"):
        gray = picture(name, 1)
        kind = {"jpg": "JPEG", "jp2": "JPEG2000"}.get(
            name.partition(".")[2], name.partition(".")[2]
        )
        _show(corpus, name, save(gray[..., 0], kind), gray.repeat(3, 2))
    bits = picture("bits", 1)[..., 0] > 128
    _show(
        corpus,
        "bits.png",
        save(Image.fromarray(bits), "PNG"),
        np.repeat(bits[..., None] * 255, 3, 2),
    )
    for name in ("palette.png", "palette.gif"):
        palette = Image.fromarray(picture(name)).quantize(200)
        _show(corpus, name, save(palette, name.partition(".")[2]), np.array(palette.convert("RGB")))
    _alpha(corpus)
    _deep(corpus)
    cmyk = Image.fromarray(picture("cmyk")).convert("CMYK")
    _show(corpus, "cmyk.jpg", save(cmyk, "JPEG", quality=95), picture("cmyk"))
    _show(
        corpus,
        "cmyk.tif",
        save(Image.fromarray(picture("cmyk2")).convert("CMYK"), "TIFF"),
        picture("cmyk2"),
    )
    _profiles(corpus)
    for name, mode in {"float.tif": "F", "integer.tif": "I"}.items():
        _reject(
            corpus,
            name,
            save(Image.fromarray(picture(name, 1)[..., 0]).convert(mode), "TIFF"),
            "unsupported",
        )
    data = cv2.imencode(".tiff", picture("float_rgb").astype(np.float32))[1].tobytes()
    _reject(corpus, "float_rgb.tiff", data, "unsupported")


def _alpha(corpus: Corpus) -> None:
    for name, mode in {
        "rgba.png": "RGBA",
        "rgba.webp": "RGBA",
        "la.png": "LA",
        "rgba.tiff": "RGBA",
        "rgba.avif": "RGBA",
        "rgba.jp2": "RGBA",
        "la.jp2": "LA",
    }.items():
        colors = picture(name, 3 if mode == "RGBA" else 1)
        alpha = picture(name + "alpha", 1)
        opaque = alpha / 255
        shown = (colors * opaque + 255 * (1 - opaque)) * np.ones(3)
        options = {"lossless": True, "exact": True} if name.endswith("webp") else {}
        kind = {"jp2": "JPEG2000"}.get(name.partition(".")[2], name.partition(".")[2])
        data = save(Image.fromarray(np.concatenate([colors, alpha], -1)), kind, **options)
        _show(corpus, name, data, shown)
    palette = Image.fromarray(picture("holes")).quantize(16)
    indices = np.array(palette)
    shown = np.where((indices == 3)[..., None], 255, np.array(palette.convert("RGB")))
    _show(corpus, "holes.png", save(palette, "PNG", transparency=3), shown)


def _deep(corpus: Corpus) -> None:
    for name, channels in {
        "deep_gray.png": 1,
        "deep_rgb.png": 3,
        "deep.tiff": 3,
        "deep_gray.tiff": 1,
    }.items():
        deep = (picture(name, channels).astype(np.uint16) * 257)[..., ::-1]
        data = cv2.imencode("." + name.partition(".")[2], deep)[1].tobytes()
        _show(corpus, name, data, picture(name, channels) * np.ones(3))
    deep = Image.fromarray(picture("deep.jp2", 1)[..., 0].astype(np.uint16) * 257)
    _show(corpus, "deep.jp2", save(deep, "JPEG2000"), picture("deep.jp2", 1) * np.ones(3))
    deep = (
        np.concatenate([picture("deep_clear")[..., ::-1], picture("clear", 1)], -1).astype(
            np.uint16
        )
        * 257
    )
    opaque = picture("clear", 1) / 255
    data = cv2.imencode(".png", deep)[1].tobytes()
    _show(corpus, "deep_clear.png", data, picture("deep_clear") * opaque + 255 * (1 - opaque))


def _profiles(corpus: Corpus) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = (
        srgb.replace(b"rXYZ", b"????", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"????", b"bXYZ", 1)
    )
    for name in ("profile.jpg", "profile.png", "profile.avif"):
        kind = {"jpg": "JPEG"}.get(name.partition(".")[2], name.partition(".")[2])
        _show(
            corpus, name, save(picture(name), kind, icc_profile=swapped), picture(name)[..., ::-1]
        )
    data = _with_jp2_profile(save(picture("profile.jp2"), "JPEG2000"), swapped)
    _show(corpus, "profile.jp2", data, picture("profile.jp2")[..., ::-1])
    _show(corpus, "srgb.jpg", save(picture("srgb"), "JPEG", icc_profile=srgb), picture("srgb"))
    _show(
        corpus,
        "bad_profile.jpg",
        save(picture("bad"), "JPEG", icc_profile=b"no profile" * 20),
        picture("bad"),
    )


def _with_jp2_profile(data: bytes, profile: bytes) -> bytes:
    """A JPEG 2000 file whose colours are given by an ICC profile instead of by a number."""
    header = data.index(b"jp2h") - 4
    colour = data.index(b"colr") - 4
    length, old = (int.from_bytes(data[place : place + 4], "big") for place in (header, colour))
    new = struct.pack(">I4sBBB", 11 + len(profile), b"colr", 2, 0, 0) + profile
    inside = data[header + 4 : colour] + new + data[colour + old : header + length]
    return data[:header] + struct.pack(">I", len(inside) + 4) + inside + data[header + length :]


def _animated(corpus: Corpus) -> None:
    for kind in ("GIF", "WEBP", "PNG", "TIFF", "AVIF"):
        frames = [Image.fromarray(picture(f"{kind}{number}")) for number in range(3)]
        data = save(frames[0], kind, save_all=True, append_images=frames[1:])
        _reject(corpus, f"animated.{kind.lower()}", data, "animated")


def _shapes(corpus: Corpus) -> None:
    _reject(corpus, "dot.png", save(np.full((1, 1, 3), 7, np.uint8), "PNG"), "too_small")
    _reject(corpus, "icon.png", save(picture("icon")[:15, :15], "PNG"), "too_small")
    _reject(corpus, "line.png", save(np.full((1, 5000, 3), 9, np.uint8), "PNG"), "too_elongated")
    _reject(corpus, "tower.jpg", save(np.full((500, 50, 3), 9, np.uint8), "JPEG"), "too_elongated")
    large = cv2.resize(picture("large"), None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)
    _show(corpus, "large.png", save(large, "PNG"), picture("large"))
    _show(corpus, "small.png", save(picture("small")[::2, ::2], "PNG"), picture("small"))


def _odd_names(corpus: Corpus) -> None:
    for name, kind in {
        "no_suffix": "JPEG",
        "photo.txt": "JPEG",
        "truly_png.jpg": "PNG",
        "truly_jpeg.png": "JPEG",
        "UPPER.JPG": "PNG",
        "ein schöner Tag 🌄.jpg": "PNG",
        "two\nlines.png": "PNG",
        "photo.v2.final.png": "PNG",
        "deep/er.png": "PNG",
        "quote'\".png": "PNG",
    }.items():
        _show(
            corpus,
            name,
            save(picture(name), kind, **({"quality": 95} if kind == "JPEG" else {})),
            picture(name),
        )
        if name == "truly_jpeg.png" or name in {"no_suffix", "photo.txt"}:
            corpus.copied[name] = (corpus.folder / name).read_bytes()
            del corpus.shown[name]
    raw = os.fsencode(corpus.folder) + b"/latin\xe9.png"
    Path(os.fsdecode(raw)).write_bytes(save(picture("latin"), "PNG"))
    corpus.shown["latin\\udce9.png"] = picture("latin")


def _odd_files(corpus: Corpus) -> None:
    (corpus.folder / "dangling.jpg").symlink_to("nowhere.jpg")
    (corpus.folder / "itself.jpg").symlink_to("itself.jpg")
    # even root cannot read its beginning
    (corpus.folder / "unreadable.jpg").symlink_to("/proc/self/mem")
    (corpus.folder / "loop").symlink_to(corpus.folder, target_is_directory=True)
    os.mkfifo(corpus.folder / "pipe.jpg")
    corpus.rejected.update(
        dict.fromkeys(("dangling.jpg", "itself.jpg", "unreadable.jpg", "loop"), "unreadable")
    )
    corpus.rejected["pipe.jpg"] = "not_a_file"
    elsewhere = corpus.folder.with_name("elsewhere")
    imaging.write(elsewhere / "linked.png", picture("linked"))
    imaging.write(elsewhere / "inner" / "far.png", picture("far"))
    (corpus.folder / "link.png").symlink_to(elsewhere / "linked.png")
    (corpus.folder / "album").symlink_to(elsewhere / "inner", target_is_directory=True)
    corpus.shown.update({"link.png": picture("linked"), "album/far.png": picture("far")})
    _reject(corpus, "zz_copy.png", (corpus.folder / "rgb.png").read_bytes(), "duplicate")


def _turned(corpus: Corpus) -> None:
    for orientation, turn in UPRIGHT.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        for kind in ("JPEG", "PNG", "WEBP", "AVIF"):
            name = f"turned_{orientation}.{kind.lower()}"
            data = save(
                picture(name), kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {})
            )
            _show(corpus, name, data, turn(picture(name)))
    corpus.copied["turned_1.jpeg"] = (corpus.folder / "turned_1.jpeg").read_bytes()
    del corpus.shown["turned_1.jpeg"]
    odd = save(picture("odd_exif"), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f" + bytes(30))
    (corpus.folder / "odd_exif.jpg").write_bytes(odd)
    corpus.copied["odd_exif.jpg"] = odd
