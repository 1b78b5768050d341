"""Images per second from pre-sized shards to uint8 training batches, as a share of what decoding
alone allows.

Four ways to do the same work with the same number of threads or processes, in turn, several times:
`cv2.imdecode` of bytes in memory and nothing else; our loader; webdataset with a DataLoader; a
DataLoader over a folder. The last three decode, cut a random window, mirror half of the images, and
stack uint8 batches. Figures are the best of all rounds, which neighbours on the machine disturbed
least; the share by CPU time compares the two that run in this process.

    python benchmarks/loader.py [--threads 2] [--images 2000] [--size 286] [--crop 256] [--rounds 5]
"""

import argparse
import functools
import itertools
import json
import multiprocessing
import os
import platform
import random
import tempfile
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

import imaging
from imaging.codec import Pixels
from pipelines.images_to_shards import build_shards
from pipelines.reading.reader import ShardReader
from pipelines.shards_to_batches import Batches
from training.hardware import keep_freed_memory

BATCH = 16
DOMAINS = ("a", "b")


def main() -> None:
    """Build a data set, measure everything in turn and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--threads", type=int, default=2, help="threads, or processes of a DataLoader"
    )
    parser.add_argument("--images", type=int, default=2000, help="of both domains together")
    parser.add_argument("--size", type=int, default=286, help="side of the stored images")
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    keep_freed_memory()  # as training does; processes of a DataLoader inherit it
    with tempfile.TemporaryDirectory() as folder:
        paint(Path(folder), options.images // 2, options.size)
        build_shards(
            {d: Path(folder) / d for d in DOMAINS},
            out=Path(folder) / "shards",
            size=options.size,
            test_fraction=0,
            shard_samples=250,
        )
        rates = measure(
            contenders(Path(folder), options.threads, options.crop), options.images, options.rounds
        )
    best = {name: max(rate for rate, _ in values) for name, values in rates.items()}
    cpu = {name: min(seconds for _, seconds in rates[name]) for name in ("imdecode", "ours")}
    report = {
        "benchmark": "loader",
        "share_of_imdecode": round(best["ours"] / best["imdecode"], 3),
        "share_of_imdecode_cpu": round(cpu["imdecode"] / cpu["ours"], 3),
        "ahead_of": {
            name: round(best["ours"] / best[name], 2) for name in ("webdataset", "folder")
        },
        "images_per_second": {name: round(rate) for name, rate in best.items()},
        "medians": {
            name: round(median(rate for rate, _ in values)) for name, values in rates.items()
        },
        **vars(options),
        "batch": BATCH,
        "cpus": os.cpu_count(),
        "machine": platform.processor() or platform.machine(),
        "opencv": cv2.__version__,
        "torch": torch.__version__,
    }
    print(json.dumps(report))


def paint(folder: Path, count: int, size: int) -> None:
    """Images with the detail of photographs: noise at all scales, JPEG of about 30 KB at 256 px."""
    for number, domain in enumerate(DOMAINS):
        draws = np.random.default_rng(number)
        (folder / domain).mkdir()
        for index in range(count):
            pixels = np.full((size, size, 3), 128.0, np.float32)
            for side in (4, 16, 64, size):
                noise = draws.normal(0, 130 / side**0.5, (side, side, 3)).astype(np.float32)
                pixels += cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
            data = cv2.imencode(
                ".jpg", pixels.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90]
            )[1]
            (folder / domain / f"{index:06d}.jpg").write_bytes(data.tobytes())


def contenders(folder: Path, threads: int, crop: int) -> dict[str, Callable[[], Iterator[int]]]:
    """What is compared: each starts an endless stream of numbers of images done."""
    files = sorted(path for domain in DOMAINS for path in (folder / domain).iterdir())
    shards = [str(path) for path in sorted((folder / "shards").rglob("*.tar"))]
    reader = ShardReader(folder / "shards")
    return {
        "imdecode": functools.partial(decode_only, [path.read_bytes() for path in files], threads),
        "ours": functools.partial(ours, reader, threads, crop),
        "webdataset": functools.partial(with_webdataset, shards, threads, crop),
        "folder": functools.partial(with_folder, files, threads, crop),
    }


def measure(
    streams: dict[str, Callable[[], Iterator[int]]], images: int, rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """Images per second, and seconds of this process's CPU per image, of each in every round.

    Starting, and filling what waits, is not counted.
    """
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in streams}
    for _ in range(rounds):
        for name, start in streams.items():
            stream = start()
            for _ in islice(stream, 8):
                pass
            done, begin, busy = 0, time.perf_counter(), time.process_time()
            while done < images:
                done += next(stream)
            rates[name].append(
                (done / (time.perf_counter() - begin), (time.process_time() - busy) / done)
            )
            del stream
    return rates


def decode_only(encoded: list[bytes], threads: int) -> Iterator[int]:
    """`cv2.imdecode` in threads."""

    def decode(first: int) -> int:
        for index in range(first, first + BATCH):
            cv2.imdecode(
                np.frombuffer(encoded[index % len(encoded)], np.uint8), cv2.IMREAD_COLOR_RGB
            )
        return BATCH

    with ThreadPoolExecutor(threads) as pool:
        starts = itertools.count(0, BATCH)
        ahead = deque(pool.submit(decode, start) for start in islice(starts, threads))
        while True:
            ahead.append(pool.submit(decode, next(starts)))
            yield ahead.popleft().result()


def ours(reader: ShardReader, threads: int, crop: int) -> Iterator[int]:
    """The loader that training uses."""
    batches = Batches(
        reader, domains=DOMAINS, crop=crop, global_batch=BATCH // 2, seed=0, threads=threads
    )
    return (batch.pixels.shape[0] * batch.pixels.shape[1] for batch in batches.iterate())


class CropAndFlip:
    """The usual augmentation in a DataLoader's process."""

    def __init__(self, crop: int):
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
        import albumentations as A

        self.compose = A.Compose([A.RandomCrop(crop, crop), A.HorizontalFlip(p=0.5)])

    def __call__(self, data: bytes) -> Pixels:
        """Decode and augment."""
        return np.ascontiguousarray(self.compose(image=imaging.decode(data))["image"])


