"""A data set of two-season landscapes on disk, with the truth that real photographs lack.

The training images are unpaired; the test triples are paired, so that a translation can be compared
with the truth.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from errors import UserError
from imaging import read, write
from pipelines.storage.atomic_files import entries
from pipelines.synthetic.landscape import render
from pipelines.synthetic.scene import DOMAINS, Content, Style, draw_content, draw_style

__all__ = [
    "DOMAINS",
    "Content",
    "Style",
    "SyntheticSummary",
    "Triples",
    "draw_content",
    "draw_style",
    "read_triples",
    "render",
    "synthesize",
]

GENERATOR = 5  # raise it whenever the same settings would give other pixels
DONE = "synthetic.json"
STARTED = "synthetic.json.partial"
WIDE_ASPECT = 3


class SyntheticSummary(BaseModel):
    """What `synthetic.json` says: the settings that determine every byte, and the number of
    images.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    generator: int
    seed: int
    size: int
    pairs: int
    tests: int
    wide: int
    images: int


class Triples(NamedTuple):
    """Test images, uint8 (n, height, width, 3); `truth` is the content of `source` in the style of
    `exemplar`.
    """

    source: np.ndarray
    exemplar: np.ndarray
    truth: np.ndarray


class _Picture(NamedTuple):
    path: str  # relative, without suffix
    content: Content
    style: Style
    aspect: int


def synthesize(
    out: Path,
    *,
    pairs: int = 400,
    size: int = 64,
    tests: int = 64,
    wide: int = 16,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> SyntheticSummary:
    """Write a data set of summer and winter landscapes, and beside each image the truth it was
    painted from.

    Every image is determined by (seed, split, domain, index), so another count leaves the others as
    they are. An interrupted run is redone by the same call; a finished one returns at once.

    Args:
        out: `train/DOMAIN`, `test/SOURCE_to_TARGET/{source,exemplar,truth}` and `wide/DOMAIN`
            appear here, the truth of `P.png` as `truth/P.json`, and `synthetic.json` last.
        pairs: training images per domain; nothing but the number is paired.
        size: height of every image in pixels; the wide ones are three times as wide.
        tests: paired triples per direction.
        wide: wide images per domain.
        progress: called with (images written, images in all).

    Raises:
        UserError: `out` holds something else.
        ValueError: a number is out of range.
    """
    if pairs < 1 or size < 16 or tests < 0 or wide < 0:
        raise ValueError(
            f"{pairs=}, {size=}, {tests=}, {wide=}: use pairs >= 1, size >= 16, tests >= 0 and "
            "wide >= 0"
        )
    images = len(DOMAINS) * (pairs + 3 * tests + wide)
    summary = SyntheticSummary(
        generator=GENERATOR,
        seed=seed,
        size=size,
        pairs=pairs,
        tests=tests,
        wide=wide,
        images=images,
    )
    if _is_done(out, summary):
        return summary
    out.mkdir(parents=True, exist_ok=True)
    (out / STARTED).write_text(_settings(summary))
    for done, picture in enumerate(_pictures(summary), start=1):
        _write_picture(out, picture, size)
        if progress is not None:
            progress(done, images)
    (out / STARTED).replace(out / DONE)
    return summary


def read_triples(root: Path, source: str, target: str) -> Triples:
    """Read the paired test images of one direction, in the order of their names.

    Raises:
        UserError: there are none, or the three folders do not hold the same names.
    """
    folder = root / "test" / f"{source}_to_{target}"
    names = [
        [path.name for path in entries(folder / role) if path.suffix == ".png"]
        for role in Triples._fields
    ]
    if not names[0] or any(other != names[0] for other in names):
        raise UserError(
            f"{folder} holds no complete test triples: make them with `vqi2i data synthesize`"
        )
    return Triples(
        *(np.stack([read(folder / role / name) for name in names[0]]) for role in Triples._fields)
    )


def read_training(root: Path, domain: str) -> np.ndarray:
    """Read the training images of a domain, in the order of their names: uint8 (n, size, size, 3).

    Raises:
        UserError: there are none, or they differ in size.
    """
    folder = root / "train" / domain
    images = [read(path) for path in entries(folder) if path.suffix == ".png"]
    if len({image.shape for image in images}) != 1:
        raise UserError(
            f"{folder} holds no images of one size: make them with `vqi2i data synthesize`"
        )
    return np.stack(images)


def _is_done(out: Path, summary: SyntheticSummary) -> bool:
    """Whether `out` is complete.

    Raises:
        UserError: `out` is in use for anything but this data set.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: choose a folder to write to")
    there = {path.name for path in entries(out)}
    if there <= {STARTED}:
        return False
    marker = DONE if DONE in there else STARTED
    if marker not in there:
        raise UserError(f"{out} holds other files: choose an empty folder")
    if (out / marker).read_bytes() != _settings(summary).encode():
        raise UserError(
            f"{out} was made with other settings: choose another folder, remove it or repeat its "
            "settings"
        )
    return marker == DONE


def _settings(summary: SyntheticSummary) -> str:
    return summary.model_dump_json(indent=2) + "\n"


def _rng(seed: int, *place: str | int) -> np.random.Generator:
    """The random stream of one place in the data set, independent of all others."""
    digest = hashlib.sha256(json.dumps([seed, *place]).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


def _pictures(summary: SyntheticSummary) -> Iterator[_Picture]:
    for split, count, aspect in (("train", summary.pairs, 1), ("wide", summary.wide, WIDE_ASPECT)):
        for domain in DOMAINS:
            for index in range(count):
                rng = _rng(summary.seed, split, domain, index)
                content, style = draw_content(rng, aspect), draw_style(rng, domain)
                yield _Picture(f"{split}/{domain}/{index:05d}", content, style, aspect)
    for source, target in (DOMAINS, DOMAINS[::-1]):
        for index in range(summary.tests):
            direction = f"{source}_to_{target}"
            rng = _rng(summary.seed, "test", direction, index)
            content, other = draw_content(rng), draw_content(rng)
            before, after = draw_style(rng, source), draw_style(rng, target)
            triple = ((content, before), (other, after), (content, after))
            for role, (shown, style) in zip(Triples._fields, triple, strict=True):
                yield _Picture(f"test/{direction}/{role}/{index:05d}", shown, style, 1)


def _write_picture(out: Path, picture: _Picture, size: int) -> None:
    pixels = render(picture.content, picture.style, height=size, width=picture.aspect * size)
    write(out / f"{picture.path}.png", pixels)
    truth = out / "truth" / f"{picture.path}.json"
    truth.parent.mkdir(parents=True, exist_ok=True)
    truth.write_text(
        json.dumps({"content": picture.content.model_dump(), "style": picture.style.model_dump()})
        + "\n"
    )
