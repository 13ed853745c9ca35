"""Workers in the process of the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from windfall.result import Completion
from windfall_worker.backends import opening
from windfall_worker.backends.base import Call
from windfall_worker.backends.capacity import Capacity
from windfall_worker.backends.routing import GuardedBackend
from windfall_worker.backends.simulated import SimulatedBackend
from windfall_worker.main import run_worker
from windfall_worker.settings import ModelSettings, WorkerSettings


def simulated(latency: float = 0.0, slots: int = 8, **settings: Any) -> WorkerSettings:
    """Settings of a worker that simulates the model `m`."""
    return WorkerSettings(models=(ModelSettings(name="m", simulate=latency, slots=slots),), **settings)


@asynccontextmanager
async def worker(settings: WorkerSettings, redis: Any) -> AsyncIterator[asyncio.Event]:
    """A worker in this process, ready when the body begins and drained when it ends; yields what drains it."""
    ready, stop = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(run_worker(settings, redis, ready=ready, stop=stop, handle_signals=False))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if running.done():
        running.result()
    try:
        yield stop
    finally:
        stop.set()
        await running


def hold_jobs(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Until this event is set, no job of a worker with a latency ends."""
    event, complete = asyncio.Event(), SimulatedBackend.complete

    async def wait(self: SimulatedBackend, call: Call) -> Completion:
        if self.latency:
            await event.wait()
        return await complete(self, call)

    monkeypatch.setattr(SimulatedBackend, "complete", wait)
    return event


def let_jobs_wait_behind_one(monkeypatch: pytest.MonkeyPatch, waiting: int = 2) -> None:
    """A worker runs one job at a time, and claims so many more that have not begun."""
    local = opening._local

    def narrow(*args: Any) -> GuardedBackend:
        return replace(local(*args), limit=asyncio.Semaphore(1), capacity=Capacity(1, lookahead=waiting))

    monkeypatch.setattr(opening, "_local", narrow)
    monkeypatch.setattr("windfall_worker.backends.capacity._LONG", 0)
