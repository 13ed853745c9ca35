"""Workers that die or are told to go while they run jobs: each row ends in exactly one result."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter

from helpers.processes import kill, worker_process, workers_up
from helpers.requests import requests
from helpers.waiting import eventually
from windfall import CompletionResult, Producer


async def running(producer: Producer, batch_id: str, count: int) -> None:
    async def enough() -> bool:
        return (await producer.batch(batch_id)).running >= count

    await eventually(enough, f"{count} running jobs")


async def all_results(producer: Producer, batch_id: str) -> list[CompletionResult]:
    async with asyncio.timeout(60):
        return [result async for result in producer.results(batch_id)]


async def test_the_jobs_of_a_worker_killed_with_9_are_finished_by_another_within_lease_and_job_time(
    producer: Producer, redis_url: str
) -> None:
    batch = await producer.enqueue_batch(requests(40))
    flags = ("--simulate", "m=1", "--slots", "10", "--lease", "3")
    with worker_process(redis_url, *flags) as doomed, worker_process(redis_url, *flags):
        await workers_up(producer, 2)
        await running(producer, batch.id, 20)
        kill(doomed)
        killed_at = time.time()
        results = await all_results(producer, batch.id)
    rows = Counter(result.custom_id for result in results)
    assert set(rows.values()) == {1}
    assert len(rows) == 40
    assert all(result.ok for result in results)
    lost = [result for result in results if any(attempt.outcome == "lost" for attempt in result.attempts)]
    assert lost
    # Not a speed assertion: a lease that were not noticed to have ended would leave these jobs for minutes.
    assert max(result.timings.finished_at for result in lost) - killed_at < 30


async def test_sigterm_drains_without_spending_a_try_and_the_next_worker_goes_on(
    producer: Producer, redis_url: str
) -> None:
    batch = await producer.enqueue_batch(requests(12))
    with worker_process(redis_url, "--simulate", "m=120", "--slots", "8", "--drain-timeout", "0.2") as process:
        await workers_up(producer, 1)
        await running(producer, batch.id, 8)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 30) == 0
    status = await producer.batch(batch.id)
    assert (status.queued, status.running) == (12, 0)
    with worker_process(redis_url, "--simulate", "m=0"):
        results = await all_results(producer, batch.id)
    outcomes = Counter(attempt.outcome for result in results for attempt in result.attempts)
    assert outcomes["completed"] == 12
    assert not outcomes["failed"] + outcomes["lost"]


async def test_a_second_signal_hands_back_at_once(producer: Producer, redis_url: str) -> None:
    batch = await producer.enqueue_batch(requests(4))
    with worker_process(redis_url, "--simulate", "m=120", "--drain-timeout", "100") as process:
        await workers_up(producer, 1)
        await running(producer, batch.id, 4)
        process.send_signal(signal.SIGINT)

        async def draining() -> bool:
            return any(worker.state == "draining" for worker in (await producer.fleet()).workers)

        await eventually(draining, "the worker draining")
        process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(process.wait, 30) == 0
    assert (await producer.batch(batch.id)).queued == 4


async def test_a_worker_paused_past_its_lease_does_not_add_a_second_result(producer: Producer, redis_url: str) -> None:
    batch = await producer.enqueue_batch(requests(10))
    flags = ("--simulate", "m=1.5", "--slots", "5", "--lease", "1")
    with worker_process(redis_url, *flags) as paused, worker_process(redis_url, *flags):
        await workers_up(producer, 2)
        await running(producer, batch.id, 10)
        paused.send_signal(signal.SIGSTOP)
        results = await all_results(producer, batch.id)
        paused.send_signal(signal.SIGCONT)

        async def seen_again() -> bool:
            fleet = await producer.fleet()
            return any(worker.pid == paused.pid and fleet.now - worker.seen_at < 5 for worker in fleet.workers)

        await eventually(seen_again, "the paused worker being back")
        again = await producer.batch(batch.id)
    assert sorted(result.job_id for result in results) == sorted({result.job_id for result in results})
    assert (len(results), again.completed, again.running, again.total) == (10, 10, 0, 10)
