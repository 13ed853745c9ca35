"""How many jobs a worker may claim: its free slots, and a few more so that the engine never waits for Redis."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final

#: Weight of the newest observation in the moving averages.
_NEW: Final = 0.1
#: Jobs held for fewer seconds than this are short.
_SHORT: Final = 0.25
#: A backlog of this many times the slots is long.
_LONG: Final = 4


def _no_brake() -> int | None:
    return None


class Capacity:
    """The slots for jobs on this worker. `wake` is set when there may be something to claim.

    The prefetch follows Little's law: as many jobs as end during two claim round trips, so that a slot that becomes
    free finds its next job here. The rate is derived from how long jobs are held, not from the gaps between their ends:
    64 jobs of 5 s that began together end together, which does not make a high rate. If jobs are short, a second set of
    them is held, in case all slots become free at once; it waits no longer than a job takes. Slow jobs are not
    prefetched, because a job that waits here could be running on another Mac. For the same reason a backend gets the
    `lookahead` that it asks for only while there is a long `backlog`, when every worker is busy.
    """

    def __init__(self, slots: int, *, lookahead: int = 0) -> None:
        self.slots = slots
        self.held = 0  #: jobs claimed and not ended
        self.held_interactive = 0  #: those of them that somebody waits for
        self.backlog = 0  #: jobs waiting to be claimed, as last observed
        self.lanes_empty = False  #: the last claim found fewer jobs than it asked for, and none was announced since
        self.wake = asyncio.Event()
        self.brake: Callable[[], int | None] = _no_brake  #: how many jobs are worth holding; None: as many as fit
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
        free = max(0, self.slots + self.prefetch - self.held)
        most = self.brake()
        return free if most is None else min(free, max(0, most - self.held))

    @property
    def free_for_others(self) -> int:
        """How many of them may be other than interactive, while interactive jobs come: an eighth of the slots is kept.

        One slot at least is kept, but not the only one. Nothing is prefetched: it would be in the way of an interactive
        job.
        """
        kept = min(max(1, self.slots // 8), self.slots - 1)
        return max(0, min(self.free, self.slots - kept - (self.held - self.held_interactive)))

    def take(self, *, interactive: bool = False) -> None:
        """Count a job that takes a slot."""
        self.held += 1
        self.held_interactive += interactive

    def give(self, held_for: float | None, *, interactive: bool = False) -> None:
        """Count a job that leaves its slot after `held_for` seconds; None says nothing about how long jobs take."""
        self.held -= 1
        self.held_interactive -= interactive
        if held_for is not None:
            before = held_for if math.isinf(self._held_for) else self._held_for
            self._held_for = (1 - _NEW) * before + _NEW * held_for
        if not self.lanes_empty:  # otherwise every idle worker would claim in vain after each job that ends
            self.wake.set()

    def make_room(self) -> None:
        """Note that the brake may have been released a little."""
        if not self.lanes_empty:
            self.wake.set()

    def hear(self) -> None:
        """Note that there may be something to claim again."""
        self.lanes_empty = False
        self.wake.set()

    def observe_claim(self, *, found_all: bool) -> None:
        """Note whether the last claim found as many jobs as it asked for."""
        self.lanes_empty = not found_all

    def observe_backlog(self, jobs: int) -> None:
        """Note how many jobs are waiting to be claimed."""
        self.backlog = jobs

    def observe_round_trip(self, seconds: float) -> None:
        """Note how long a claim took."""
        self._round_trip = (1 - _NEW) * self._round_trip + _NEW * min(seconds, 0.1)


class Slot:
    """The slot that one job takes up: it moves with the job from a Mac's engine to the cloud."""

    def __init__(self, capacity: Capacity, *, interactive: bool = False) -> None:
        self._capacity: Capacity | None = capacity
        self._since = time.monotonic()
        self._interactive = interactive
        capacity.take(interactive=interactive)

    def move(self, capacity: Capacity) -> None:
        """Free the slot held so far and take one of `capacity`, even if none is free there."""
        if self._capacity is not capacity:
            self.leave()
            self._capacity, self._since = capacity, time.monotonic()
            capacity.take(interactive=self._interactive)

    def leave(self, *, ended: bool = True) -> None:
        """Free the slot. A job that has not `ended` was handed back: a pause must not look like many short jobs."""
        if self._capacity is not None:
            self._capacity.give(time.monotonic() - self._since if ended else None, interactive=self._interactive)
            self._capacity = None
