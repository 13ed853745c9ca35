"""Who may be in an engine together after engines died: so that a job that kills them takes no neighbour with it.

Nobody can see which of the jobs in a dead engine killed it, and each has spent a delivery. Those jobs therefore come
back in small groups, and on its last delivery a job runs alone: whoever is failed as `worker_lost` was by itself when
it happened.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from enum import Enum, auto

from windfall.result import Attempt


class Sharing(Enum):
    """With whom a job may be in an engine."""

    ANY = auto()
    FEW = auto()  #: of those that were in an engine when it died; others do not count
    NONE = auto()


def allowed_sharing(deliveries: int, most: int, attempts: Sequence[Attempt]) -> Sharing:
    """What a job's past allows; `deliveries` counts this one, and it has at most `most`."""
    if deliveries <= 1:
        return Sharing.ANY
    if deliveries >= most:
        return Sharing.NONE
    died = any(attempt.error is not None and attempt.error.type == "engine_died" for attempt in attempts)
    return Sharing.FEW if died else Sharing.ANY


class Isolation:
    """The door of one engine."""

    def __init__(self, slots: int) -> None:
        self._few = asyncio.Semaphore(max(1, math.isqrt(slots)))
        self._inside = 0
        self._left = asyncio.Event()
        self._open = asyncio.Event()
        self._open.set()
        self._alone = asyncio.Lock()

    @asynccontextmanager
    async def enter(self, wanted: Sharing) -> AsyncIterator[None]:
        """Wait until the engine holds only such sharing; the body runs inside."""
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
