"""The on-disk contract of a data set: what `images_to_shards` writes and `shards_to_batches` reads.

OUT/manifest.json              this module's `Manifest`; written last, so a data set without it is
unfinished OUT/rejects.parquet            one row per unused file: source, domain, reason, detail
OUT/train/summer/000000.tar    a WebDataset shard OUT/train/summer/000000.parquet   its index, one
row per sample: see INDEX_SCHEMA; written after the shard, and with
                               the builder's commit in its metadata: see
                               pipelines/building/shard_commit.py
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Required, Self, TypedDict

import pyarrow as pa
from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_serializer,
    model_validator,
)

from errors import UserError
from imaging.colors import color, color_code
from vqi2i.checking.frozen import Frozen
from vqi2i.checking.typed import domain_name

Split = Literal["train", "validation", "test"]  # to learn from, to choose by, to report on
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
DomainName = Annotated[str, AfterValidator(domain_name)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

MANIFEST_NAME = "manifest.json"
_CHECKSUM = "sha256"
_REMEDY = "build the data set again, from the same images into the same folder"
REJECTS_NAME = "rejects.parquet"
REJECTS_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("source", "domain", "reason", "detail")]
)
INDEX_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("source", pa.string()),  # path inside the domain's folder
        ("sha256", pa.string()),  # of the source file
        (
            "changes",
            pa.string(),
        ),  # what was done to it, words separated by spaces: see pipelines/building/sample.py
        ("offset", pa.int64()),  # of the encoded image inside the tar, in bytes
        ("size", pa.int64()),
        ("crc32", pa.uint32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
    ]
)


class Shard(Frozen):
    """One tar file; `name` is its path below the root of the data set."""

    name: str
    sha256: Sha256
    bytes: int = Field(gt=0)
    samples: int = Field(gt=0)
    index_sha256: Sha256
    index_bytes: int = Field(gt=0)

    @property
    def index_name(self) -> str:
        """Path of the shard's index below the root of the data set."""
        return index_name(self.name)


