"""How fast something went of late, from one look to the next."""

from __future__ import annotations

from collections import deque
from typing import Final

#: Seconds that are looked back, and the least that a pace is counted over.
_WINDOW: Final = 30.0
_LEAST: Final = 0.5


class Pace:
    """How many were done at which times (seconds, of whatever clock)."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, int]] = deque()

    def note(self, now: float, done: int) -> None:
        """Remember a look. Where some of it is undone again, the pace begins anew."""
        if self._looks and done < self._looks[-1][1]:
            self._looks.clear()
        self._looks.append((now, done))
        while len(self._looks) > 2 and self._looks[1][0] <= now - _WINDOW:
            self._looks.popleft()

    def stop(self) -> None:
        """Nothing goes on for a while, and that is not to count."""
        self._looks.clear()

    def at(self, now: float) -> float | None:
        """How many a second, or None before there is anything to tell."""
        if not self._looks or now - self._looks[0][0] < _LEAST:
            return None
        return (self._looks[-1][1] - self._looks[0][1]) / (now - self._looks[0][0])
