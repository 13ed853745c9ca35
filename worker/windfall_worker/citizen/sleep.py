"""Hands jobs back before the machine sleeps, and takes new ones when it wakes."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, Final

from windfall.runtime.tasks import cancel_all
from windfall_worker.control import Steerable, Who

logger = logging.getLogger("windfall.citizen")

#: Seconds for which the machine waits for the worker before it sleeps; macOS itself waits for 30.
PATIENCE: Final = 20.0

#: What to do before the machine sleeps, and when it wakes.
Sleeps = Callable[[], Coroutine[Any, Any, None]]
Wakes = Callable[[], None]

#: Seconds that running jobs have to end: a Mac whose lid was closed should sleep soon.
_LAST_JOBS: Final = 5.0
#: Seconds awake after which the worker resumes although no wake-up was announced.
_AWAKE: Final = 600.0


class SleepWatch(ABC):
    """Announces the machine's sleep."""

    @abstractmethod
    async def run(self, sleeps: Sleeps, wakes: Wakes) -> None:
        """Watch until cancelled. The machine sleeps once `sleeps()` has ended, or after `PATIENCE`."""


class FakeSleepWatch(SleepWatch):
    """A machine that sleeps when a test says so."""

    def __init__(self) -> None:
        self._callbacks: asyncio.Future[tuple[Sleeps, Wakes]] | None = None

    async def run(self, sleeps: Sleeps, wakes: Wakes) -> None:
        """Wait for the test."""
        self._watched().set_result((sleeps, wakes))
        await asyncio.Event().wait()

    async def sleep(self) -> None:
        """Announce sleep; returns when the machine would sleep."""
        sleeps, _ = await self._watched()
        await sleeps()

    async def wake(self) -> None:
        """Announce a wake-up."""
        _, wakes = await self._watched()
        wakes()

    def _watched(self) -> asyncio.Future[tuple[Sleeps, Wakes]]:
        self._callbacks = self._callbacks or asyncio.get_running_loop().create_future()
        return self._callbacks


class SleepGuard:
    """Pauses a worker and hands its jobs back before the machine sleeps."""

    def __init__(self, watch: SleepWatch, worker: Steerable, *, awake: float = _AWAKE) -> None:
        self._watch = watch
        self._worker = worker
        self._awake = awake
        self._slept_at: float | None = None

    async def run(self) -> None:
        """Guard until cancelled."""
        waking = asyncio.create_task(self._wake_anyway())
        try:
            await self._watch.run(self._sleeps, self._wakes)
        finally:
            await cancel_all([waking])

    async def _sleeps(self) -> None:
        self._slept_at = time.monotonic()
        self._worker.pause(Who.SLEEP, "about to sleep")
        if not await self._worker.hand_back(_LAST_JOBS):
            logger.warning("the machine sleeps before its jobs are back in Redis: they wait until their leases expire")
        self._slept_at = time.monotonic()

    def _wakes(self) -> None:
        self._slept_at = None
        self._worker.resume(Who.SLEEP)

    async def _wake_anyway(self) -> None:
        """Resume even if no wake-up was announced. The monotonic clock does not advance while a machine sleeps."""
        while True:
            await asyncio.sleep(self._awake / 20)
            if self._slept_at is not None and time.monotonic() - self._slept_at > self._awake:
                logger.warning("no wake-up was announced, but the machine has been awake for %.0f s", self._awake)
                self._wakes()
