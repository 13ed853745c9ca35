"""What the worker has to tell Redis of jobs that ended: kept until Redis has taken it, however long it is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from arq import ArqRedis
from redis.exceptions import RedisError

from windfall.broker.connection import OUTAGE, is_passing
from windfall.scripts import Step, run_all
from windfall.tasks import wait_for
from windfall_worker.recorder import Recorder

logger = logging.getLogger("windfall.outbox")

#: Steps of one round trip.
_PAGE = 100
#: Seconds between attempts while Redis is away or full.
_PAUSE_FIRST, _PAUSE_MOST = 0.05, 0.5


@dataclass(frozen=True, slots=True)
class PendingStep:
    """One step, and who wants to hear Redis' answer to it (None when Redis called the step itself wrong)."""

    step: Step
    job_id: str
    on_answer: Callable[[bytes | None], None]


class Outbox:
    """Delivers steps in order, many in one round trip. Every step in it may be repeated without harm."""

    def __init__(self, redis: ArqRedis, record: Recorder) -> None:
        self._redis = redis
        self._record = record
        self._pending: list[PendingStep] = []
        self._posted = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._pending)

    def post(self, step: PendingStep) -> None:
        """Take a step; never blocks."""
        self._pending.append(step)
        self._posted.set()
        self._empty.clear()

    async def run(self) -> None:
        """Deliver for ever."""
        pause = _PAUSE_FIRST
        while True:
            await self._posted.wait()
            page = self._pending[:_PAGE]
            kept = await self._deliver(page)
            self._pending[: len(page)] = kept
            if kept:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _PAUSE_MOST)
                continue
            pause = _PAUSE_FIRST
            if not self._pending:
                self._posted.clear()
                self._empty.set()

    async def _deliver(self, page: list[PendingStep]) -> list[PendingStep]:
        """Returns what could not be delivered now."""
        try:
            answers = await run_all(self._redis, [pending.step for pending in page])
        except (RedisError, *OUTAGE) as exc:
            self._record.redis_failed("deliver")
            logger.warning("Redis does not take results (%s: %s); %d wait", type(exc).__name__, exc, len(self._pending))
            return page
        kept = []
        for pending, answer in zip(page, answers, strict=True):
            if isinstance(answer, Exception) and is_passing(answer):
                kept.append(pending)
            elif isinstance(answer, Exception):
                # A bug or a missing permission: nothing that waiting mends. The lease ends, and the job is run again.
                logger.error("%s of job %s failed: %s", pending.step.script, pending.job_id, answer)
                pending.on_answer(None)
            else:
                pending.on_answer(answer)
        if kept:
            self._record.redis_failed("deliver")
            logger.warning("Redis took nothing of %d results for now", len(kept))
        return kept

    async def flush(self, timeout: float) -> bool:
        """Wait until all is delivered, at most `timeout` seconds; returns whether it was."""
        return await wait_for(self._empty, within=timeout)
