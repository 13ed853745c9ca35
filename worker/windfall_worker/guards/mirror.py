"""Where pybreaker's state machine keeps its state: what Redis last said, or, without Redis, this process' own state.

It has the attributes of pybreaker's `CircuitBreakerStorage` and does no I/O, so pybreaker may read it anywhere. Two
things differ from pybreaker's own memory storage: the failure rate in a window is counted as well, and time is the
monotonic clock, because a Mac's wall clock jumps when it wakes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from windfall_worker.guards.circuit import State, Verdict
from windfall_worker.guards.numbers import FailureRate, Numbers

#: A window is counted in so many slices; the scripts on Redis do the same.
_SLICES: Final = 10


class Tally:
    """How many calls ended within a window, and how many of them failed."""

    def __init__(self, rate: FailureRate, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._slices: dict[int, list[int]] = {}
        self._succeeded = False
        self.new_streak = False  #: whether the last call that ended failed, and the one before it did not

    def count(self, *, failed: bool) -> None:
        """A call ended."""
        slice_ = math.floor(self._clock() * _SLICES / self._rate.window)
        for old in [each for each in self._slices if each <= slice_ - _SLICES]:
            del self._slices[old]
        counts = self._slices.setdefault(slice_, [0, 0, 0])
        counts[0] += 1
        counts[1] += failed
        counts[2] += 1
        self.new_streak = failed and self._succeeded
        self._succeeded = not failed

    def take_untold(self) -> int:
        """How many calls have ended within the window since this was last asked."""
        untold = sum(counts[2] for counts in self._slices.values())
        for counts in self._slices.values():
            counts[2] = 0
        return untold

    @property
    def too_many_failed(self) -> bool:
        """Whether the failure rate is too high, as of the last call that ended."""
        calls = sum(counts[0] for counts in self._slices.values())
        failed = sum(counts[1] for counts in self._slices.values())
        return calls >= self._rate.min_calls and failed >= self._rate.share * calls

    def clear(self) -> None:
        """Nothing of what was is of any account."""
        self._slices.clear()
        self._succeeded = self.new_streak = False


class Mirror:
    """The state of one breaker in this process.

    `period` counts the changes of state, which identifies calls from an earlier period. `epoch` is Redis' count of the
    same, as last received. `prober` is the token of this process' own probe while Redis is away.
    """

    name = "mirror"

    def __init__(self, numbers: Numbers, clock: Callable[[], float] = time.monotonic) -> None:
        self._numbers = numbers
        self._clock = clock
        self._state: State = "closed"
        self._failures = 0
        self.tally = Tally(numbers.rate, clock)
        self._until = 0.0
        self.period = 0
        self.epoch = -1
        self.prober: str | None = None
        self.success_counter = 0
        self.opened_at: datetime | None = None  # pybreaker writes it; nothing of ours reads a wall clock

    @property
    def state(self) -> State:
        """`closed`, `open` or `half-open`."""
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._move(state)
        if state == "open":
            self._until = self._clock() + self._numbers.reset_timeout

    @property
    def seconds_left(self) -> float:
        """Seconds until a breaker that is not closed may be tried again; 0 if it may be tried now."""
        return max(0.0, self._until - self._clock())

    @property
    def counter(self) -> int:
        """How many calls in a row have failed."""
        return self._failures

    def increment_counter(self) -> None:
        """A call failed."""
        self._failures += 1

    def reset_counter(self) -> None:
        """A call ended well."""
        self._failures = 0

    def increment_success_counter(self) -> None:
        """Count a successful probe."""
        self.success_counter += 1

    def reset_success_counter(self) -> None:
        """Start counting probes again."""
        self.success_counter = 0

    def load(self, verdict: Verdict) -> None:
        """Adopt the state in Redis."""
        if verdict.state != self._state or verdict.epoch != self.epoch:
            self._move(verdict.state)
        self.epoch = verdict.epoch
        self._until = self._clock() + verdict.retry_after
        self._failures = verdict.failures

    def _move(self, state: State) -> None:
        self._state = state
        self.period += 1
        self.prober = None
        self._failures = 0
        self.tally.clear()
