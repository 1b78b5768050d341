"""Pictures in, files out: who writes which file, what a command would replace, and signs of life
while it works.
"""

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from commands.console import console, replacing
from errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from vqi2i.editing.chain import Chain
    from vqi2i.editing.forecast import Forecast
    from vqi2i.translator import Translator

_AT_ONCE = 8  # pictures made from nothing: more would gain no time, and come later
_LONG, _VERY_LONG = 10.0, 120.0  # seconds; what takes longer is announced, or is told with a remedy
_TICK = 1.0  # seconds between looks at the clock


class Work(NamedTuple):
    """One file to be made."""

    image: Path | None  # it is made from; None: from nothing
    seed: int
    target: Path


def plan(works: Sequence[Work], also_read: Iterable[Path] = ()) -> Sequence[Work]:
    """The same works, if none of them loses what another one makes or reads.

    Args:
        works: files to be made.
        also_read: pictures that are read beside the images.

    Raises:
        UserError: two of them have the same target, or a target is a picture that is read.
    """
    made: dict[Path, Work] = {}
    for work in works:
        other = made.setdefault(work.target.resolve(), work)
        if other is not work:
            given = (
                f"{other.image} is given twice"
                if other.image == work.image
                else f"{other.image} and {work.image}"
            )
            raise UserError(
                f"{given}: both results would be {work.target}, give them in two commands with "
                "two --out"
            )
    for path in [*(work.image for work in works if work.image is not None), *also_read]:
        if (work := made.get(path.resolve())) is not None:
            raise UserError(
                f"{path} is read, and the result of {work.image} would replace it: choose another "
                "--out"
            )
    return works


def perform(
    translator: "Translator", chain: "Chain", works: Sequence[Work], *, beside: Path = Path()
) -> list[Path]:
    """Apply a chain to image files and write the results; say which files they replace.

    Args:
        translator: the model.
        chain: what is done.
        works: files to be made.
        beside: where the pictures lie that the chain asks for.

    Returns:
        The files, in the order of the works.
    """
    pictures = {name: _load(path) for name, path in picture_paths(chain, beside).items()}
    for folder in dict.fromkeys(work.target.parent for work in works):
        # before anything is computed that could not be written
        folder.mkdir(parents=True, exist_ok=True)
    targets = [work.target for work in works]
    with replacing(targets):
        for some in _together(works):
            source = some[0].image
            image = _load(source) if source is not None else None
            with _signs_of_life(
                translator, chain, (source or some[0].target).name, image, pictures, count=len(some)
            ):
                made = translator.compose(
                    image, chain, pictures=pictures, seed=[work.seed for work in some]
                )
            for result, work in zip(made, some, strict=True):
                _save(result[None], work.target)
    return targets


def picture_paths(chain: "Chain", beside: Path) -> dict[str, Path]:
    """Where the pictures lie that a chain asks for, by the names it gives them."""
    from vqi2i.checking.typed import at_home

    return {name: beside / at_home(name) for name in chain.pictures}


def _together(works: Sequence[Work]) -> Iterator[Sequence[Work]]:
    """Works in the portions in which they are done: each image on its own."""
    portion = _AT_ONCE if works[0].image is None else 1
    for start in range(0, len(works), portion):
        yield works[start : start + portion]


@contextmanager
def _signs_of_life(
    translator: "Translator",
    chain: "Chain",
    name: str,
    image: "Tensor | None",
    pictures: "Mapping[str, Tensor]",
    *,
    count: int,
) -> Iterator[None]:
    """Meanwhile, say how long it will take to do this to pictures, and how long it has taken, if
    that is long.
    """
    from vqi2i.editing.forecast import forecast

    begun = time.monotonic()
    expected = forecast(translator, chain, image, pictures, count)
    if expected is not None and expected.seconds > _LONG:
        console.print(f"{name}: {_announced(expected)}", markup=False, soft_wrap=True)
    done = threading.Event()
    seconds = expected.seconds if expected is not None else None
    teller = threading.Thread(target=_tell, args=(name, begun, seconds, done), daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()


def _announced(expected: "Forecast") -> str:
    remedy = (
        f"; a copy of half the size would take {_said(expected.half)}"
        if expected.seconds > _VERY_LONG
        else ""
    )
    return (
        f"{expected.width}x{expected.height} px will take about {_said(expected.seconds)}{remedy}"
    )


def _said(seconds: float) -> str:
    from pipelines.progress import duration

    return f"{seconds:.0f} s" if seconds < 100 else duration(seconds)


def _tell(name: str, begun: float, expected: float | None, done: threading.Event) -> None:
    from pipelines.progress import Pulse

    pulse = Pulse(begun)
    while not done.wait(_TICK):
        now = time.monotonic()
        if not pulse.due(now):
            continue
        if expected is None:
            rest = " so far"
        elif now - begun > expected:
            rest = f", longer than the expected {_said(expected)}"
        else:
            rest = f" of about {_said(expected)}"
        console.print(f"{name}: {_said(now - begun)}{rest}", markup=False, soft_wrap=True)


def _load(path: Path) -> "Tensor":
    """An image file as a tensor (1, 3, h, w) in [-1, 1]."""
    import imaging

    return imaging.to_tensor([imaging.read(path)])


def _save(images: "Tensor", path: Path) -> None:
    """Write the only image of a batch."""
    import imaging

    imaging.write(path, imaging.to_pixels(images)[0])
