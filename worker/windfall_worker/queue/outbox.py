"""What Redis has yet to hear about ended jobs: kept until Redis accepts it, however long it is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from arq import ArqRedis

from windfall.broker.connection import REDIS_ERRORS, is_passing
from windfall.runtime.tasks import wait_for
from windfall.scripts import Step, run_all
from windfall_worker.recorder import Recorder

logger = logging.getLogger("windfall.outbox")

#: Steps in one round trip.
_PAGE: Final = 100
#: Seconds between attempts while Redis is away or full, at first and at most.
_PAUSE_FIRST: Final = 0.05
_PAUSE_MOST: Final = 0.5


@dataclass(frozen=True, slots=True)
class PendingStep:
    """One step, and what is called with Redis' answer to it (None if Redis rejected the step itself)."""

    step: Step
    job_id: str
    on_answer: Callable[[bytes | None], None]


class Outbox:
    """Delivers steps in order, many in one round trip. Every step may safely be repeated."""

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
        """Add a step; never blocks."""
        self._pending.append(step)
        self._posted.set()
        self._empty.clear()

    async def run(self) -> None:
        """Deliver until cancelled."""
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
        """Returns the steps that could not be delivered now."""
        try:
            answers = await run_all(self._redis, [pending.step for pending in page])
        except REDIS_ERRORS as exc:
            self._record.redis_failed("deliver")
            logger.warning(
                "Redis does not accept results (%s: %s); %d waiting", type(exc).__name__, exc, len(self._pending)
            )
            return page
        kept = []
        for pending, answer in zip(page, answers, strict=True):
            if isinstance(answer, Exception) and is_passing(answer):
                kept.append(pending)
            elif isinstance(answer, Exception):
                # A bug or a missing permission: waiting would not help. The lease expires, and the job runs again.
                logger.error("%s of job %s failed: %s", pending.step.script, pending.job_id, answer)
                pending.on_answer(None)
            else:
                pending.on_answer(answer)
        if kept:
            self._record.redis_failed("deliver")
            logger.warning("Redis cannot accept %d results at the moment", len(kept))
        return kept

    async def flush(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until everything is delivered; returns whether it was."""
        return await wait_for(self._empty, within=timeout)
