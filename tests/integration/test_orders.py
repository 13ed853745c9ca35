"""Workers that are paused, resumed and drained from afar."""

from __future__ import annotations

import time
from functools import partial

import pytest
from arq import ArqRedis

from helpers.processes import workers_up
from helpers.requests import requests
from helpers.waiting import eventually
from helpers.workers import hold_jobs, simulated, worker
from windfall import NotFound, Producer, keys
from windfall.queue.workers import WorkerStatus, write_heartbeat


async def state_of(producer: Producer, name: str) -> tuple[str, str | None]:
    (found,) = [each for each in (await producer.fleet()).workers if name in each.names]
    return found.state, found.why


async def becomes(producer: Producer, name: str, state: str, why: str | None = None) -> None:
    async def is_so() -> bool:
        return await state_of(producer, name) == (state, why)

    await eventually(is_so, f"{name} being {state}")


async def test_a_worker_paused_by_its_name_takes_nothing_says_why_and_stays_so_when_started_again(
    producer: Producer, redis_url: str
) -> None:
    async with worker(simulated(name="mini"), redis_url):
        await workers_up(producer, 1)
        assert await producer.pause("worker", "mini") == ("mini",)
        await becomes(producer, "mini", "paused", "paused by windfall pause")
    batch = await producer.enqueue_batch(requests(5))
    async with worker(simulated(name="mini"), redis_url):
        await workers_up(producer, 1)
        enqueued = (await producer.batch(batch.id)).created_at
        await eventually(partial(_heard_since, producer, enqueued), "two heartbeats")
        assert (await producer.batch(batch.id)).queued == 5
        assert await producer.resume("worker", "mini") == ("mini",)
        assert [result.ok async for result in producer.results(batch.id)] == [True] * 5
        await becomes(producer, "mini", "running")


async def _heard_since(producer: Producer, moment: float) -> bool:
    """Whether the one worker has told of itself a whole period after this moment."""
    (found,) = (await producer.fleet()).workers
    return found.seen_at > moment + 2


async def test_a_paused_worker_leaves_the_jobs_to_the_others(producer: Producer, redis_url: str) -> None:
    async with worker(simulated(name="mini"), redis_url), worker(simulated(name="studio"), redis_url):
        await workers_up(producer, 2)
        (studio,) = [each.id for each in (await producer.fleet()).workers if each.id.startswith("studio")]
        assert await producer.pause("worker", studio) == (studio,)
        await becomes(producer, studio, "paused", "paused by windfall pause")
        batch = await producer.enqueue_batch(requests(20))
        assert {result.worker.split("-")[0] async for result in producer.results(batch.id) if result.worker} == {"mini"}
        assert await producer.resume("worker", "studio") == (studio,)
        await becomes(producer, studio, "running")


async def test_a_worker_told_to_drain_lets_its_jobs_end_and_ends(
    producer: Producer, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = hold_jobs(monkeypatch)
    batch = await producer.enqueue_batch(requests(4))
    async with worker(simulated(latency=0.01, slots=2, name="mini"), redis_url):

        async def two_run() -> bool:
            return (await producer.batch(batch.id)).running == 2

        await eventually(two_run, "two running jobs")
        await workers_up(producer, 1)
        (told,) = await producer.drain("mini")
        assert told.startswith("mini-")
        await becomes(producer, "mini", "draining")
        done.set()

        async def has_ended() -> bool:
            return not (await producer.fleet()).workers

        await eventually(has_ended, "the worker having ended")
    status = await producer.batch(batch.id)
    assert (status.completed, status.queued, status.running) == (2, 2, 0)


async def test_what_one_process_was_told_ends_with_it(producer: Producer, redis: ArqRedis, redis_url: str) -> None:
    async with worker(simulated(name="mini"), redis_url):
        await workers_up(producer, 1)
        (mini,) = (await producer.fleet()).workers
        await producer.pause("worker", mini.id)
        await becomes(producer, mini.id, "paused", "paused by windfall pause")
        await producer.drain(mini.id)
    assert await redis.exists(keys.PAUSED, keys.DRAIN + mini.id) == 0


async def test_an_order_to_drain_that_nobody_heard_is_found_in_redis(
    producer: Producer, redis: ArqRedis, redis_url: str
) -> None:
    async with worker(simulated(name="mini"), redis_url):
        await workers_up(producer, 1)
        (mini,) = (await producer.fleet()).workers
        await redis.set(keys.DRAIN + mini.id, 1, ex=60)

        async def has_ended() -> bool:
            return not (await producer.fleet()).workers

        await eventually(has_ended, "the worker having ended")


async def test_a_worker_is_resumed_by_any_of_its_names_whichever_it_was_paused_by(
    producer: Producer, redis: ArqRedis
) -> None:
    facts = {"pid": 7, "state": "running", "started_at": 0.0, "seen_at": 0.0, "version": "0"}
    status = WorkerStatus.model_validate({"id": "studio-7-aaaaaa", "host": "mini.local", **facts})
    await write_heartbeat(redis, status)
    assert status.names == ("studio-7-aaaaaa", "studio", "mini.local", "mini")
    for paused_as in status.names:
        for name in status.names:
            await producer.pause("worker", paused_as)
            assert await producer.resume("worker", name) == (paused_as,)
            assert await producer.resume("worker", name) == ()


async def test_what_one_process_was_told_is_forgotten_some_time_after_it_was_killed(
    producer: Producer, redis: ArqRedis
) -> None:
    for name, ago in (("asleep", 3600), ("killed", 3 * 24 * 3600)):
        facts = {"host": "h", "pid": 7, "state": "running", "started_at": 0.0, "version": "0"}
        seen = time.time() - ago
        status = WorkerStatus.model_validate({"id": f"{name}-7-aaaaaa", "seen_at": seen, **facts})
        await write_heartbeat(redis, status)
        await producer.pause("worker", status.id)
        await redis.delete(keys.WORKER + status.id)
    assert (await producer.fleet()).workers == ()
    assert await redis.smembers(keys.PAUSED) == {f"{keys.WORKER}asleep-7-aaaaaa".encode()}  # type: ignore[misc]
    assert await redis.zrange(keys.WORKERS, 0, -1) == [b"asleep-7-aaaaaa"]
    await producer.resume("worker", "asleep-7-aaaaaa")
    await producer.fleet()
    assert await redis.exists(keys.PAUSED, keys.WORKERS) == 0


async def test_a_worker_that_is_not_there_is_neither_paused_nor_resumed_nor_drained(
    producer: Producer, redis_url: str
) -> None:
    with pytest.raises(NotFound, match="no live worker is called 'mini'; no worker is live"):
        await producer.pause("worker", "mini")
    async with worker(simulated(name="studio"), redis_url):
        await workers_up(producer, 1)
        with pytest.raises(NotFound, match="no live worker is called 'mini'; live workers: studio-"):
            await producer.drain("mini")
        with pytest.raises(NotFound, match="no live worker is called 'mini'; live workers: studio-"):
            await producer.resume("worker", "mini")
