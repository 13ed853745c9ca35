"""Clocks that are an hour wrong, in a worker and in a producer, change nothing: Redis' time is the only one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from faults.invariants import Tally, each_row_once, finished, watched
from helpers.processes import kill, program, workers_up
from helpers.requests import request
from windfall import Producer

HOUR = 3600.0
ROWS = 24


@pytest.mark.parametrize("wrong", [HOUR, -HOUR])
async def test_an_hour_of_difference_changes_neither_times_nor_leases_nor_deadlines(
    wrong: float, redis_url: str, tmp_path: Path
) -> None:
    tally = Tally(tmp_path)
    flags = ("--redis", redis_url, "--simulate", 0.5, "--slots", 4, "--lease", 3, "--tally", tally.file)
    with program("worker", *flags, "--clock", wrong) as doomed, program("worker", *flags, "--clock", -wrong):
        async with Producer(redis_url) as producer, watched(redis_url, "b"):
            began = await _redis_time(producer)
            await workers_up(producer, 2)
            with program("submitter", "--redis", redis_url, "--rows", ROWS, "--clock", wrong) as submitter:
                assert await asyncio.to_thread(submitter.wait, 60) == 0
            await _half_done(producer)
            assert len((await producer.fleet()).workers) == 2
            kill(doomed)
            await finished(redis_url, "b")
            in_time = await producer.wait(await producer.enqueue(request(deadline=30)), timeout=60)
            ended = await _redis_time(producer)
    results = await each_row_once(redis_url, "b", ROWS)
    assert all(result.ok for result in (*results, in_time))
    for result in results:
        times = result.timings
        assert times.started_at is not None
        assert began - 1 <= times.enqueued_at <= times.started_at <= times.finished_at <= ended + 1
    assert tally.unexplained([*results, in_time]) == []


async def _redis_time(producer: Producer) -> float:
    return (await producer.fleet()).now


async def _half_done(producer: Producer) -> None:
    async with asyncio.timeout(60):
        while (await producer.batch("b")).completed < ROWS // 3:  # noqa: ASYNC110 - two processes are at work
            await asyncio.sleep(0.02)
