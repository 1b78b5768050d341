"""What in a shard's index commits the shard: what a later run must know to take it over
unread.
"""

from collections import Counter
from pathlib import Path
from typing import Self

import cv2
import numpy as np
import PIL
import pyarrow as pa
import pyarrow.parquet as pq
import webdataset
from pydantic import Field, ValidationError

from imaging.codec import Pixels
from pipelines.schema import INDEX_SCHEMA, Sha256, Statistics, canonical_sha256
from vqi2i.checking.frozen import Frozen

_BUILDER = 2  # raise it whenever the same files and options would give other bytes
_KEY = b"vqi2i"
_CHANNELS = range(3)


class Tally(Frozen):
    """Sums over images; whole numbers, so that they add up to the same in any order."""

    pixels: int = 0
    sums: tuple[int, int, int] = (0, 0, 0)  # of red, green and blue
    squares: tuple[int, int, int] = (0, 0, 0)
    short_sides: dict[int, int] = Field(default_factory=dict)
    changes: dict[str, int] = Field(default_factory=dict)

    @classmethod
    def of(cls, pixels: Pixels, source_side: int, changes: tuple[str, ...]) -> Self:
        """The tally of one stored image."""
        count = pixels.shape[0] * pixels.shape[1]
        mean, std = (moments.ravel() for moments in cv2.meanStdDev(pixels))
        return cls(
            pixels=count,
            sums=_triple(np.rint(mean * count)),
            squares=_triple(np.rint((mean**2 + std**2) * count)),
            short_sides={1 << source_side.bit_length() - 1: 1},
            changes=dict.fromkeys(changes, 1),
        )

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            pixels=self.pixels + other.pixels,
            sums=_added(self.sums, other.sums),
            squares=_added(self.squares, other.squares),
            short_sides=dict(
                sorted((Counter(self.short_sides) + Counter(other.short_sides)).items())
            ),
            changes=dict(sorted((Counter(self.changes) + Counter(other.changes)).items())),
        )

    def statistics(self) -> Statistics:
        """Means and deviations instead of sums."""
        count = max(self.pixels, 1)
        mean = [self.sums[c] / count for c in _CHANNELS]
        variance = [max(self.squares[c] / count - mean[c] ** 2, 0) for c in _CHANNELS]
        return Statistics(
            mean=(mean[0], mean[1], mean[2]),
            std=(variance[0] ** 0.5, variance[1] ** 0.5, variance[2] ** 0.5),
            short_sides=self.short_sides,
            changes=self.changes,
        )


class Tar(Frozen):
    """The tar file of a shard."""

    sha256: Sha256
    bytes: int
    samples: int


class ShardCommit(Frozen):
    """What building one shard has led to."""

    build: Sha256  # see `build_sha256`
    tar: Tar | None  # None if all images were rejected: such a shard has an empty index only
    rejects: tuple[tuple[str, str, str], ...]  # source, reason, detail
    tally: Tally


def versions() -> dict[str, str]:
    """Of everything that decides the bytes of a data set beside its images and options."""
    return {
        "builder": str(_BUILDER),
        "opencv": cv2.__version__,
        "pillow": PIL.__version__,
        "pyarrow": pa.__version__,
        "webdataset": webdataset.__version__,
    }


def build_sha256(plan: str) -> str:
    """Name of a build: shards of the same plan and the same versions belong together."""
    return canonical_sha256([plan, versions()])


def committed(commit: ShardCommit) -> pa.Schema:
    """The schema of an index that commits its shard."""
    return INDEX_SCHEMA.with_metadata({_KEY: commit.model_dump_json().encode()})


def read_commit(index: Path) -> ShardCommit | None:
    """What an index commits; None if there is none that can be read."""
    try:
        metadata = pq.read_schema(index).metadata or {}
        return ShardCommit.model_validate_json(metadata[_KEY])
    except (OSError, pa.ArrowException, ValidationError, KeyError):
        return None


def _added(first: tuple[int, int, int], second: tuple[int, int, int]) -> tuple[int, int, int]:
    """Python's numbers have no end: squares of all pixels of a large data set go beyond 64 bits."""
    red, green, blue = (one + other for one, other in zip(first, second, strict=True))
    return red, green, blue


def _triple(values: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in values)
    return red, green, blue
