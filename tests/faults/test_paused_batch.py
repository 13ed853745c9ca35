"""Who dies while a batch is paused or resumed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from faults.invariants import each_row_once, watched
from helpers.processes import environment, kill, worker_process
from helpers.protocol import LANE, claim_client
from helpers.requests import requests
from helpers.waiting import eventually
from helpers.workers import simulated, worker
from windfall import Producer, keys
from windfall.scripts import Script, Step, run_all

ROWS = 8_000


async def parked(producer: Producer) -> int:
    count: int = await producer.redis.zcount(LANE + keys.HELD_SUFFIX, keys.PARKED, "+inf")
    return count


async def park_all(producer: Producer) -> None:
    await producer.pause("batch", "b")
    claiming = claim_client(producer.redis)
    while await parked(producer) < ROWS:
        await claiming.claim([LANE], 1)


async def left_by_a_killed_resumption(producer: Producer, redis_url: str) -> int:
    command = [sys.executable, "-m", "windfall", "resume", "batch", "b", "--redis", redis_url]
    resuming = subprocess.Popen(command, env=environment())  # noqa: ASYNC220 - it starts at once
    try:
        while resuming.poll() is None and await parked(producer) == ROWS:
            pass
    finally:
        kill(resuming)
    return await parked(producer)


async def test_a_resumption_that_is_killed_half_way_is_gone_on_with_by_a_worker(
    producer: Producer, redis_url: str
) -> None:
    await producer.enqueue_batch(requests(ROWS), batch_id="b")
    claims = (await claim_client(producer.redis).claim([LANE], ROWS)).claims
    await run_all(
        producer.redis,
        [Step(Script.RELEASE, [LANE], [claim.job_id, claim.token, 0, "", "undo"]) for claim in claims],
    )
    async with watched(redis_url, "b"):
        left = 0
        for _ in range(10):  # a busy machine may see it end before it is killed
            await park_all(producer)
            left = await left_by_a_killed_resumption(producer, redis_url)
            if left:
                break
        assert 0 < left < ROWS
        async with worker(simulated(slots=64), redis_url):

            async def none_parked() -> bool:
                return await parked(producer) == 0

            await eventually(none_parked, "the rest being back")
            await producer.cancel("b")
    status = await producer.batch("b")
    assert status.completed + status.cancelled == ROWS


async def test_a_batch_paused_while_a_worker_that_runs_it_is_killed_ends_with_each_row_once(
    producer: Producer, redis_url: str, tmp_path: Path
) -> None:
    batch = await producer.enqueue_batch(requests(40), batch_id="b")
    flags = ("--simulate", "m=0.3", "--slots", "4", "--lease", "1")
    async with watched(redis_url, "b"):
        with worker_process(redis_url, *flags, log=tmp_path / "log") as doomed:

            async def half_way() -> bool:
                status = await producer.batch("b")
                return status.completed > 4 and status.running == 4

            await eventually(half_way, "a worker in full swing")
            await producer.pause("batch", "b")
            kill(doomed)
        async with worker(simulated(slots=4, lease=1.0), redis_url):

            async def all_parked() -> bool:
                status = await producer.batch("b")
                return status.running == 0 and status.queued == batch.total - status.completed

            await eventually(all_parked, "the killed worker's jobs being queued again")
            before = (await producer.batch("b")).completed
            await producer.resume("batch", "b")

            async def done() -> bool:
                return (await producer.batch("b")).done

            await eventually(done, "the end of the batch")
    assert before < 40
    await each_row_once(redis_url, "b", 40)
