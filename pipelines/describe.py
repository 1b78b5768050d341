"""What a data set holds, for people: counts and a contact sheet."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

import imaging
from imaging.codec import Pixels
from pipelines.reading.reader import ShardReader
from pipelines.schema import Manifest, Split


class Row(NamedTuple):
    """One line of the table that describes a data set."""

    split: Split
    domain: str
    images: int
    shards: int
    bytes: int


def describe(manifest: Manifest) -> list[Row]:
    """One row per split and domain: images, shards and bytes."""
    return [
        Row(
            split,
            domain,
            manifest.count(split, domain),
            len(shards),
            sum(shard.bytes for shard in shards),
        )
        for split in manifest.options.splits
        for domain, shards in manifest.splits[split].items()
    ]


def contact_sheet(
    root: Path, manifest: Manifest, split: Split = "train", per_domain: int = 8
) -> Pixels:
    """The first images of each domain, one row per domain, cut to squares: uint8 (h, w, 3)."""
    reader = ShardReader(root)
    size = manifest.size
    cells: list[Pixels] = []
    for domain in manifest.domains:
        shown = [
            reader.read(split, domain, index)
            for index in range(min(per_domain, reader.count(split, domain)))
        ]
        cells += [imaging.fit(pixels, size) for pixels in shown]
        cells += [np.full((size, size, 3), 255, np.uint8)] * (per_domain - len(shown))
    return imaging.grid(cells, columns=per_domain)