class BuildOptions(Frozen):
    """What, beside the images, decides the bytes of a data set."""

    size: int = Field(ge=8, le=4096)  # short side of every image, in pixels
    # of the images, held out by the hash of their content
    test_fraction: float = Field(default=0.1, ge=0, lt=1)
    # likewise; the test images are the same whatever it is
    validation_fraction: float = Field(default=0, ge=0, lt=1)
    shard_samples: int = Field(default=2048, ge=1)
    paired: bool = (
        False  # images of the same name in all domains show the same thing, and share a key
    )
    split_halves: bool = (
        False  # the two domains are the left and the right halves of the same files
    )
    labels: tuple[
        DomainName, ...
    ] = ()  # domains of label maps: no colour may be invented, none be lost
    background: Annotated[str, AfterValidator(color_code)] = "#ffffff"  # under transparent pixels
    min_side: int = Field(default=16, ge=1)  # of a source, unless it has `size` already
    max_aspect: float = Field(default=8, ge=1)  # a longer image would give crops of almost nothing

    @property
    def splits(self) -> tuple[Split, ...]:
        """Names of the splits that there are."""
        return tuple(split for split in SPLITS if split != "validation" or self.validation_fraction)

    @model_validator(mode="after")
    def _leave_some(self) -> Self:
        if self.test_fraction + self.validation_fraction >= 1:
            raise UserError(
                "the test and validation fractions leave nothing to train on: let them be less "
                "than 1"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Data sets without validation images are named as they were before there were any."""
        fields = handler(self)
        if not self.validation_fraction:
            fields.pop("validation_fraction", None)
        return fields

    @property
    def background_rgb(self) -> tuple[int, int, int]:
        """The background as red, green and blue, 0 to 255."""
        return color(self.background)


class BuildSettings(TypedDict, total=False):
    """BuildOptions as keyword arguments."""

    size: Required[int]
    test_fraction: float
    validation_fraction: float
    shard_samples: int
    paired: bool
    split_halves: bool
    labels: Sequence[str]
    background: str
    min_side: int
    max_aspect: float


class Statistics(Frozen):
    """What the images of a domain are like, those of all splits together."""

    mean: tuple[float, float, float]  # of red, green and blue, 0 to 255, over all stored pixels
    std: tuple[float, float, float]
    # source images by short side: 128 counts those of 128 to 255 pixels, and so on
    short_sides: dict[int, int]
    changes: dict[str, int]  # images by what was done to them: see pipelines/building/sample.py


class Manifest(Frozen):
    """Everything about a data set except its pixels."""

    format_version: Literal[3] = 3
    domains: tuple[DomainName, ...] = Field(min_length=1)
    options: BuildOptions
    plan: Sha256  # of the options and of every input file's domain, name and content
    splits: dict[Split, dict[DomainName, tuple[Shard, ...]]]
    rejects: dict[str, int]  # unused files by reason
    rejects_sha256: Sha256  # of rejects.parquet
    statistics: dict[DomainName, Statistics]
    versions: dict[str, str]  # of what decides bytes beside the options

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if len(set(self.domains)) != len(self.domains):
            raise UserError("the domains are not distinct")
        names, domains = self.options.splits, set(self.domains)
        if set(self.splits) != set(names) or any(
            set(part) != domains for part in self.splits.values()
        ):
            raise UserError(f"the splits must be {', '.join(names)}, each with every domain")
        return self

    @property
    def size(self) -> int:
        """Short side of every image, in pixels."""
        return self.options.size

    @property
    def fingerprint(self) -> str:
        """sha256 that names this data set: equal fingerprints mean equal bytes in every shard."""
        return canonical_sha256(self.model_dump(mode="json"))

    def of(self, split: Split, domain: str) -> tuple[Shard, ...]:
        """The shards of one domain in one split; none where there is no such split."""
        return self.splits[split][domain] if split in self.splits else ()

    def count(self, split: Split, domain: str) -> int:
        """Number of images of one domain in one split."""
        return sum(shard.samples for shard in self.of(split, domain))

    def shards(self) -> Iterator[Shard]:
        """Every shard of every split and domain."""
        for split in SPLITS:
            for domain in self.domains:
                yield from self.of(split, domain)

    def to_json(self) -> str:
        """The text of manifest.json: every field, and the fingerprint by which `parse` notices a
        changed byte.
        """
        return (
            json.dumps({**self.model_dump(mode="json"), _CHECKSUM: self.fingerprint}, indent=2)
            + "\n"
        )

    @classmethod
    def load(cls, root: Path) -> Self:
        """Read the manifest of the data set in the folder `root`.

        Raises:
            UserError: there is no manifest, or it is not one of this version.
        """
        path = Path(root) / MANIFEST_NAME
        if not path.is_file():
            raise UserError(
                f"{root} is not a finished data set (no {MANIFEST_NAME}): build one with `vqi2i "
                "data shard`"
            )
        return cls.parse(path.read_bytes(), str(path))

    @classmethod
    def parse(cls, data: bytes, name: str) -> Self:
        """The manifest that a file called `name` holds.

        Raises:
            UserError: it is not one of this version, or not as it was written.
        """
        try:
            fields = TypeAdapter(dict[str, Any]).validate_json(data)
        except ValidationError as error:
            raise UserError(f"{name} is not the JSON of a manifest: {_REMEDY}") from error
        checksum = fields.pop(_CHECKSUM, None)
        try:
            manifest = cls.model_validate_json(json.dumps(fields))
        except ValidationError as error:
            raise UserError(f"{name} cannot be used ({first_error(error)}): {_REMEDY}") from error
        if checksum != manifest.fingerprint:
            raise UserError(f"{name} is not as it was written (its checksum differs): {_REMEDY}")
        return manifest


def measured_split(validation: Iterable[int]) -> Split:
    """Which images tell during training how good a model is, and which of its weights and settings
    are the best.

    Args:
        validation: how many validation images each domain has; where one has none, test images have
            to do.
    """
    return "validation" if all(validation) else "test"


def index_name(shard: str) -> str:
    """Path of the index of the shard with this path."""
    return shard.removesuffix(".tar") + ".parquet"


def canonical_sha256(value: Any) -> str:
    """sha256 of a JSON value, independent of the order of keys and of white space."""
    return hashlib.sha256(
        json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()


def first_error(error: ValidationError) -> str:
    """The first of a validation's complaints as one phrase that names the field."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"])) or "the whole"
    return f"{where} = {repr(first['input'])[:80]}: {first['msg'].removeprefix('Value error, ')}"
