"""A study as a folder: the page that participants see, with all its pictures in it, and the key to
it.
"""

import base64
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jinja2 import PackageLoader

import imaging
from errors import UserError
from evaluation.reports.page import render
from evaluation.study import answers
from evaluation.study.folders import Folders
from evaluation.study.trials import FILE, QUESTIONS, Shown, Study, draw, wording
from evaluation.whole_files import write_whole
from imaging.codec import Pixels
from imaging.header import read_header

PAGE = "page.html"
LARGEST = 512  # pixels; above it a page would be too heavy for telephones
_TILES = 4  # a broken picture is a shuffled mosaic of so many along each side,
_COARSE = 12  # made of a copy with so many times fewer pixels along each side


def build(
    folders: Folders,
    out: Path,
    *,
    to: str,
    trials: int = 60,
    checks: int = 5,
    size: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Study:
    """Write the page and the key of a study into `out`, which is made if need be.

    All pictures are squares of one size, cut from the middle, as PNG: neither size nor format tells
    who made them.

    Args:
        folders: the pictures to choose from.
        out: folder of the study; an older study without answers is replaced.
        to: the domain that pictures should look like, as participants read it.
        trials: comparisons of each question.
        checks: attention checks beside them.
        size: side of the pictures in pixels; None: the shortest side of any, at most 512.
        seed: of what is shown beside what, where and when.
        progress: told (pictures done, pictures in all).

    Raises:
        UserError: a picture cannot be read, there are too few trials, or `out` holds answers.
    """
    if (out / answers.FILE).exists():
        raise UserError(f"{out} holds answers to a study: build another one in another folder")
    drawn, pictures = draw(folders, trials=trials, checks=checks, seed=seed)
    size = size or min(LARGEST, *(_short_side(shown.path) for shown in pictures))
    study = Study(to=to, methods=tuple(folders.methods), size=size, seed=seed, trials=drawn)
    uris = []
    for done, shown in enumerate(pictures, start=1):
        uris.append(_uri(shown, size))
        progress(done, len(pictures))
    out.mkdir(parents=True, exist_ok=True)
    (out / FILE).unlink(missing_ok=True)  # a page without its key is no study
    (out / PAGE).write_text(_render(study, uris), encoding="utf-8")
    write_whole(out / FILE, study.model_dump_json(indent=2) + "\n")
    return study


def break_up(pixels: Pixels, seed: int = 0) -> Pixels:
    """A picture that nobody takes for a real one: without detail, its tiles shuffled.

    Args:
        pixels: uint8 (size, size, 3), 16 pixels or more.
        seed: of the tiles' order.
    """
    size = len(pixels)
    side = size // _TILES
    coarse = imaging.fit(imaging.fit(pixels, max(2, size // _COARSE)), side * _TILES)
    rows = coarse.reshape(_TILES, side, _TILES, side, 3).swapaxes(1, 2)
    tiles = rows.reshape(_TILES * _TILES, side, side, 3)
    tiles = tiles[np.random.default_rng(seed).permutation(len(tiles))]
    mosaic = tiles.reshape(_TILES, _TILES, side, side, 3).swapaxes(1, 2)
    return imaging.fit(np.ascontiguousarray(mosaic.reshape(coarse.shape)), size)


def _short_side(path: Path) -> int:
    try:
        header = read_header(path.read_bytes())
    except imaging.ImageError as error:
        raise imaging.ImageError(f"{path}: {error}", error.reason) from error
    return min(header.width, header.height)


def _uri(shown: Shown, size: int) -> str:
    pixels = imaging.fit(imaging.read(shown.path), size)
    pixels = break_up(pixels) if shown.broken else pixels
    return "data:image/png;base64," + base64.b64encode(imaging.encode(pixels)).decode()


def _render(study: Study, uris: list[str]) -> str:
    """The page: it holds numbers of pictures, and no name of a method or a file."""
    trials = [
        {
            "question": trial.question,
            "left": trial.left.picture,
            "right": trial.right.picture,
            "source": trial.source and trial.source.picture,
        }
        for trial in study.trials
    ]
    return render(
        PackageLoader("evaluation.study", "."),
        PAGE,
        study={"identity": study.identity, "trials": trials},
        questions=[(question, wording(question, study.to)) for question in QUESTIONS],
        pictures=uris,
    )