class Folder(Dataset[Pixels]):
    """A map-style data set over image files."""

    def __init__(self, files: list[Path], augment: CropAndFlip):
        self.files, self.augment = files, augment

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Pixels:
        return self.augment(self.files[index].read_bytes())


def with_folder(files: list[Path], workers: int, crop: int) -> Iterator[int]:
    """A shuffling DataLoader over a folder."""
    loader: Any = DataLoader(
        Folder(files, CropAndFlip(crop)),
        BATCH,
        shuffle=True,
        num_workers=workers,
        drop_last=True,
        persistent_workers=True,
        worker_init_fn=_single_threaded,
        multiprocessing_context=multiprocessing.get_context("fork"),
    )
    return (len(batch) for batch in _endlessly(loader))


def with_webdataset(shards: list[str], workers: int, crop: int) -> Iterator[int]:
    """webdataset's own pipeline in a DataLoader's processes: shuffled shards, a shuffle buffer,
    batches.
    """
    from webdataset.compat import WebDataset

    augment = CropAndFlip(crop)
    shuffled = random.Random(0).sample(shards, len(shards))
    data: Any = WebDataset(shuffled, shardshuffle=False)
    data = data.shuffle(500).to_tuple("jpg").map_tuple(augment).batched(BATCH, partial=False)
    loader: Any = DataLoader(
        data,
        batch_size=None,
        num_workers=workers,
        persistent_workers=True,
        worker_init_fn=_single_threaded,
        multiprocessing_context=multiprocessing.get_context("fork"),
    )
    return (len(images) for (images,) in _endlessly(loader))


def _endlessly(loader: Iterable[Any]) -> Iterator[Any]:
    while True:
        yield from loader


def _single_threaded(_: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    main()
