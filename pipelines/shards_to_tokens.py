"""Images to token shards: what the frozen stage 1 makes of every picture, so that stage 2 never
encodes.

Every shard is one independent job whose bytes follow from model and images alone, so that it does
not matter who makes it, and a build that was interrupted makes only what is missing.
"""

import functools
import io
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from filelock import FileLock
from pydantic import ValidationError
from webdataset.writer import TarWriter

import imaging
from errors import UserError
from imaging.codec import Pixels
from pipelines.cluster import in_actors
from pipelines.progress import Progress
from pipelines.reading.order import sample_key
from pipelines.reading.reader import CorruptSample, ShardReader
from pipelines.schema import SPLITS, Split
from pipelines.storage.atomic_files import atomic, entries, sha256_of
from pipelines.storage.shard_cache import CacheSettings
from pipelines.tokens import (
    IDENTITY_NAME,
    MANIFEST_NAME,
    TokenIdentity,
    TokenManifest,
    TokenShard,
    read_manifest,
    token_type,
)
from vqi2i.bundle import fingerprint
from vqi2i.checking.validation import parsed
from vqi2i.config import NetworkConfig
from vqi2i.translator import Translator

_log = logging.getLogger(__name__)
_SHARD_SAMPLES = 1024
_BATCH = 32


class TokenSource(NamedTuple):
    """Where images and model lie, for every process that encodes."""

    data: str
    cache: CacheSettings
    model: Path  # bundle of stage 1


class TokenJob(NamedTuple):
    """One shard to make: the images start..stop-1 of a split and domain."""

    split: Split
    domain: str
    number: int
    start: int
    stop: int

    @property
    def name(self) -> str:
        """Path of the shard below the root."""
        return f"{self.split}/{self.domain}/{self.number:06d}.tar"


