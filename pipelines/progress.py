"""How work tells how far it is."""

from collections.abc import Callable

Progress = Callable[[int, int], None]  # told (things done, things in all)
Advance = Callable[[int], None]  # told the number of things done since the last call


def counter(progress: Progress | None, total: int) -> Advance:
    """A function that adds to the number of things done and tells `progress`."""
    done = 0

    def advance(things: int) -> None:
        nonlocal done
        done += things
        if progress:
            progress(done, total)

    return advance
