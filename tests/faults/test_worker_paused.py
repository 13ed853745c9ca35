"""Workers that sleep past their leases: their jobs go to others, and what they still bring is taken once or refused."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faults.invariants import Tally, each_row_once, finished, watched
from helpers.processes import program, workers_up
from helpers.requests import requests
from helpers.waiting import eventually
from windfall import Producer, keys

#: A lease is long enough for a loaded machine to renew it in time.
LEASE, SLOTS = 3, 5

Record = Callable[[str, object], None]


async def test_what_a_paused_worker_held_is_run_by_another_and_its_late_results_are_refused(
    redis_url: str, tmp_path: Path, record_property: Record
) -> None:
    tally, log = Tally(tmp_path), tmp_path / "paused.log"
    flags = ("--redis", redis_url, "--simulate", 1, "--slots", SLOTS, "--lease", LEASE, "--tally", tally.file)
    async with Producer(redis_url) as producer:
        with program("worker", *flags, log=log) as paused, program("worker", *flags):
            await workers_up(producer, 2)
            await producer.enqueue_batch(requests(30), batch_id="b")
            async with watched(redis_url, "b"):
                await _running(producer, 2 * SLOTS)
                paused.send_signal(signal.SIGSTOP)
                await eventually(lambda: tally.asked.most_common(1)[0][1] > 1, "one of its rows going to the other")
                paused.send_signal(signal.SIGCONT)
                await finished(redis_url, "b")
    results = await each_row_once(redis_url, "b", 30)
    assert all(result.ok for result in results)
    lost = [result for result in results if any(attempt.outcome == "lost" for attempt in result.attempts)]
    record_property("waste", tally.waste(30))
    assert lost
    assert len(lost) == tally.waste(30) <= SLOTS
    said = log.read_text()
    assert "Redis refused its result or return" in said or "another claim now holds its lease" in said


async def test_a_lone_worker_that_slept_goes_on_with_what_it_held(
    redis_url: str, tmp_path: Path, record_property: Record
) -> None:
    tally = Tally(tmp_path)
    # More slots than rows: it has places free in which it could claim its own jobs again.
    flags = ("--redis", redis_url, "--simulate", 2, "--slots", 20, "--lease", LEASE, "--tally", tally.file)
    async with Producer(redis_url) as producer:
        with program("worker", *flags) as paused:
            await workers_up(producer, 1)
            await producer.enqueue_batch(requests(10), batch_id="b")
            async with watched(redis_url, "b"):
                await _running(producer, 10)
                paused.send_signal(signal.SIGSTOP)
                await eventually(lambda: _overdue(producer, 10), "the end of its leases")
                paused.send_signal(signal.SIGCONT)
                await finished(redis_url, "b")
    results = await each_row_once(redis_url, "b", 10)
    assert [[attempt.outcome for attempt in result.attempts] for result in results] == [["completed"]] * 10
    record_property("waste", tally.waste(10))
    assert tally.waste(10) == 0


async def _overdue(producer: Producer, count: int) -> bool:
    """Whether so many leases of the lane have ended."""
    client: Any = producer.redis
    seconds, microseconds = await client.time()
    now = 1000 * seconds + microseconds / 1000
    overdue: int = await client.zcount(keys.lane_queue("m", "auto") + keys.HELD_SUFFIX, "-inf", now)
    return overdue == count


async def _running(producer: Producer, count: int) -> None:
    async def enough() -> bool:
        return (await producer.batch("b")).running >= count

    await eventually(enough, f"{count} running jobs")
