"""A cancel that meets the end of its job: one of the two, never both, and never neither."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from faults.invariants import Tally, each_row_once, finished, watched
from helpers.processes import program, workers_up
from helpers.requests import requests
from windfall import NotFound, Producer, keys

ROWS = 400


async def test_each_job_that_is_cancelled_while_it_ends_has_one_result(redis_url: str, tmp_path: Path) -> None:
    tally, chance = Tally(tmp_path), random.Random(4)
    flags = ("--redis", redis_url, "--simulate", 0.02, "--slots", 8, "--tally", tally.file)
    async with Producer(redis_url) as producer:
        await producer.enqueue_batch(requests(ROWS), batch_id="b")
        # How many rows are caught depends on who is faster. The first is, and no cancel reaches the last one.
        await producer.pause("lane", "m")
        await _cancel(producer, keys.job_id("b", 1))
        with program("worker", *flags), program("worker", *flags):
            await workers_up(producer, 2)
            async with watched(redis_url, "b"):
                await producer.resume("lane", "m")
                for row in range(1, ROWS):
                    # Chases the workers: queued, running, ending and ended jobs are all among them.
                    chased = {keys.job_id("b", min(ROWS - 1, row + n)) for n in (0, 3, 9)}
                    await asyncio.gather(*(_cancel(producer, job) for job in chased))
                    await asyncio.sleep(chance.uniform(0, 0.01))
                await finished(redis_url, "b")
            assert not await producer.redis.exists(keys.ABORT)
    results = await each_row_once(redis_url, "b", ROWS)
    assert {result.state.value for result in results} == {"completed", "cancelled"}
    assert tally.waste(ROWS) <= 0


async def _cancel(producer: Producer, job_id: str) -> None:
    try:
        await producer.cancel(job_id)
    except NotFound as exc:
        raise AssertionError(f"{job_id} vanished") from exc
