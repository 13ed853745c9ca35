"""A machine that is about to sleep: its jobs are handed back first, and it works again when it wakes."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, Final

from windfall.tasks import cancel_all
from windfall_worker.control import Steerable, Who

logger = logging.getLogger("windfall.citizen")

#: Seconds for which a machine waits for us before it sleeps: macOS itself waits for 30.
PATIENCE: Final = 20.0

#: What is done before the machine sleeps, and when it wakes.
Sleeps = Callable[[], Coroutine[Any, Any, None]]
Wakes = Callable[[], None]

#: Seconds that running jobs get to end: nobody wants to wait long for a lid that is closed.
_LAST_JOBS: Final = 5.0
#: Seconds of being awake after which a wake-up that nobody told us of is taken for granted.
_AWAKE: Final = 600.0


class SleepWatch(ABC):
    """Tells of the machine's sleep."""

    @abstractmethod
    async def run(self, sleeps: Sleeps, wakes: Wakes) -> None:
        """Watch for ever. The machine sleeps when `sleeps()` has ended, or after `PATIENCE`."""


class FakeSleepWatch(SleepWatch):
    """A machine that sleeps when a test says so."""

    def __init__(self) -> None:
        self._told: asyncio.Future[tuple[Sleeps, Wakes]] | None = None

    async def run(self, sleeps: Sleeps, wakes: Wakes) -> None:
        """Wait for the test."""
        self._watched().set_result((sleeps, wakes))
        await asyncio.Event().wait()

    async def sleep(self) -> None:
        """About to sleep; returns when it would."""
        sleeps, _ = await self._watched()
        await sleeps()

    async def wake(self) -> None:
        """It woke up."""
        _, wakes = await self._watched()
        wakes()

    def _watched(self) -> asyncio.Future[tuple[Sleeps, Wakes]]:
        self._told = self._told or asyncio.get_running_loop().create_future()
        return self._told


class SleepGuard:
    """Pauses a worker and hands its jobs back before the machine sleeps."""

    def __init__(self, watch: SleepWatch, worker: Steerable, *, awake: float = _AWAKE) -> None:
        self._watch = watch
        self._worker = worker
        self._awake = awake
        self._slept_at: float | None = None

    async def run(self) -> None:
        """Guard for ever."""
        waking = asyncio.create_task(self._wake_anyway())
        try:
            await self._watch.run(self._sleeps, self._wakes)
        finally:
            await cancel_all([waking])

    async def _sleeps(self) -> None:
        self._slept_at = time.monotonic()
        self._worker.pause(Who.SLEEP, "about to sleep")
        if not await self._worker.hand_back(_LAST_JOBS):
            logger.warning("the machine sleeps before Redis has its jobs back: they wait for the ends of their leases")
        self._slept_at = time.monotonic()

    def _wakes(self) -> None:
        self._slept_at = None
        self._worker.resume(Who.SLEEP)

    async def _wake_anyway(self) -> None:
        """A worker must not stay paused for want of a word. The monotonic clock stands still while a machine sleeps."""
        while True:
            await asyncio.sleep(self._awake / 20)
            if self._slept_at is not None and time.monotonic() - self._slept_at > self._awake:
                logger.warning("nobody said that this machine woke up, but it has been awake for %.0f s", self._awake)
                self._wakes()
