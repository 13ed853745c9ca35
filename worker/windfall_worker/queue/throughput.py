"""How many jobs ended recently, by lane: it shows how fast a backlog shrinks."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Final

from windfall.keys import lane_parts
from windfall.request import Route

#: Seconds over which a rate is counted.
_WINDOW: Final = 30
#: The fewest seconds over which it is counted: the first wave of jobs ends all at once.
_LEAST: Final = 5


class Throughput:
    """Counts ends by lane and second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._ended: defaultdict[str, Counter[int]] = defaultdict(Counter)

    def note(self, lane: str) -> None:
        """Count a job of this lane that ended."""
        seconds = self._ended[lane]
        seconds[int(self._clock())] += 1
        if len(seconds) > 2 * _WINDOW:
            self._forget(seconds)

    def rates(self, model: str) -> dict[Route, float]:
        """Jobs of a model that ended per second, by their lane's route."""
        now = self._clock()
        over = min(_WINDOW, max(_LEAST, now - self._since))
        rates = {}
        for lane, seconds in self._ended.items():
            parts = lane_parts(lane)
            if parts and parts[0] == model:
                self._forget(seconds)
                rates[parts[1]] = round(seconds.total() / over, 3)
        return rates

    def _forget(self, seconds: Counter[int]) -> None:
        oldest = self._clock() - _WINDOW
        for second in [each for each in seconds if each < oldest]:
            del seconds[second]
