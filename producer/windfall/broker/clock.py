"""Redis TIME: the only clock, since no two Macs agree."""

from __future__ import annotations

from typing import Any

from arq import ArqRedis

from windfall.boottime import boottime

#: Seconds for which a reading is carried forward by the machine's clock, which drifts by less than a millisecond.
_FRESH = 30.0


class RedisClock:
    """Tells Redis' time, asking it only now and then."""

    def __init__(self, redis: ArqRedis) -> None:
        self._redis: Any = redis
        self._offset = 0.0
        self._read_at = float("-inf")

    @property
    def is_fresh(self) -> bool:
        """Whether the time can be told without asking Redis."""
        return boottime() - self._read_at <= _FRESH

    async def now(self) -> float:
        """Unix seconds on Redis' clock."""
        if not self.is_fresh:
            seconds, micros = await self._redis.time()
            self.set(seconds + micros / 1e6)
        return self.carried()

    async def now_ms(self) -> int:
        """Unix milliseconds on Redis' clock."""
        return int(await self.now() * 1000)

    def set(self, now: float) -> None:
        """Take a reading that somebody else made just now."""
        self._read_at = boottime()
        self._offset = now - self._read_at

    def carried(self) -> float:
        """The last reading carried forward, without asking; right only after one."""
        return self._offset + boottime()
