"""Where pybreaker's state machine keeps its state: what Redis last said, or, without Redis, this process' own state.

It has the attributes of pybreaker's `CircuitBreakerStorage` and does no I/O, so pybreaker may read it anywhere. It
differs from pybreaker's own memory storage in two ways: failures are counted in a rolling window, and times are
monotonic, because a Mac's wall clock jumps when it wakes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from datetime import datetime

from windfall_worker.guards.circuit import Numbers, State, Verdict


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
        self._failures: deque[float] = deque(maxlen=numbers.fail_max)
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
        """How many failures fall within the window."""
        oldest = self._clock() - self._numbers.window
        return sum(at >= oldest for at in self._failures)

    def increment_counter(self) -> None:
        """Count a failed call."""
        self._failures.append(self._clock())

    def reset_counter(self) -> None:
        """Do nothing: pybreaker calls this on every success, which does not clear a rolling window."""

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
        now = self._clock()
        self.epoch = verdict.epoch
        self._until = now + verdict.retry_after
        if verdict.failures not in (-1, len(self._failures)):
            self._failures.clear()
            self._failures.extend([now] * verdict.failures)

    def _move(self, state: State) -> None:
        self._state = state
        self.period += 1
        self.prober = None
        self._failures.clear()
