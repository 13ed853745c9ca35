"""A worker that keeps to its rules, on a real Redis: the machine is one of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from support import eventually, request, requests, simulated
from windfall import JobState, Producer
from windfall.fleet import WorkerStatus
from windfall_worker.citizen.machine import Machine
from windfall_worker.citizen.readings import FakeSensors, Readings
from windfall_worker.main import run_worker
from windfall_worker.settings import WorkerSettings


@pytest.fixture
async def producer(redis_url: str) -> AsyncIterator[Producer]:
    async with Producer(redis_url) as producer:
        yield producer


@asynccontextmanager
async def worker(settings: WorkerSettings, redis_url: str, sensors: FakeSensors) -> AsyncIterator[None]:
    """A worker on a machine that these sensors see."""
    ready, stop = asyncio.Event(), asyncio.Event()
    machine = Machine(sensors, period=0.05)
    running = asyncio.create_task(
        run_worker(settings, redis_url, ready=ready, stop=stop, handle_signals=False, machine=machine)
    )
    try:
        async with asyncio.timeout(20):
            await ready.wait()
        yield
    finally:
        stop.set()
        await running


def sees(producer: Producer, name: str, wanted: Callable[[WorkerStatus], bool]) -> asyncio.Future[WorkerStatus]:
    """Wait until the heartbeat of the worker of this name is as wanted."""

    async def look() -> WorkerStatus | None:
        found = [status for status in (await producer.fleet()).workers if status.id.startswith(f"{name}-")]
        return found[0] if found and wanted(found[0]) else None

    return asyncio.ensure_future(eventually(look, what=f"the heartbeat of {name}"))


async def test_a_worker_on_battery_takes_nothing_says_why_and_goes_on_with_mains_power(
    producer: Producer, redis_url: str
) -> None:
    sensors = FakeSensors(Readings(on_ac=False))
    async with worker(simulated(on_ac=True, name="book"), redis_url, sensors):
        job = await producer.enqueue(request())
        status = await sees(producer, "book", lambda status: status.state == "paused")
        assert status.why == "on battery"
        looked = sensors.looks

        async def looked_again() -> bool:
            return sensors.looks > looked + 10

        await eventually(looked_again)
        assert await producer.result(job) is None
        sensors.readings = Readings(on_ac=True)
        assert (await producer.wait(job, timeout=10)).state is JobState.COMPLETED
        await sees(producer, "book", lambda status: status.state == "running" and status.why is None)


async def test_what_a_paused_worker_leaves_another_takes(producer: Producer, redis_url: str) -> None:
    on_battery, on_mains = FakeSensors(Readings(on_ac=False)), FakeSensors(Readings(on_ac=True))
    async with (
        worker(simulated(on_ac=True, name="book"), redis_url, on_battery),
        worker(simulated(on_ac=True, name="mini"), redis_url, on_mains),
    ):
        batch = await producer.enqueue_batch(requests(30))
        workers = [result.worker or "" async for result in producer.results(batch.id)]
    assert len(workers) == 30
    assert all(name.startswith("mini-") for name in workers)


async def test_a_job_that_runs_goes_on_when_its_worker_is_paused(producer: Producer, redis_url: str) -> None:
    sensors = FakeSensors(Readings(on_ac=True))
    async with worker(simulated(latency=4, on_ac=True, name="book"), redis_url, sensors):
        job = await producer.enqueue(request())

        async def runs() -> bool:
            return any(lane.running for lane in (await producer.fleet()).lanes)

        await eventually(runs, what="a running job")
        sensors.readings = Readings(on_ac=False)
        status = await sees(producer, "book", lambda status: status.state == "paused")
        assert status.models[0].running == 1
        second = await producer.enqueue(request())
        result = await producer.wait(job, timeout=10)
        assert await producer.result(second) is None
    assert [attempt.outcome for attempt in result.attempts] == ["completed"]
