"""The recent rate of something that is counted now and then."""

from __future__ import annotations

from collections import deque
from typing import Final

#: Seconds to look back, and the shortest span that a pace is computed over.
_WINDOW: Final = 30.0
_LEAST: Final = 0.5


class Pace:
    """How many were done at which times (seconds, on any clock)."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, int]] = deque()

    def note(self, now: float, done: int) -> None:
        """Remember a count. If it has decreased, the pace starts over."""
        if self._looks and done < self._looks[-1][1]:
            self._looks.clear()
        self._looks.append((now, done))
        while len(self._looks) > 2 and self._looks[1][0] <= now - _WINDOW:
            self._looks.popleft()

    def stop(self) -> None:
        """Work has stopped for a while, which must not count."""
        self._looks.clear()

    def at(self, now: float) -> float | None:
        """The rate per second, or None while that is unknown."""
        if not self._looks or now - self._looks[0][0] < _LEAST:
            return None
        return (self._looks[-1][1] - self._looks[0][1]) / (now - self._looks[0][0])
