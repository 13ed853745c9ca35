"""Workers that ended without a word: how long they are told of, and what others took over from them."""

from __future__ import annotations

import asyncio
import time

import pytest
from arq import ArqRedis

from helpers.fake_worker import FakeWorker
from helpers.processes import kill, worker_process, workers_up
from helpers.requests import requests
from helpers.users import refused
from helpers.waiting import eventually
from helpers.workers import simulated, worker
from windfall import Producer, keys
from windfall.broker.clock import RedisClock
from windfall.queue.fleet import FleetStatus
from windfall.queue.workers import LOST_FOR, WorkerStatus, write_heartbeat
from windfall.runtime.tasks import cancel_all
from windfall_worker.control import Who
from windfall_worker.queue.heartbeat import Heartbeat
from windfall_worker.queue.throughput import Throughput
from windfall_worker.recorder import SILENT


def status(name: str, *, ago: float = 0.0, state: str = "running") -> WorkerStatus:
    facts = {"host": "h", "pid": 7, "started_at": 0.0, "version": "0"}
    return WorkerStatus.model_validate({"id": name, "state": state, "seen_at": time.time() - ago, **facts})


async def lose(redis: ArqRedis, name: str, *, ago: float) -> None:
    await write_heartbeat(redis, status(name, ago=ago))
    await redis.delete(keys.WORKER + name)


async def test_a_killed_worker_is_lost_and_others_take_over_its_jobs(producer: Producer, redis_url: str) -> None:
    with worker_process(redis_url, "--simulate", "m=600", "--slots", "5", "--lease", "1") as mini:
        await workers_up(producer, 1)
        (killed,) = (await producer.fleet()).workers
        batch = await producer.enqueue_batch(requests(5))

        async def all_run() -> bool:
            return (await producer.batch(batch.id)).running == 5

        await eventually(all_run, "five running jobs")
        kill(mini)
    async with worker(simulated(lease=1.0), redis_url):
        assert len([result async for result in producer.results(batch.id)]) == 5

        async def lost() -> FleetStatus | None:
            fleet = await producer.fleet()
            return fleet if fleet.lost else None

        fleet = await eventually(lost, "the killed worker being lost")
        assert [(each.id, each.taken_over, each.asleep) for each in fleet.lost] == [(killed.id, 5, False)]
        assert [each.id for each in fleet.workers] != [killed.id]
    # One that ends in the usual way is not lost.
    assert [each.id for each in (await producer.fleet()).lost] == [killed.id]


async def test_a_lost_worker_is_told_of_for_an_hour(producer: Producer, redis: ArqRedis) -> None:
    await lose(redis, "old-7-aaaaaa", ago=LOST_FOR + 10)
    await lose(redis, "mini-7-aaaaaa", ago=LOST_FOR - 60)
    await lose(redis, "new-7-aaaaaa", ago=30)
    await redis.hset(keys.LOST, mapping={"old-7-aaaaaa": 3, "mini-7-aaaaaa": 8, "new-7-aaaaaa": "many"})  # type: ignore[misc]
    fleet = await producer.fleet()
    assert [(each.id, each.taken_over) for each in fleet.lost] == [("new-7-aaaaaa", 0), ("mini-7-aaaaaa", 8)]
    assert fleet.workers == ()
    assert await redis.hkeys(keys.LOST) == [b"mini-7-aaaaaa", b"new-7-aaaaaa"]  # type: ignore[misc]
    assert await redis.zscore(keys.WORKERS, "old-7-aaaaaa") is None


@pytest.mark.parametrize("at", [float("inf"), float("-inf"), 1e300, -1e300, 0])
async def test_a_time_that_no_worker_wrote_is_no_lost_worker(producer: Producer, redis: ArqRedis, at: float) -> None:
    await redis.zadd(keys.WORKERS, {"forged-7-aaaaaa": at})
    assert (await producer.fleet()).lost == ()
    assert await redis.zscore(keys.WORKERS, "forged-7-aaaaaa") is None


async def test_a_machine_that_sleeps_is_not_lost(producer: Producer, redis: ArqRedis) -> None:
    await write_heartbeat(redis, status("book-7-aaaaaa", ago=60, state="asleep"))
    await write_heartbeat(redis, status("soon-7-aaaaaa", state="asleep"))
    fleet = await producer.fleet()
    assert [(each.id, each.asleep) for each in fleet.lost] == [("book-7-aaaaaa", True)]
    assert [each.id for each in fleet.workers] == ["soon-7-aaaaaa"]
    assert await redis.pttl(keys.WORKER + "book-7-aaaaaa") > 60_000


async def test_a_worker_tells_at_once_that_its_machine_is_about_to_sleep(
    producer: Producer, redis: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windfall_worker.queue.heartbeat._PERIOD", 3600)
    mini = FakeWorker(id="mini-7-aaaaaa")
    heartbeat = Heartbeat(redis, RedisClock(redis), mini, {}, Throughput(), SILENT, simulated())

    async def state() -> str | None:
        return next((each.state for each in (await producer.fleet()).workers), None)

    async def beats_as(wanted: str) -> None:
        async def does() -> bool:
            return await state() == wanted

        await eventually(does, f"a heartbeat that says {wanted}")

    running = asyncio.create_task(heartbeat.run())
    await beats_as("running")
    mini.pause(Who.SLEEP, "about to sleep")
    await beats_as("asleep")
    mini.resume(Who.SLEEP)
    await beats_as("running")
    await cancel_all([running])
    assert await state() is None


async def test_the_documented_producer_may_look_at_lost_workers(
    redis: ArqRedis, users: dict[str, str], redis_url: str
) -> None:
    await lose(redis, "old-7-aaaaaa", ago=LOST_FOR + 10)
    await lose(redis, "new-7-aaaaaa", ago=30)
    async with Producer(users["producer"]) as producer:
        assert [each.id for each in (await producer.fleet()).lost] == ["new-7-aaaaaa"]
    assert refused(redis_url) == []