def token_identity(
    model: Path,
    data: str,
    network: NetworkConfig,
    *,
    crop: int,
    variants: int,
    upside_down: bool = False,
) -> TokenIdentity:
    """What the tokens of a data set are made of.

    Args:
        model: bundle of stage 1.
        data: fingerprint of the images' manifest.
        network: of the bundle.
        crop: side of the crops in pixels.
        variants: the centre crop, its mirror image, then random crops, every second one mirrored.
        upside_down: half as many more of these are turned upside down.
    """
    side = crop // network.stride
    return TokenIdentity(
        bundle=fingerprint(model),
        data=data,
        domains=network.domains,
        crop=crop,
        variants=variants,
        upside_down=-(-variants // 2) if upside_down else 0,
        grid=(side, side),
    )


def shards_to_tokens(
    source: TokenSource,
    identity: TokenIdentity,
    out: Path,
    *,
    workers: int = 0,
    device: str = "cpu",
    max_corrupt: int = 0,
    progress: Progress | None = None,
) -> TokenManifest:
    """Encode every image of a data set in some crops and mirror images; what is there already is
    left alone.

    Args:
        source: images and model.
        identity: what is made; the folder may hold nothing else.
        out: folder for the token shards.
        workers: Ray actors that encode; 0 encodes in this process.
        device: where this process encodes.
        max_corrupt: images that may be damaged; they are left out and named in the manifest.
        progress: told how far the work is.

    Raises:
        UserError: the folder holds other tokens, or too many images are damaged.
    """
    out.mkdir(parents=True, exist_ok=True)
    with FileLock(out / ".lock"):  # who comes second finds the tokens made
        if (made := _claim(out, identity)) is not None:
            return made
        reader = ShardReader(source.data, source.cache)
        jobs = list(_jobs(reader, identity.domains))
        total = sum(job.stop - job.start for job in jobs)
        shards = {job.name: shard for job in jobs if (shard := _finished(out, job)) is not None}
        missing = [job for job in jobs if job.name not in shards]
        given = source, identity, out, missing
        made_now = _on_ray(*given, workers) if workers else _in_this_process(*given, device)
        done = sum(shard.samples + len(shard.damaged) for shard in shards.values())
        for shard in made_now:
            shards[shard.name] = shard
            done += shard.samples + len(shard.damaged)
            if progress is not None:
                progress(done, total)
            _check_damaged(shards.values(), max_corrupt)
        _check_damaged(shards.values(), max_corrupt)
        manifest = TokenManifest(identity=identity, shards=tuple(shards[job.name] for job in jobs))
        _write(out / MANIFEST_NAME, manifest.model_dump_json(indent=2))
        return manifest


class TokenEncoder:
    """Makes token shards; one per process."""

    def __init__(self, source: TokenSource, identity: TokenIdentity, out: Path, device: str):
        self._source = source
        self._device = device
        self._identity = identity
        self._out = out

    @functools.cached_property
    def _reader(
        self,
    ) -> (
        ShardReader
    ):  # with the first shard: what an actor meets when it is made, Ray tells as a death
        return ShardReader(self._source.data, self._source.cache)

    @functools.cached_property
    def _translator(self) -> Translator:
        torch.backends.cudnn.allow_tf32 = (
            False  # near the border of two codes, its rounding would choose the other
        )
        return Translator.load(self._source.model, self._device)

    def make(self, job: TokenJob) -> TokenShard:
        """Write one shard, then the mark that makes it count."""
        path = self._out / job.name
        damaged: list[str] = []
        samples = 0
        with atomic(path) as stream, TarWriter(stream, encoder=False, mtime=0) as tar:
            for start in range(job.start, job.stop, _BATCH):
                for sample in self._encoded(
                    job, range(start, min(start + _BATCH, job.stop)), damaged
                ):
                    tar.write(sample)
                    samples += 1
        shard = TokenShard(
            name=job.name,
            split=job.split,
            domain=job.domain,
            sha256=sha256_of(path),
            samples=samples,
            damaged=tuple(damaged),
        )
        _write(path.with_suffix(".json"), shard.model_dump_json(indent=2))
        return shard

    def _encoded(
        self, job: TokenJob, indices: range, damaged: list[str]
    ) -> Iterator[dict[str, Any]]:
        """WebDataset samples of some images; those that cannot be read are noted."""
        images = self._reader.samples(job.split, job.domain)
        pixels: dict[int, Pixels] = {}
        for index in indices:
            try:
                pixels[index] = images.read(index)
            except CorruptSample as error:
                _log.warning("%s; it is left out", error)
                damaged.append(str(error))
        if not pixels:
            return
        views = [
            view for index, image in pixels.items() for view in _views(image, self._identity, index)
        ]
        encoded = self._translator.encode(imaging.to_tensor(views), job.domain)
        shape = (len(pixels), self._identity.views)
        kind = token_type(self._translator.network.codebook_size)
        tokens = encoded.tokens.unflatten(0, shape).cpu().numpy().astype(kind)
        styles = encoded.style.unflatten(0, shape)[:, 0].cpu().numpy().astype(np.float32)
        for row, index in enumerate(pixels):
            image = {"key": str(images.keys[index]), "split": job.split, "domain": job.domain}
            yield {
                "__key__": f"{index:010d}",
                "json": json.dumps(image).encode(),
                "style.npy": _npy(styles[row]),
                "tokens.npy": _npy(tokens[row]),
            }


def _in_this_process(
    source: TokenSource, identity: TokenIdentity, out: Path, jobs: Sequence[TokenJob], device: str
) -> Iterator[TokenShard]:
    encoder = TokenEncoder(source, identity, out, device)
    return map(encoder.make, jobs)


def _on_ray(
    source: TokenSource, identity: TokenIdentity, out: Path, jobs: Sequence[TokenJob], workers: int
) -> Iterator[TokenShard]:
    arguments = source, identity, out.absolute()
    made = in_actors(TokenEncoder, arguments, "make", jobs, workers)
    yield from cast("Iterator[TokenShard]", made)


def _jobs(reader: ShardReader, domains: Sequence[str]) -> Iterator[TokenJob]:
    for split in SPLITS:
        for domain in domains:
            count = reader.count(split, domain)
            for number, start in enumerate(range(0, count, _SHARD_SAMPLES)):
                yield TokenJob(split, domain, number, start, min(start + _SHARD_SAMPLES, count))


def _claim(out: Path, identity: TokenIdentity) -> TokenManifest | None:
    """The manifest of `out` if it holds all these tokens; otherwise make the folder ours or
    refuse.
    """
    mark = out / IDENTITY_NAME
    if mark.is_file():
        remedy = f"delete {out}, and its tokens are made anew"
        if parsed(TokenIdentity, mark.read_bytes(), str(mark), remedy) != identity:
            raise UserError(
                f"{out} holds tokens of another model, data set or crop: choose another folder or "
                "delete it"
            )
    elif entries(out):
        raise UserError(
            f"{out} is not empty and holds no tokens: choose another folder or delete it"
        )
    _write(mark, identity.model_dump_json(indent=2))
    manifest = read_manifest(out)
    return manifest if manifest is not None and manifest.identity == identity else None


def _finished(out: Path, job: TokenJob) -> TokenShard | None:
    """The shard of a job if it is there as its mark says."""
    path = out / job.name
    try:
        shard = TokenShard.model_validate_json(path.with_suffix(".json").read_bytes())
        return shard if sha256_of(path) == shard.sha256 else None
    except (OSError, ValidationError):
        return None


def _check_damaged(shards: Any, max_corrupt: int) -> None:
    damaged = [sentence for shard in shards for sentence in shard.damaged]
    if len(damaged) > max_corrupt:
        raise UserError(
            f"{len(damaged)} images are damaged, more than max_corrupt={max_corrupt}: {damaged[0]}"
        )


def _views(image: Pixels, identity: TokenIdentity, index: int) -> Iterator[Pixels]:
    """What is encoded of an image: its variants, then some of them upside down, mirrored in every
    second image.
    """
    for variant in range(identity.variants):
        yield _view(image, identity.crop, variant, index)
    for number in range(identity.upside_down):
        yield _view(image, identity.crop, 2 * number + index % 2, index)[::-1]


def _view(image: Pixels, crop: int, variant: int, index: int) -> Pixels:
    """Variant 0 is the centre crop, 1 its mirror image; later ones are cut at random places fixed
    by the index.
    """
    if variant < 2:
        view = imaging.center_crop(image, crop, crop)
    else:
        draws = np.random.Generator(np.random.Philox(key=sample_key(variant // 2, "tokens", index)))
        top, left = (int(draws.integers(side - crop + 1)) for side in image.shape[:2])
        view = image[top : top + crop, left : left + crop]
    return view[:, ::-1] if variant % 2 else view


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _write(path: Path, text: str) -> None:
    with atomic(path) as stream:
        stream.write(text.encode())
