"""Which jobs may share an engine after engines died, so that a job that kills them does not fail its neighbours.

There is no way to tell which of the jobs in a dead engine killed it, and each has spent a delivery. These jobs
therefore come back in small groups, and a job on its last delivery runs alone: any job that fails as `worker_lost` was
alone in its engine when that died.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from enum import Enum, auto

from windfall.result import Attempt


class Sharing(Enum):
    """Which other jobs a job may share an engine with."""

    ANY = auto()
    FEW = auto()  #: only a few that were in a dying engine; others do not count
    NONE = auto()


def allowed_sharing(deliveries: int, most: int, attempts: Sequence[Attempt]) -> Sharing:
    """What a job's history allows; `deliveries` includes this one, and `most` is the limit."""
    if deliveries <= 1:
        return Sharing.ANY
    if deliveries >= most:
        return Sharing.NONE
    died = any(attempt.error is not None and attempt.error.type == "engine_died" for attempt in attempts)
    return Sharing.FEW if died else Sharing.ANY


class Isolation:
    """Controls which jobs share one engine."""

    def __init__(self, slots: int) -> None:
        self._few = asyncio.Semaphore(max(1, math.isqrt(slots)))
        self._inside = 0
        self._left = asyncio.Event()
        self._open = asyncio.Event()
        self._open.set()
        self._alone = asyncio.Lock()

    @asynccontextmanager
    async def enter(self, wanted: Sharing) -> AsyncIterator[None]:
        """Wait until the job may share the engine with those inside; the body runs inside."""
        if wanted is Sharing.NONE:
            async with self._alone, self._emptied():
                yield
        elif wanted is Sharing.FEW:
            async with self._few, self._among_others():
                yield
        else:
            async with self._among_others():
                yield

    @asynccontextmanager
    async def _among_others(self) -> AsyncIterator[None]:
        while not self._open.is_set():
            await self._open.wait()
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            self._left.set()

    @asynccontextmanager
    async def _emptied(self) -> AsyncIterator[None]:
        self._open.clear()
        try:
            while self._inside:
                self._left.clear()
                await self._left.wait()
            yield
        finally:
            self._open.set()
