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


class Pulse:
    """When a sign of life is due: within seconds, then ever more rarely, at last every half minute.

    Args:
        now: the clock at the beginning.
    """

    FIRST, LONGEST = 5.0, 30.0  # seconds

    def __init__(self, now: float):
        self._wait = self.FIRST
        self._next = now + self.FIRST

    def due(self, now: float) -> bool:
        """Whether one is due; then the next one is later."""
        if now < self._next:
            return False
        self.rest(now)
        return True

    def rest(self, now: float) -> None:
        """There has just been one."""
        self._next = now + self._wait
        self._wait = min(2 * self._wait, self.LONGEST)


class Pace:
    """How fast work goes since a beginning that others may have worked towards.

    Args:
        done: things done at the beginning.
        seconds: the clock at the beginning.
    """

    def __init__(self, done: int, seconds: float):
        self._done = done
        self._seconds = seconds

    def rate(self, done: int, seconds: float) -> float:
        """Things per second since the beginning; 0 before anything was done."""
        passed = seconds - self._seconds
        return (done - self._done) / passed if passed > 0 else 0.0

    def left(self, done: int, total: int, seconds: float) -> float | None:
        """Seconds that the rest takes at this rate; None before anything was done."""
        rate = self.rate(done, seconds)
        return (total - done) / rate if rate > 0 else None


def duration(seconds: float | None) -> str:
    """Seconds as people say them."""
    if seconds is None:
        return "unknown time"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
