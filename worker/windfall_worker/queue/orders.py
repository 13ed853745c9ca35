"""What a person has ordered this worker to do: to take no new jobs for a while, or to drain."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from arq import ArqRedis

from windfall import keys
from windfall.broker.announcements import Announcements
from windfall.broker.connection import REDIS_ERRORS
from windfall.queue.workers import worker_names
from windfall.runtime.tasks import wait_for
from windfall_worker.control import Steerable, Who

logger = logging.getLogger("windfall.orders")

#: Seconds between checks, in case the announcement of an order is lost.
_PERIOD: Final = 2.0


class Orders:
    """Checks for orders regularly, and carries them out."""

    def __init__(self, redis: ArqRedis, worker: Steerable, host: str) -> None:
        self._redis: Any = redis
        self._worker = worker
        self._names = [keys.WORKER + name for name in worker_names(worker.id, host)]
        self._drained = False

    async def begin(self) -> None:
        """Check before the first job is claimed, if Redis answers."""
        try:
            await self.look()
        except REDIS_ERRORS as exc:
            logger.warning("cannot check for orders: %s", exc)

    async def run(self, announcements: Announcements) -> None:
        """Check at every announcement, and every `_PERIOD` seconds."""
        while True:
            try:
                async with announcements.listen(keys.CHANNEL_WORKER + self._worker.id) as announced:
                    while True:
                        announced.clear()
                        await self.look()
                        await wait_for(announced, within=_PERIOD)
            except REDIS_ERRORS as exc:
                logger.debug("cannot check for orders: %s", exc)
                await asyncio.sleep(_PERIOD)

    async def look(self) -> None:
        """Carry out the current orders. Raises what Redis raises."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.smismember(keys.PAUSED, self._names)
            pipe.exists(keys.DRAIN + self._worker.id)
            paused, drain = await pipe.execute()
        if any(paused):
            self._worker.pause(Who.OPERATOR, "paused by windfall pause")
        else:
            self._worker.resume(Who.OPERATOR)
        if drain and not self._drained:
            self._drained = True
            logger.warning("draining: ordered by windfall drain")
            self._worker.drain()
