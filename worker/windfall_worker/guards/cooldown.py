"""The cool-down of an endpoint: after a 429 the whole fleet leaves it alone for as long as it asked.

It is a key in Redis that expires, so only Redis' clock counts. Without Redis it applies to this process.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Final, cast

from redis.asyncio import Redis

from windfall.keys import COOLDOWN
from windfall_worker.guards.redis_link import RedisLink
from windfall_worker.guards.scripts import guard_script

#: Seconds of cool-down after a 429 that names no time.
UNNAMED: Final = 5.0
#: Seconds; a longer time is reduced to this, so that a garbled header cannot close an endpoint for a year.
LONGEST: Final = 86_400.0

_START = guard_script("cooldown_start")
_LEFT = guard_script("cooldown_left")


class Cooldown:
    """One endpoint's cool-down. A cool-down that another process started is noticed at most `stale` seconds late."""

    def __init__(
        self, name: str, link: RedisLink | None, *, stale: float = 0.25, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._key = COOLDOWN + name
        self._link = link
        self._stale = stale
        self._clock = clock
        self._until = 0.0
        self._look_at = 0.0

    async def start(self, seconds: float) -> None:
        """Leave the endpoint alone for this long, or for what is left of a longer cool-down."""
        seconds = min(seconds, LONGEST)
        self._until = max(self._until, self._clock() + seconds)
        if self._link and seconds > 0:
            self.heard(await self._link.call(_START, [self._key], [max(1, round(seconds * 1000))]))

    @property
    def active(self) -> bool:
        """Whether calls are on hold, as far as this process knows."""
        return self._until > self._clock()

    async def left(self) -> float:
        """Seconds for which calls are on hold; 0 if they may be made now."""
        now = self._clock()
        if self._link and now >= self._look_at:
            self.heard(await self._link.call(_LEFT, [self._key], []))
        return self.known

    @property
    def known(self) -> float:
        """The same, as far as this process knows."""
        return max(0.0, self._until - self._clock())

    def heard(self, left: int | None) -> None:
        """Note how many milliseconds are left, or (None) that this is not known."""
        now = self._clock()
        self._look_at = now + self._stale
        if left is not None:
            self._until = now + left / 1000


async def list_cooldowns(redis: Redis) -> dict[str, float]:
    """Every endpoint that is cooling down, and for how many more seconds."""
    found = {}
    async for key in cast(AsyncIterator[bytes | str], redis.scan_iter(match=f"{COOLDOWN}*", count=1000)):
        name = key.decode() if isinstance(key, bytes) else key
        left = await redis.pttl(name)
        if left > 0:
            found[name.removeprefix(COOLDOWN)] = left / 1000
    return dict(sorted(found.items()))


async def end_cooldown(redis: Redis, name: str) -> bool:
    """End a cool-down by hand. Returns whether there was one."""
    return bool(await redis.delete(COOLDOWN + name))
