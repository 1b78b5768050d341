"""Image data as a stage wants it: normalised, on its device, rows domain by domain."""

from collections.abc import Generator
from contextlib import closing
from typing import Any

import numpy as np
import torch
from torch import Tensor

import imaging
from errors import UserError
from pipelines.reading.reader import ShardReader
from pipelines.schema import Split, measured_split
from pipelines.shards_to_batches import Batch, Batches, held_out
from training.checkpointing.data_state import DataState
from training.config import ImagesConfig
from training.distributed.collectives import Collectives
from training.metrics import chosen
from training.stages.device_loader import Sent, Transfer, prefetched
from vqi2i.bundle import CHOSEN

HELD_OUT = 64  # images of each domain that are measured during training
STYLED = 256  # training images of each domain whose styles make the style prior


class ImageFeed:
    """One worker's images: its part of every batch, and the same held-out images for all."""

    def __init__(self, reader: ShardReader, config: ImagesConfig, collectives: Collectives):
        domains = config.domains
        unknown = set(domains) - set(reader.manifest.domains)
        if unknown:
            raise UserError(
                f"{reader.root} has no domain {', '.join(sorted(unknown))}: it was built with "
                "others"
            )
        self._config = config
        self._collectives = collectives
        self.reader = reader
        self.domains = domains
        self.labels = frozenset(reader.manifest.options.labels)  # domains of label maps
        self.crop = config.crop
        self.device = collectives.device
        self.measured: Split = measured_split(
            reader.count("validation", domain) for domain in domains
        )
        if unmeasured := [domain for domain in domains if not reader.count(self.measured, domain)]:
            raise UserError(
                f"{reader.root} has neither validation nor test images of {', '.join(unmeasured)} "
                "to measure models on: build it with `vqi2i data shard --validation 0.1`"
            )
        # an epoch in images of each domain: that of the largest
        self.epoch = max(reader.count("train", domain) for domain in domains)
        self._batches = Batches(
            reader,
            domains=domains,
            crop=config.crop,
            global_batch=config.batch_size,
            seed=config.seed,
            rank=collectives.rank,
            world_size=collectives.world_size,
            paired=config.is_paired,
            jitter=config.jitter,
            order=config.order,
            max_corrupt=config.max_corrupt,
        )
        self.replaced = 0  # damaged images of the batches it has given, in whose place stood others

    def batches(self, start: int) -> Generator[Tensor, None, None]:
        """Training batches (domains * b, 3, crop, crop) in [-1, 1] from position `start` on."""
        transfer = Transfer(self.device)

        def send(batch: Batch) -> tuple[int, Sent]:
            # (domains, b, crop, crop, 3) to (domains * b, crop, crop, 3), uint8
            return len(batch.replaced), transfer.send(
                batch.pixels.reshape(-1, *batch.pixels.shape[2:])
            )

        with closing(prefetched(self._batches.iterate(start), send)) as source:
            for replaced, sent in source:
                self.replaced += replaced
                yield _as_floats(sent.receive())

    def state(self, position: int) -> DataState:
        """Which images come next at `position`."""
        config = self._config
        return DataState(
            position=position,
            seed=config.seed,
            manifest=self.reader.manifest.fingerprint,
            global_batch=config.batch_size,
            order=config.order,
        )

    def replaced_anywhere(self) -> float:
        """Damaged images that others stood in for, of all workers: each meets some of its own."""
        replaced = torch.tensor(float(self.replaced), device=self.device)
        self._collectives.sum(replaced)
        return float(replaced)

    def provenance(self, position: int, chosen_by: str) -> dict[str, Any]:
        """What a bundle says of the weights at `position`.

        Args:
            position: images of each domain seen.
            chosen_by: the figure by which they are the best; empty: they are the last.
        """
        return {
            "images_seen": position,
            "measured_on": self.measured,
            CHOSEN: chosen(chosen_by, self.measured),
        }

    def names(self, position: int, rank: int) -> list[str]:
        """The images of a rank's part of the batch at `position`."""
        return self._batches.names(position, rank)

    def held_out(self) -> dict[str, Tensor]:
        """The first images of each domain in the split `measured`, centre-cropped, read anew."""
        given = {"crop": self.crop, "limit": HELD_OUT}
        return {
            d: imaging.to_tensor(held_out(self.reader, d, split=self.measured, **given))
            for d in self.domains
        }

    def styled(self, domain: str) -> Tensor:
        """Centre crops of training images of a domain, evenly spread over it."""
        return styled(self.reader, domain, self.crop)


def _as_floats(pixels: Tensor) -> Tensor:
    """uint8 (n, h, w, 3) to (n, 3, h, w) in [-1, 1].

    uint8 travels, floats are made where they are used: a quarter of the bytes. The permuted view is
    channels-last already, the layout in which convolutions are fastest.
    """
    return pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def styled(reader: ShardReader, domain: str, crop: int) -> Tensor:
    """Centre crops (n, 3, crop, crop) of training images, evenly spread, to fit styles on."""
    count = reader.count("train", domain)
    indices = np.unique(np.linspace(0, count - 1, min(count, STYLED)).astype(int))
    pixels = reader.read_some("train", domain, indices)
    return imaging.to_tensor([imaging.center_crop(image, crop, crop) for image in pixels])
