"""How many transport retries the whole fleet may make: 20 % of the calls, plus 10 per second.

It is a token bucket, with one token for each retry. Every call adds a fifth of a token, every second adds ten, and the
bucket holds at most what ten seconds add: so a fleet that retries everything adds at most a fifth to an endpoint's
load, and a small fleet can still retry.
Source: Finagle's RetryBudget, https://finagle.github.io/blog/2016/02/08/retry-budgets/.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from windfall.keys import RETRIES
from windfall_worker.guards.redis_link import RedisLink
from windfall_worker.guards.scripts import guard_script

_TAKE = guard_script("budget_take")


class RetryBudget:
    """The retry budget of one origin (scheme and host). Without Redis, or while it is away, it is this process' own."""

    def __init__(
        self,
        name: str,
        link: RedisLink | None,
        *,
        share: float = 0.2,
        per_second: float = 10.0,
        seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._key = RETRIES + name
        self._link = link
        self._share = share
        self._per_second = per_second
        self._most = max(1.0, per_second * seconds)
        self._calls = 0
        self._tokens = self._most
        self._clock = clock
        self._at = clock()

    def count_call(self) -> None:
        """Count a call. Redis learns of it with the next retry: successful calls cost no round trip."""
        self._calls += 1

    async def take(self) -> bool:
        """Whether one retry may be made now; if so, it is counted."""
        calls, self._calls = self._calls, 0
        if self._link:
            taken = await self._link.call(_TAKE, [self._key], [calls, self._share, self._per_second, self._most])
            if taken is not None:
                return bool(taken)
        return self._take_here(calls)

    def _take_here(self, calls: int) -> bool:
        now = self._clock()
        gained = calls * self._share + (now - self._at) * self._per_second
        self._tokens, self._at = min(self._most, self._tokens + gained), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
