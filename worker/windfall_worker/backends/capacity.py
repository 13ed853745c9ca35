"""How many jobs a worker may claim: what is free, and a little more so that the engine never waits for Redis."""

from __future__ import annotations

import asyncio
import math
import time

#: Weight of the newest observation in the moving averages.
_NEW = 0.1
#: Seconds below which a job that is held is a short one.
_SHORT = 0.25
#: A backlog of so many times the slots is a long one.
_LONG = 4


class Capacity:
    """Places for jobs on this worker. `wake` is set when there may be something to claim.

    The prefetch follows Little's law: as many jobs as end during two claim round trips, so that a slot that frees finds
    its next job here. That rate comes from how long jobs are held, and not from the gaps between their ends: 64 jobs of
    5 s that began together end together, which is no high rate. Where jobs are short, all slots may free at once and
    the next ones are here; what waits behind them waits for no longer than they are. Slow jobs prefetch nothing,
    because a job that waits here could be running on another Mac. For the same reason a backend gets the `lookahead`
    that it wishes for only before a long `backlog`, when all are busy.
    """

    def __init__(self, slots: int, *, lookahead: int = 0) -> None:
        self.slots = slots
        self.held = 0  #: jobs claimed and not ended
        self.backlog = 0  #: jobs that nobody holds yet, as last looked at
        self.lanes_empty = False  #: the last claim found less than it asked for, and nothing was heard of since
        self.wake = asyncio.Event()
        self._lookahead = lookahead
        self._held_for = math.inf  # seconds that a job is held, averaged
        self._round_trip = 0.002

    @property
    def prefetch(self) -> int:
        """Jobs to hold beyond the slots."""
        short = self._held_for < _SHORT
        by_rate = self.slots if short else int(2 * self._round_trip * self.slots / self._held_for)
        wished = self._lookahead if self.backlog >= _LONG * self.slots else 0
        return max(wished, min(by_rate, self.slots))

    @property
    def free(self) -> int:
        """How many more jobs to claim now."""
        return max(0, self.slots + self.prefetch - self.held)

    def take(self) -> None:
        """A job came here."""
        self.held += 1

    def give(self, held_for: float | None) -> None:
        """A job ended here, or went elsewhere, after so many seconds; None where that says nothing of how long jobs
        take.
        """
        self.held -= 1
        if held_for is not None:
            before = held_for if math.isinf(self._held_for) else self._held_for
            self._held_for = (1 - _NEW) * before + _NEW * held_for
        if not self.lanes_empty:  # else a claim after each job that ends would find nothing, in every idle worker
            self.wake.set()

    def hear(self) -> None:
        """There may be something to claim again."""
        self.lanes_empty = False
        self.wake.set()

    def observe_round_trip(self, seconds: float) -> None:
        """A claim took this long."""
        self._round_trip = (1 - _NEW) * self._round_trip + _NEW * min(seconds, 0.1)


class Slot:
    """The place that one job takes up: it moves with the job from a Mac's engine to the cloud."""

    def __init__(self, capacity: Capacity) -> None:
        self._capacity: Capacity | None = capacity
        self._since = time.monotonic()
        capacity.take()

    def move(self, capacity: Capacity) -> None:
        """Free the place held so far and take one there, which may be one more than there are."""
        if self._capacity is not capacity:
            self.leave()
            self._capacity, self._since = capacity, time.monotonic()
            capacity.take()

    def leave(self, *, ended: bool = True) -> None:
        """Free the place. A job that has not `ended` was handed back: a pause must not look like many short jobs."""
        if self._capacity is not None:
            self._capacity.give(time.monotonic() - self._since if ended else None)
            self._capacity = None
