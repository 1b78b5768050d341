"""Images to token shards: what the frozen stage 1 makes of every picture, so that stage 2 never encodes.

OUT/tokens.json             this module's `TokenManifest`; written last
OUT/train/summer/000000.tar WebDataset shards; per sample KEY.tokens.npy (variants, rows, columns) uint16,
                            KEY.style.npy (style_dim,) float32 and KEY.json with the source
"""

import hashlib
import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

import imaging
from imaging.codec import Pixels
from pipelines.order import sample_at, sample_key
from pipelines.schema import SPLITS, Split
from pipelines.shards_to_batches import ShardReader
from vqi2i.translator import Translator

_MANIFEST = "tokens.json"
_SHARD_SAMPLES = 4096


class TokenManifest(BaseModel):
    """Identity and extent of a set of token shards."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = 1
    bundle: str  # fingerprint of the model that encoded
    data: str  # fingerprint of the images' manifest
    domains: tuple[str, ...]
    crop: int
    variants: int
    grid: tuple[int, int]  # rows, columns
    counts: dict[Split, dict[str, int]]


def shards_to_tokens(
    reader: ShardReader, translator: Translator, bundle: str, out: Path, *, crop: int, variants: int,
    progress: Callable[[int, int], None] | None = None, batch: int = 32,
) -> TokenManifest:  # fmt: skip
    """Encode every image of a data set in `variants` crops and mirror images; complete tokens are left alone.

    Args:
        reader: the images.
        translator: the frozen stage 1.
        bundle: the translator's fingerprint, which the tokens are bound to.
        out: directory for the token shards; replaced if it holds tokens of another model or data set.
        crop: side of the crops in pixels.
        variants: the centre crop, its mirror image, then random crops, every second one mirrored.
        progress: told (images done, images in all).
        batch: images encoded at once.
    """
    stride = translator.network.stride
    counts: dict[Split, dict[str, int]] = {
        split: {d: reader.count(split, d) for d in translator.domains} for split in SPLITS
    }
    wanted = TokenManifest(
        bundle=bundle, data=reader.manifest.fingerprint, domains=translator.domains, crop=crop, variants=variants,
        grid=(crop // stride, crop // stride), counts=counts,
    )  # fmt: skip
    if _read_manifest(out) == wanted:
        return wanted
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    total, done = sum(sum(part.values()) for part in counts.values()), 0
    for split in SPLITS:
        for domain in translator.domains:
            writer = _ShardSeries(staging / split / domain)
            for start in range(0, counts[split][domain], batch):
                indices = range(start, min(start + batch, counts[split][domain]))
                writer.add(_encode(reader, translator, split, domain, indices, crop, variants))
                done += len(indices)
                if progress is not None:
                    progress(done, total)
            writer.close()
    (staging / _MANIFEST).write_text(wanted.model_dump_json(indent=2))
    shutil.rmtree(out, ignore_errors=True)
    staging.rename(out)
    return wanted


def _read_manifest(root: Path) -> TokenManifest | None:
    try:
        return TokenManifest.model_validate_json((root / _MANIFEST).read_text())
    except (OSError, ValidationError):
        return None


def _encode(
    reader: ShardReader, translator: Translator, split: Split, domain: str, indices: range, crop: int, variants: int
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """WebDataset samples of some images."""
    pixels = [reader.read(split, domain, index) for index in indices]
    views = [_view(image, crop, variant, index) for image, index in zip(pixels, indices, strict=True)
             for variant in range(variants)]  # fmt: skip
    encoded = translator.encode(imaging.to_tensor(views), domain)
    tokens = encoded.tokens.unflatten(0, (len(pixels), variants)).cpu().numpy().astype(np.uint16)
    styles = encoded.style.unflatten(0, (len(pixels), variants))[:, 0].cpu().numpy().astype(np.float32)
    for row, index in enumerate(indices):
        yield {
            "__key__": f"{index:010d}",
            "json": json.dumps({"split": split, "domain": domain, "index": index}).encode(),
            "style.npy": _npy(styles[row]),
            "tokens.npy": _npy(tokens[row]),
        }


def _view(image: Pixels, crop: int, variant: int, index: int) -> Pixels:
    """Variant 0 is the centre crop, 1 its mirror image; later ones are cut at random places fixed by the index."""
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


class _ShardSeries:
    """Writes samples into numbered tar files."""

    def __init__(self, folder: Path):
        self._folder = folder
        folder.mkdir(parents=True)
        self._written = 0
        self._writer: Any = None

    def add(self, samples: Iterator[dict[str, Any]]) -> None:
        from webdataset.writer import TarWriter

        for sample in samples:
            if self._written % _SHARD_SAMPLES == 0:
                self.close()
                self._writer = TarWriter(str(self._folder / f"{self._written // _SHARD_SAMPLES:06d}.tar"), mtime=0)
            self._writer.write(sample)
            self._written += 1

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class TokenBatch(NamedTuple):
    """Token grids of a batch, rows ordered domain by domain."""

    tokens: np.ndarray  # (domains * b, rows, columns) int64
    domains: np.ndarray  # (domains * b,) int64 indices


class TokenReader:
    """The tokens of a data set in memory: two bytes per token.

    Raises:
        ValueError: `root` holds no tokens, or tokens of another model than `bundle`.
    """

    def __init__(self, root: Path, *, bundle: str):
        manifest = _read_manifest(root)
        if manifest is None:
            raise ValueError(f"{root} holds no finished token shards: they are made by `vqi2i train stage2`")
        if manifest.bundle != bundle:
            raise ValueError(f"{root} holds tokens of another model: delete it, and stage 2 makes them anew")
        self.manifest = manifest
        self._tokens = {
            (split, d): _load(root / split / d, manifest.counts[split][d]) for split in SPLITS for d in manifest.domains
        }

    def tokens(self, split: Split, domain: str) -> np.ndarray:
        """All tokens of one split and domain: (images, variants, rows, columns) uint16."""
        return self._tokens[split, domain]

    def batch(self, position: int, *, global_batch: int, seed: int, rank: int, world_size: int) -> TokenBatch:
        """One worker's part of the training batch at `position`, a pure function of its arguments."""
        local = global_batch // world_size
        first = position + rank * local
        rows, domains = [], []
        for number, domain in enumerate(self.manifest.domains):
            images = self.tokens("train", domain)
            for place in range(first, first + local):
                index = sample_at(place, seed=seed, domain=domain, count=len(images))
                variant = sample_key(seed, domain, place) % self.manifest.variants
                rows.append(images[index, variant])
                domains.append(number)
        return TokenBatch(np.stack(rows).astype(np.int64), np.asarray(domains, np.int64))


def _load(folder: Path, count: int) -> np.ndarray:
    arrays = []
    for shard in sorted(folder.glob("*.tar")):
        with tarfile.open(shard) as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.name.endswith(".tokens.npy") else None
                if stream is not None:
                    arrays.append(np.load(io.BytesIO(stream.read()), allow_pickle=False))
    if len(arrays) != count:
        raise ValueError(
            f"{folder} holds {len(arrays)} samples instead of {count}: delete the tokens to make them anew"
        )
    return np.stack(arrays) if arrays else np.empty((0, 1, 1, 1), np.uint16)


def tokens_folder(data: Path, bundle: str) -> Path:
    """Where the tokens of a data set under a model lie: beside the shards, named by the model."""
    return data / "tokens" / hashlib.sha256(bundle.encode()).hexdigest()[:12]
