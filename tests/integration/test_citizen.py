"""A worker that keeps to its rules, on a real Redis: the machine is one of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from faultserver.redis_process import RedisProcess
from helpers.requests import request, requests
from helpers.scraping import scrape
from helpers.waiting import eventually
from helpers.workers import hold_jobs, let_jobs_wait_behind_one, simulated
from windfall import JobState, Producer
from windfall.embedded.broker import free_port
from windfall.queue.workers import WorkerStatus
from windfall_worker.citizen.awake import Awake
from windfall_worker.citizen.machine import Machine
from windfall_worker.citizen.readings import ALL, FakeSensors, Readings
from windfall_worker.citizen.sleep import FakeSleepWatch, SleepGuard
from windfall_worker.main import Parts, run_worker
from windfall_worker.queue.claims import ClaimClient, Claimed
from windfall_worker.settings import WorkerSettings


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    return hold_jobs(monkeypatch)


@asynccontextmanager
async def worker(
    settings: WorkerSettings,
    redis_url: str,
    sensors: FakeSensors | None = None,
    sleep: FakeSleepWatch | None = None,
    awake: list[str] | None = None,
) -> AsyncIterator[None]:
    """A worker on a machine that these sensors see, and that sleeps when it is told."""
    ready, stop = asyncio.Event(), asyncio.Event()
    machine = Machine(sensors or FakeSensors(), awake, sleep, period=0.05)
    running = asyncio.create_task(
        run_worker(settings, redis_url, ready=ready, stop=stop, handle_signals=False, parts=Parts(machine=machine))
    )
    try:
        async with asyncio.timeout(60):
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

    return asyncio.ensure_future(eventually(look, f"the heartbeat of {name}"))


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
        assert (await producer.wait(job, timeout=60)).state is JobState.COMPLETED
        await sees(producer, "book", lambda status: status.state == "running" and status.why is None)


async def test_the_machine_is_looked_at_before_the_first_job_is_taken(producer: Producer, redis_url: str) -> None:
    class SlowSensors(FakeSensors):
        async def read(self, wanted: frozenset[str] = ALL) -> Readings:
            await asyncio.sleep(0.5)
            return await super().read(wanted)

    job = await producer.enqueue(request())
    async with worker(simulated(on_ac=True, name="book"), redis_url, SlowSensors(Readings(on_ac=False))):
        status = await sees(producer, "book", lambda status: status.state == "paused")
        assert status.completed == 0
        assert await producer.result(job) is None


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


async def test_a_job_that_runs_goes_on_when_its_worker_is_paused(
    producer: Producer, redis_url: str, done: asyncio.Event
) -> None:
    sensors = FakeSensors(Readings(on_ac=True))
    async with worker(simulated(latency=0.01, on_ac=True, name="book"), redis_url, sensors):
        job = await producer.enqueue(request())

        async def runs() -> bool:
            return any(lane.running for lane in (await producer.fleet()).lanes)

        await eventually(runs, "a running job")
        sensors.readings = Readings(on_ac=False)
        status = await sees(producer, "book", lambda status: status.state == "paused")
        assert status.models[0].running == 1
        second = await producer.enqueue(request())
        done.set()
        result = await producer.wait(job, timeout=60)
        assert await producer.result(second) is None
    assert [attempt.outcome for attempt in result.attempts] == ["completed"]


async def running(producer: Producer, count: int) -> None:
    """Wait until so many jobs run."""

    async def run() -> bool:
        return sum(lane.running for lane in (await producer.fleet()).lanes) == count

    await eventually(run, f"{count} running jobs")


async def test_what_was_claimed_and_has_not_begun_is_handed_back_without_a_try_spent(
    producer: Producer, redis_url: str, monkeypatch: pytest.MonkeyPatch, done: asyncio.Event
) -> None:
    let_jobs_wait_behind_one(monkeypatch)
    batch = await producer.enqueue_batch(requests(3))
    sensors = FakeSensors(Readings(on_ac=True))
    async with worker(simulated(latency=0.01, slots=1, on_ac=True, name="book"), redis_url, sensors):
        await running(producer, 3)
        sensors.readings = Readings(on_ac=False)
        await running(producer, 1)
        async with worker(simulated(name="mini"), redis_url):

            async def two_ended() -> bool:
                return (await producer.batch(batch.id)).completed == 2

            await eventually(two_ended, "what was handed back having ended elsewhere")
            done.set()
            results = [result async for result in producer.results(batch.id)]
    assert sorted((result.worker or "").partition("-")[0] for result in results) == ["book", "mini", "mini"]
    assert [[attempt.outcome for attempt in result.attempts] for result in results] == [["completed"]] * 3


async def test_jobs_that_come_while_it_is_paused_go_back_without_having_begun(
    producer: Producer, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sensors = FakeSensors(Readings(on_ac=True))
    claim = ClaimClient.claim

    async def late(self: ClaimClient, lanes: Sequence[str], want: int, **limits: int | None) -> Claimed:
        claimed = await claim(self, lanes, want, **limits)
        if claimed.claims:
            sensors.readings = Readings(on_ac=False)
            looks = sensors.looks

            async def paused() -> bool:
                return sensors.looks > looks + 2

            await eventually(paused)
        return claimed

    monkeypatch.setattr(ClaimClient, "claim", late)
    async with worker(simulated(on_ac=True, name="book"), redis_url, sensors):
        job = await producer.enqueue(request())
        await sees(producer, "book", lambda status: status.state == "paused")
        await running(producer, 0)
        assert await producer.result(job) is None


async def test_before_the_machine_sleeps_its_jobs_go_to_others_and_when_it_wakes_it_works_again(
    producer: Producer, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windfall_worker.citizen.sleep._LAST_JOBS", 0.2)
    book = FakeSleepWatch()
    async with worker(simulated(latency=60, slots=2, name="book", drain_timeout=0), redis_url, sleep=book):
        batch = await producer.enqueue_batch(requests(2))
        await running(producer, 2)
        await book.sleep()
        status = await producer.batch(batch.id)
        assert (status.queued, status.running) == (2, 0)
        status_of_book = await sees(producer, "book", lambda status: status.state == "asleep")
        assert status_of_book.why == "about to sleep"
        async with worker(simulated(latency=0, name="mini"), redis_url):
            results = [result async for result in producer.results(batch.id)]
        assert all((result.worker or "").startswith("mini-") for result in results)
        told = [[(attempt.outcome, attempt.moved_on) for attempt in result.attempts] for result in results]
        back = ("cancelled", "handed back by its worker; no try spent")
        assert told == [[back, ("completed", None)]] * 2
        await producer.enqueue(request())
        await book.wake()
        await running(producer, 1)


async def test_a_job_that_ends_in_time_is_kept_when_the_machine_sleeps(producer: Producer, redis_url: str) -> None:
    book = FakeSleepWatch()
    async with worker(simulated(latency=1, name="book"), redis_url, sleep=book):
        job = await producer.enqueue(request())
        await running(producer, 1)
        await book.sleep()
        result = await producer.result(job)
    assert result is not None
    assert [attempt.outcome for attempt in result.attempts] == ["completed"]


async def test_what_a_claim_brings_while_the_machine_falls_asleep_is_handed_back_before_it_does(
    producer: Producer, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, answered, book = ClaimClient.claim, asyncio.Event(), FakeSleepWatch()
    sleeping: list[asyncio.Task[None]] = []

    async def late(self: ClaimClient, lanes: Sequence[str], want: int, **limits: int | None) -> Claimed:
        claimed = await claim(self, lanes, want, **limits)
        if claimed.claims:
            sleeping.append(asyncio.create_task(book.sleep()))
            answered.set()
            await asyncio.wait(sleeping, timeout=0.3)
        return claimed

    monkeypatch.setattr(ClaimClient, "claim", late)
    port = free_port()
    async with worker(simulated(latency=60, name="book", metrics_port=port), redis_url, sleep=book):
        batch = await producer.enqueue_batch(requests(1))
        await answered.wait()
        await sleeping[0]
        status = await producer.batch(batch.id)
        assert (status.queued, status.running) == (1, 0)
        assert (await scrape(port)).labels("windfall_job_returns_total", "why") == {"drain"}


async def test_a_machine_without_its_network_is_kept_awake_no_longer_than_its_jobs_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windfall_worker.citizen.watchers.Awake", partial(Awake, linger=0.0, period=0.05))
    log = tmp_path / "log"
    awake = ["sh", "-c", f"trap 'echo end >>{log}; exit 0' TERM; echo start >>{log}; while :; do sleep 0.05; done"]

    async def written(what: str) -> None:
        async def is_there() -> bool:
            return log.exists() and what in log.read_text()

        await eventually(is_there, f"{what} in {log}")

    with RedisProcess() as server:
        async with worker(simulated(latency=1), server.url, awake=awake):
            async with Producer(server.url) as producer:
                job = await producer.enqueue(request())
            await written("start")
            server.kill()
            await written("end")
            server.start()
            async with Producer(server.url) as producer:
                assert (await producer.wait(job, timeout=60)).ok


async def test_a_machine_that_sleeps_without_its_network_says_so_and_goes_on_with_the_job_afterwards(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("windfall_worker.citizen.sleep._LAST_JOBS", 0.1)
    for limit in ("_LAST_CLAIM", "_LAST_RESULTS"):
        monkeypatch.setattr(f"windfall_worker.fleet_worker.{limit}", 0.3)
    done, book = hold_jobs(monkeypatch), FakeSleepWatch()
    with RedisProcess() as server:
        async with worker(simulated(latency=0.01, name="book"), server.url, sleep=book):
            async with Producer(server.url) as producer:
                job = await producer.enqueue(request())
                await running(producer, 1)
            server.kill()
            await book.sleep()
            assert "the machine sleeps before its jobs are back in Redis" in caplog.text
            server.start()
            done.set()
            await book.wake()
            async with Producer(server.url) as producer:
                result = await producer.wait(job, timeout=60)
    assert [attempt.outcome for attempt in result.attempts] == ["cancelled", "completed"]


async def test_a_worker_that_nobody_wakes_wakes_by_itself(
    producer: Producer, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windfall_worker.citizen.watchers.SleepGuard", partial(SleepGuard, awake=0.5))
    book = FakeSleepWatch()
    async with worker(simulated(name="book"), redis_url, sleep=book):
        await book.sleep()
        assert (await producer.wait(await producer.enqueue(request()), timeout=60)).ok
