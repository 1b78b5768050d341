"""What is reported of a training, and to whom."""

from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol

from imaging.codec import Pixels


class Start(NamedTuple):
    """Where an attempt of a training begins."""

    position: int  # images of each domain seen before
    total: int
    seconds: float  # trained before
    seconds_allowed: float | None  # after which the clock ends the run


ReportKind = Literal["begin", "pace", "log", "show", "keep"]  # methods of a journal


class Journal(Protocol):
    """Who is told how training goes; lives beside the person who watches."""

    def begin(self, start: Start, facts: Mapping[str, str]) -> None:
        """Hear that an attempt begins, and with what."""
        ...

    def pace(self, position: int, images_per_second: float, seconds: float) -> None:
        """Hear how far training is and how fast, between two reports."""
        ...

    def log(self, position: int, total: int, metrics: Mapping[str, float], seconds: float) -> None:
        """Take a report."""
        ...

    def show(self, position: int, pictures: Mapping[str, Pixels]) -> None:
        """Take sample pictures."""
        ...

    def keep(self, name: str, content: bytes) -> None:
        """Take a file for the run's folder."""
        ...
