"""What KID sees on which features: how many deviations of the real-against-real floor a change of
the images stands above it.

    python benchmarks/metrics.py --summer FOLDER --winter FOLDER

Folders of photographs of two kinds; of each, centre crops of `--size` pixels. Changed summer
pictures are measured against other, unchanged ones. Wants the extra `vqi2i[metrics]`. Ends with one
JSON line, and with exit code 1 if the headline, pooled features of EfficientNet-Lite0, sees a
change at less than 10 deviations.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

import imaging
from evaluation.metrics.kid import kid, kid_floor
from evaluation.networks.efficientnet_lite import EfficientNetLite
from evaluation.networks.random_convolutions import RandomConvolutions
from evaluation.networks.st_lpips import STLPIPS
from imaging.codec import Images

SEEN = 10  # deviations
TILE = 16  # pixels
HEADLINE = "Lite0, pooled"


def photographs(folder: Path, size: int) -> Images:
    """Central squares of all images of a folder: uint8 (n, size, size, 3)."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in imaging.SUFFIXES)
    return np.stack([imaging.fit(imaging.read(path), size) for path in paths])


def blurred(images: Images) -> Images:
    """By a Gaussian of .7 px."""
    return np.stack([cv2.GaussianBlur(image, (0, 0), 0.7) for image in images])


def noisy(images: Images) -> Images:
    """With white noise of 5 of 255 steps."""
    moved = images + np.random.default_rng(0).normal(0, 5, images.shape)
    return np.clip(np.rint(moved), 0, 255).astype(np.uint8)


def compressed(images: Images) -> Images:
    """As JPEG of quality 30."""
    return np.stack([imaging.decode(imaging.encode(image, "jpeg", quality=30)) for image in images])


def shuffled(images: Images) -> Images:
    """Tiles of 16 px in another order for each image."""
    rng = np.random.default_rng(0)
    count, side = len(images), images.shape[1] // TILE
    cut = images[:, : side * TILE, : side * TILE].reshape(count, side, TILE, side, TILE, 3)
    tiles = cut.swapaxes(2, 3).reshape(count, side * side, TILE, TILE, 3)
    tiles = np.stack([picture[rng.permutation(side * side)] for picture in tiles])
    rows = tiles.reshape(count, side, side, TILE, TILE, 3).swapaxes(2, 3)
    return rows.reshape(count, side * TILE, side * TILE, 3)


CHANGES: Mapping[str, Callable[[Images], Images]] = {
    "blur": blurred,
    "noise": noisy,
    "jpeg": compressed,
    "tiles": shuffled,
}


def lite(network: EfficientNetLite, images: Images) -> dict[str, Tensor]:
    """Pooled and stride-16 features, the latter averaged over places."""
    pooled, maps = network.extract(imaging.to_tensor(images))
    name = network.name.removeprefix("EfficientNet-")
    return {f"{name}, pooled": pooled, f"{name}, stride 16": maps.mean((2, 3))}


def seen(features: Mapping[str, Mapping[str, Tensor]], images: int) -> dict[str, dict[str, float]]:
    """Deviations above the floor, by features and kind of images."""
    rows = {}
    for name, real in features["real"].items():
        floor = kid_floor(real, images)
        rows[name] = {
            kind: round(floor.deviations(kid(features["others"][name], found[name])), 1)
            for kind, found in features.items()
            if kind not in ("real", "others")
        }
        rows[name] |= {"floor": floor.mean, "floor_deviation": floor.deviation}
    return rows


def drawn(summer: Images, winter: Images, count: int) -> dict[str, Images]:
    """All real ones, `count` others of them, `count` as they are, in winter and changed."""
    if min(len(summer), 2 * len(winter)) < 2 * count:
        raise SystemExit(f"{count} images a side want {2 * count} in --summer, {count} in --winter")
    rng = np.random.default_rng(0)
    order = rng.permutation(len(summer))
    mine, others = summer[order[:count]], summer[order[count : 2 * count]]
    sets = {"real": summer, "others": others, "same": mine}
    sets["winter"] = winter[rng.permutation(len(winter))[:count]]
    return sets | {name: change(mine) for name, change in CHANGES.items()}


def measured(
    networks: Sequence[EfficientNetLite], sets: Mapping[str, Images]
) -> tuple[dict[str, dict[str, Tensor]], dict[str, float]]:
    """Features of all sets by name, and milliseconds per image of each pretrained network."""
    plain = RandomConvolutions()
    features = {
        name: {plain.name: plain.features(imaging.to_tensor(images))}
        for name, images in sets.items()
    }
    milliseconds = {}
    for network in networks:
        start = time.perf_counter()
        for name, images in sets.items():
            features[name] |= lite(network, images)
        spent = (time.perf_counter() - start) * 1e3
        milliseconds[network.name] = round(spent / sum(map(len, sets.values())), 1)
    return features, milliseconds


def main() -> None:
    """Change, measure, print one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--summer", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--winter", type=Path, required=True, help="folder of others")
    parser.add_argument("--count", type=int, default=150, help="images on each side")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--lite2", action="store_true", help="a second opinion, too")
    options = parser.parse_args()
    folders = (options.summer, options.winter)
    summer, winter = (photographs(folder, options.size) for folder in folders)
    sets = drawn(summer, winter, options.count)
    networks = [EfficientNetLite("lite0"), *([EfficientNetLite("lite2")] if options.lite2 else [])]
    features, milliseconds = measured(networks, sets)
    rows = seen(features, options.count)
    kinds = ["winter", *CHANGES]
    for name, row in rows.items():
        print(f"{name:20s}", "  ".join(f"{kind} {row[kind]:.1f}" for kind in ("same", *kinds)))
    start = time.perf_counter()
    mine, others = (imaging.to_tensor(sets[name]) for name in ("same", "others"))
    unrelated = float(STLPIPS().distance(mine, others).mean())
    milliseconds["ST-LPIPS, per pair"] = round(
        (time.perf_counter() - start) * 1e3 / options.count, 1
    )
    result = {
        "benchmark": "metrics",
        "images_a_side": options.count,
        "size": options.size,
        "deviations_above_floor": rows,
        "st_lpips_of_unrelated": round(unrelated, 3),
        "milliseconds_per_image": milliseconds,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    print(json.dumps(result))
    if min(rows[HEADLINE][kind] for kind in kinds) < SEEN:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
