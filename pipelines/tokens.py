"""The on-disk contract of token shards: what `shards_to_tokens` writes and stage 2 reads.

OUT/identity.json           what the tokens are made of: this module's `TokenIdentity`; written
first OUT/tokens.json             this module's `TokenManifest`; written last
OUT/train/summer/000000.tar WebDataset shard; per sample KEY.tokens.npy (views, rows, columns)
uint16, or uint32
                            where the codebook has more than 65,536 codes, KEY.style.npy
                            (style_dim,) float32 and KEY.json with the image it was made from
OUT/train/summer/000000.json  its `TokenShard`; written when the shard is whole
"""

import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import SerializerFunctionWrapHandler, ValidationError, model_serializer

from errors import UserError
from pipelines.reading.order import Order, sample_key
from pipelines.schema import SPLITS, Split, canonical_sha256
from vqi2i.checking.frozen import Frozen

MANIFEST_NAME = "tokens.json"
IDENTITY_NAME = "identity.json"
_UPSIDE_DOWN = (
    4  # of so many grids that are learned from one is turned, where a prior is to continue upwards
)


class TokenIdentity(Frozen):
    """All that decides which tokens a set of shards holds."""

    format_version: Literal[2] = 2
    bundle: str  # fingerprint of the model that encodes
    data: str  # fingerprint of the images' manifest
    domains: tuple[str, ...]
    crop: int
    variants: int
    upside_down: int = 0  # more variants, of pictures turned upside down
    grid: tuple[int, int]  # rows, columns

    @property
    def views(self) -> int:
        """Grids of each image."""
        return self.variants + self.upside_down

    @model_serializer(mode="wrap")
    def _without_what_is_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Tokens of upright pictures alone are named as they were before there were others."""
        fields = handler(self)
        if not self.upside_down:
            fields.pop("upside_down", None)
        return fields

    @property
    def sha256(self) -> str:
        """Name of such a set."""
        return canonical_sha256(self.model_dump(mode="json"))


class TokenShard(Frozen):
    """One tar file; `name` is its path below the root."""

    name: str
    split: Split
    domain: str
    sha256: str
    samples: int
    damaged: tuple[
        str, ...
    ] = ()  # a sentence for every image that could not be read and is left out


class TokenManifest(Frozen):
    """A complete set of token shards."""

    identity: TokenIdentity
    shards: tuple[TokenShard, ...]

    def of(self, split: Split, domain: str) -> list[TokenShard]:
        """The shards of one split and domain, in order."""
        return [shard for shard in self.shards if (shard.split, shard.domain) == (split, domain)]


def token_type(codebook_size: int) -> type[np.unsignedinteger]:
    """What holds the tokens of a codebook of so many codes."""
    return np.uint16 if codebook_size <= 2**16 else np.uint32


def read_manifest(root: Path) -> TokenManifest | None:
    """The manifest of a complete set; None if there is none that this version reads."""
    try:
        return TokenManifest.model_validate_json((root / MANIFEST_NAME).read_bytes())
    except (OSError, ValidationError):
        return None


class TokenBatch(NamedTuple):
    """Token grids of a batch, rows ordered domain by domain."""

    tokens: np.ndarray  # (domains * b, rows, columns) int64
    # (domains * b,) int64 indices; those of pictures turned upside down come after all others
    domains: np.ndarray


class TokenReader:
    """The tokens of a data set in memory: two bytes per token, four of a codebook that needs them.

    Raises:
        UserError: `root` holds no complete tokens, tokens of another model than `bundle`, or a
            damaged shard.
    """

    def __init__(self, root: Path, *, bundle: str):
        manifest = read_manifest(root)
        if manifest is None:
            raise UserError(
                f"{root} holds no finished token shards: they are made by `vqi2i train stage2`"
            )
        if manifest.identity.bundle != bundle:
            raise UserError(
                f"{root} holds tokens of another model: delete it, and stage 2 makes them anew"
            )
        self.identity = manifest.identity
        self.domains = manifest.identity.domains
        self._orders: dict[tuple[int, str], Order] = {}
        loaded = {
            (split, d): _load(root, manifest.of(split, d), manifest.identity)
            for split in SPLITS
            for d in self.domains
        }
        self._tokens = {place: tokens for place, (tokens, _) in loaded.items()}
        self._names = {domain: loaded["train", domain][1] for domain in self.domains}

    def tokens(self, split: Split, domain: str) -> np.ndarray:
        """All tokens of one split and domain: (images, views, rows, columns) in `token_type`."""
        return self._tokens[split, domain]

    def batch(
        self, position: int, *, global_batch: int, seed: int, rank: int, world_size: int
    ) -> TokenBatch:
        """One worker's part of the training batch at `position`, a pure function of its
        arguments.
        """
        local = global_batch // world_size
        first = position + rank * local
        rows, domains = [], []
        for number, domain in enumerate(self.domains):
            images, order = self.tokens("train", domain), self._order(seed, domain)
            for place in range(first, first + local):
                view = self._view(sample_key(seed, domain, place))
                rows.append(images[order.at(place), view])
                domains.append(number + len(self.domains) * (view >= self.identity.variants))
        return TokenBatch(np.stack(rows).astype(np.int64), np.asarray(domains, np.int64))

    def _view(self, key: int) -> int:
        """Which grid of an image is taken by a random number: one of `_UPSIDE_DOWN` is turned, if
        there are any.
        """
        key, variant = divmod(key, self.identity.variants)
        if not self.identity.upside_down or key % _UPSIDE_DOWN:
            return variant
        return self.identity.variants + key // _UPSIDE_DOWN % self.identity.upside_down

    def names(
        self, position: int, *, global_batch: int, seed: int, rank: int, world_size: int
    ) -> list[str]:
        """The images behind a worker's part of a batch, each by the path of its token shard and its
        key.
        """
        local = global_batch // world_size
        places = range(position + rank * local, position + (rank + 1) * local)
        return [
            self._names[domain][self._order(seed, domain).at(place)]
            for domain in self.domains
            for place in places
        ]

    def _order(self, seed: int, domain: str) -> Order:
        if (seed, domain) not in self._orders:
            count = len(self.tokens("train", domain))
            self._orders[seed, domain] = Order(seed=seed, stream=domain, count=count)
        return self._orders[seed, domain]


def _load(
    root: Path, shards: list[TokenShard], identity: TokenIdentity
) -> tuple[np.ndarray, list[str]]:
    """Tokens of some shards, (images, views, rows, columns), and where each image's lie."""
    shape = sum(shard.samples for shard in shards), identity.views, *identity.grid
    tokens = np.empty(shape, np.uint16)
    names: list[str] = []
    for shard in shards:
        try:
            data = (root / shard.name).read_bytes()
        except OSError as error:
            raise UserError(
                f"{root / shard.name} cannot be read ({error.strerror}): {_REMEDY}"
            ) from error
        if hashlib.sha256(data).hexdigest() != shard.sha256:
            raise UserError(f"{root / shard.name} has changed: {_REMEDY}")
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                stream = (
                    archive.extractfile(member) if member.name.endswith(".tokens.npy") else None
                )
                if stream is not None:
                    stored = np.load(io.BytesIO(stream.read()), allow_pickle=False)
                    if not names:  # all have the type of the first
                        tokens = np.empty(shape, stored.dtype)
                    tokens[len(names)] = stored
                    names.append(f"{shard.name}:{member.name.removesuffix('.tokens.npy')}")
    return tokens, names


_REMEDY = f"delete it and {MANIFEST_NAME} beside it, and stage 2 makes it anew"
