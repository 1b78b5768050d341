"""Shards, or painted seasons with their truth, as the pictures that a model is measured on."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from commands.console import Tell
from errors import UserError
from evaluation.images import Direction, DomainImages, TestSet
from evaluation.results import Settings, Subject
from imaging.codec import Images, Pixels
from pipelines.reading.origin import comes_from, is_of
from pipelines.reading.reader import CorruptSample, ShardReader
from pipelines.schema import Split
from pipelines.storage.atomic_files import sha256_of
from pipelines.storage.remote import IN_FLIGHT, local_folder
from pipelines.storage.shard_cache import CacheSettings
from pipelines.synthetic.dataset import DOMAINS, DONE, read_training, read_triples


def load_test_set(
    data: str,
    domains: Sequence[str],
    resolution: int,
    settings: Settings,
    provenance: Mapping[str, Any],
    cache: CacheSettings,
    progress: Tell | None = None,
) -> TestSet:
    """The pictures of some domains, as many as settings ask for.

    Args:
        data: folder or address of shards, or a folder of `vqi2i data synthesize`.
        domains: those of the model.
        resolution: side in pixels that the model was trained at; of a larger image the middle is
            taken, as training cuts crops.
        settings: how many images, drawn by which seed.
        provenance: of the model: what it was trained on is said.
        cache: where files of remote shards are kept.
        progress: told (images read, images in all).

    Raises:
        UserError: there is no such data, it has other domains, or too few images of one.
    """
    folder = local_folder(data)
    if folder is not None and (folder / DONE).is_file():
        return _seasons(folder, domains, settings, provenance)
    return _of_shards(ShardReader(data, cache), domains, resolution, settings, provenance, progress)


def _of_shards(
    reader: ShardReader,
    domains: Sequence[str],
    resolution: int,
    settings: Settings,
    provenance: Mapping[str, Any],
    progress: Tell | None,
) -> TestSet:
    manifest = reader.manifest
    if missing := [domain for domain in domains if domain not in manifest.domains]:
        raise UserError(
            f"the model knows {', '.join(domains)}, but {reader.root} holds "
            f"{', '.join(manifest.domains)}: give shards with {', '.join(missing)}"
        )
    side, paired = min(resolution, manifest.size), manifest.options.paired
    test = _test_rows(reader, domains, settings)
    training = {
        domain: _some(reader.count("train", domain), settings.training_images, settings.seed)
        for domain in domains
    }
    images = _Images(reader, side, sum(map(len, (*test.values(), *training.values()))), progress)
    read = {domain: images.read("test", domain, test[domain]) for domain in domains}
    if paired:
        # A pair of which one image is damaged is none.
        whole = np.all([kept for _, kept in read.values()], axis=0)
        read = {d: (some[whole[kept]], whole) for d, (some, kept) in read.items()}
    found = {}
    for domain, (some, kept) in read.items():
        keys = reader.samples("test", domain).keys
        found[domain] = DomainImages(
            some,
            [str(keys[int(row)]) for row in test[domain][kept]],
            images.read("train", domain, training[domain])[0],
        )
    gaps = images.left_out
    if manifest.size < resolution:
        gaps.append(
            f"the images of {reader.root} are {manifest.size} px, the model was trained at "
            f"{resolution} px: it is measured on less than it was made for"
        )
    trained_here = is_of(provenance, manifest)
    if not trained_here:
        gaps.append(
            f"the model does not say that it was trained on {reader.root}: its training images may "
            "be among the test images"
        )
    facts = {"pixels": side, "paired": paired} | _counted(found)
    about = Subject(
        name=reader.root,
        fingerprint=manifest.fingerprint,
        facts=facts | {"the model was trained on these shards": trained_here},
    )
    return TestSet(about, found, _pairs(found) if paired else {}, gaps=tuple(gaps))


def _test_rows(
    reader: ShardReader, domains: Sequence[str], settings: Settings
) -> dict[str, np.ndarray]:
    """Which test images of each domain are measured; of pairs, both halves in one order."""
    if not reader.manifest.options.paired:
        return {
            domain: _some(reader.count("test", domain), settings.images, settings.seed)
            for domain in domains
        }
    rows = reader.pairs("test", domains)
    chosen = _some(len(rows[domains[0]]), settings.images, settings.seed)
    return {domain: rows[domain][chosen] for domain in domains}


def _counted(found: Mapping[str, DomainImages]) -> dict[str, Any]:
    """How many images there are, for the report."""
    return {
        "test images": {domain: len(images.test) for domain, images in found.items()},
        "training images looked at": {d: len(images.training) for d, images in found.items()},
    }


def _pairs(domains: Mapping[str, DomainImages]) -> dict[tuple[str, str], Direction]:
    """Directions of paired images: the other half of a pair is the truth, another pair's the
    exemplar.
    """
    return {
        (source, target): Direction(
            ours.test, np.roll(theirs.test, 1, axis=0), theirs.test, ours.keys
        )
        for source, ours in domains.items()
        for target, theirs in domains.items()
        if source != target
    }


def _some(count: int, wanted: int, seed: int) -> np.ndarray:
    """Rising indices of so many of `count` images, all of them if there are no more."""
    if wanted >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).permutation(count)[:wanted])


class _Images:
    """Reads images; damaged ones are left out and named."""

    def __init__(self, reader: ShardReader, side: int, total: int, progress: Tell | None):
        self._reader = reader
        self._side = side
        self._total = total
        self._progress = progress
        self._done = 0
        self.left_out: list[str] = []

    def read(self, split: Split, domain: str, rows: np.ndarray) -> tuple[Images, np.ndarray]:
        """Images (n, side, side, 3), and whether each of the rows is among them."""
        samples = self._reader.samples(split, domain)

        def one(row: int) -> Pixels | CorruptSample:
            try:
                return _middle(samples.read(row), self._side)
            except CorruptSample as error:
                return error

        found: list[Pixels | CorruptSample] = []
        with ThreadPoolExecutor(IN_FLIGHT, "test images") as pool:
            for each in pool.map(one, map(int, rows)):
                found.append(each)
                self._done += 1
                if self._progress is not None:
                    self._progress(self._done, self._total)
        whole = [pixels for pixels in found if not isinstance(pixels, CorruptSample)]
        self.left_out += [f"left out: {e}" for e in found if isinstance(e, CorruptSample)]
        stacked = np.stack(whole) if whole else np.empty((0, self._side, self._side, 3), np.uint8)
        return stacked, np.array([not isinstance(each, CorruptSample) for each in found], bool)


def _middle(pixels: Pixels, side: int) -> Pixels:
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


def _seasons(
    folder: Path, domains: Sequence[str], settings: Settings, provenance: Mapping[str, Any]
) -> TestSet:
    """Painted seasons: the truth shows the exemplar's style."""
    if set(domains) != set(DOMAINS):
        raise UserError(
            f"the model knows {', '.join(domains)}, but the truth in {folder} is of "
            f"{', '.join(DOMAINS)}"
        )
    truths, found = {}, {}
    for source, target in (DOMAINS, DOMAINS[::-1]):
        triples = read_triples(folder, source, target)
        chosen = _some(len(triples.source), settings.images, settings.seed)
        keys = [f"{source}_to_{target}/{number}" for number in chosen]
        truths[source, target] = Direction(
            triples.source[chosen], triples.exemplar[chosen], triples.truth[chosen], keys
        )
        training = read_training(folder, source)
        some = _some(len(training), settings.training_images, settings.seed)
        found[source] = DomainImages(triples.source[chosen], keys, training[some])
    trained_here = comes_from(provenance, {d: folder / "train" / d for d in domains})
    words = {True: "yes", False: "no", None: "it does not say"}
    about = Subject(
        name=str(folder),
        fingerprint=sha256_of(folder / DONE),
        facts={
            "pixels": found[DOMAINS[0]].test.shape[1],
            **_counted(found),
            "the model was trained on these painted seasons": words[trained_here],
        },
    )
    ordered = {domain: found[domain] for domain in domains}
    return TestSet(about, ordered, truths, truth_has_exemplars_style=True)
