"""Redis TIME: the only clock, because no two Macs agree."""

from __future__ import annotations

from typing import Any, Final

from arq import ArqRedis

from windfall.runtime.boottime import boottime

#: Seconds for which the machine's clock extrapolates a reading; it drifts by less than a millisecond.
_FRESH: Final = 30.0


class RedisClock:
    """Tells Redis' time, asking Redis only now and then."""

    def __init__(self, redis: ArqRedis) -> None:
        self._redis: Any = redis
        self._offset = 0.0
        self._read_at = float("-inf")

    @property
    def is_fresh(self) -> bool:
        """Whether the time is known without asking Redis."""
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
        """Take over a reading that another call made just now."""
        self._read_at = boottime()
        self._offset = now - self._read_at

    def carried(self) -> float:
        """The last reading extrapolated, without asking Redis; valid only after a reading."""
        return self._offset + boottime()
