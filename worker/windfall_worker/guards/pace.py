"""The pace of this process' own calls: what it goes by while Redis is away, and how fast they went lately."""

from __future__ import annotations

import math
from collections.abc import Callable

#: Seconds over which the speed is averaged.
_AVERAGED: float = 3.0
#: Seconds between calls after the first refusal, and at most.
_FIRST_GAP, _LARGEST_GAP = 0.05, 60.0


class Pace:
    """Doubles the gap between calls with each refusal, and lets every success make it a little smaller."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._gap = 0.0
        self._next = 0.0
        self._speed, self._at = 0.0, clock()

    @property
    def speed(self) -> float:
        """Calls a second lately."""
        return self._speed * math.exp((self._at - self._clock()) / _AVERAGED)

    def refused(self) -> None:
        """Note a refusal that nothing explains."""
        self._gap = min(_LARGEST_GAP, max(_FIRST_GAP, 2 * self._gap))

    def went_well(self) -> None:
        """Note a call that was not refused."""
        self._gap = 0.95 * self._gap if self._gap > _FIRST_GAP / 10 else 0.0

    def went(self) -> None:
        """Note that a call goes."""
        now = self._clock()
        self._speed, self._at = self.speed + 1 / _AVERAGED, now

    def wait(self, blocked: float, *, most: float, pressed: bool) -> float:
        """Seconds until the next call may go, at least `blocked`. It takes that moment unless it is beyond `most`.

        `pressed`: calls had to wait lately, so they go no faster than they did.
        """
        now = self._clock()
        at = max(now + blocked, self._next)
        if at - now <= most:
            self._next = at + (max(self._gap, 1 / max(1.0, self.speed)) if pressed else self._gap)
        return at - now
