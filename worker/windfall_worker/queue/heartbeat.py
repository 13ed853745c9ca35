"""This worker's heartbeat: what tells the fleet that it lives, what it serves and how busy it is."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from importlib.metadata import version

from arq import ArqRedis
from redis.exceptions import RedisError

from windfall.broker.clock import RedisClock
from windfall.extras import DISTRIBUTION
from windfall.queue.fleet import ServedModel, WorkerStatus, remove_heartbeat, worker_name, write_heartbeat
from windfall_worker.hardware import chip, memory_bytes
from windfall_worker.recorder import Recorder

logger = logging.getLogger("windfall.registry")

#: Seconds between heartbeats; several may go missing before the worker counts as gone.
_PERIOD = 2.0


class Heartbeat:
    """Writes the worker's status for as long as it runs."""

    def __init__(
        self,
        redis: ArqRedis,
        clock: RedisClock,
        worker_id: str,
        *,
        state: Callable[[], tuple[str, str | None]],
        models: Callable[[], tuple[ServedModel, ...]],
        counts: Callable[[], tuple[int, int]],
        record: Recorder,
    ) -> None:
        self._redis = redis
        self._clock = clock
        self._id = worker_id
        self._state = state
        self._models = models
        self._counts = counts
        self._record = record
        self._started_at: float | None = None

    async def run(self) -> None:
        """Beat until cancelled, then say that the worker has ended."""
        try:
            # Known from then on. A Mac is asked through a program, and nothing here is to wait for that.
            await asyncio.to_thread(lambda: (chip(), memory_bytes()))
            while True:
                await self._beat()
                await asyncio.sleep(_PERIOD)
        finally:
            await self._say_goodbye()

    async def _beat(self) -> None:
        try:
            now = await self._clock.now()
            self._started_at = self._started_at or now
            completed, failed = self._counts()
            state, why = self._state()
            status = WorkerStatus(
                id=self._id,
                name=worker_name(self._id),
                host=socket.gethostname(),
                pid=os.getpid(),
                state=state,
                why=why,
                started_at=self._started_at,
                seen_at=now,
                version=version(DISTRIBUTION),
                models=self._models(),
                completed=completed,
                failed=failed,
                chip=chip(),
                memory_bytes=memory_bytes(),
            )
            await write_heartbeat(self._redis, status)
        except (RedisError, OSError) as exc:
            self._record.redis_failed("heartbeat")
            logger.warning("no heartbeat: %s", exc)

    async def _say_goodbye(self) -> None:
        try:
            async with asyncio.timeout(2):
                await remove_heartbeat(self._redis, self._id)
        except (RedisError, OSError, TimeoutError) as exc:
            logger.warning("could not say goodbye: %s", exc)
