"""Cancelling: jobs one by one, batches in pages. Any later sweep finishes what one process began."""

from __future__ import annotations

import asyncio
from typing import Final

from arq import ArqRedis

from windfall import keys
from windfall.broker.clock import RedisClock
from windfall.queue.unfinished import read_unended
from windfall.result import ErrorInfo, JobState
from windfall.scripts import Arg, Script, Step, run, run_all
from windfall.wire import encode_result

_PAGE: Final = 500


async def cancel_batch(redis: ArqRedis, clock: RedisClock, batch_id: str, keep_ms: int) -> int:
    """Cancel the unfinished jobs of a batch; returns how many were cancelled or told to stop."""
    # From here on enqueue.lua refuses rows, so the total no longer grows.
    await run(redis, Script.CANCEL_BATCH, [keys.BATCH + batch_id], ["begin"])
    return await go_on_cancelling(redis, clock, batch_id, keep_ms)


async def go_on_cancelling(
    redis: ArqRedis, clock: RedisClock, batch_id: str, keep_ms: int, until: float = float("inf")
) -> int:
    """Finish what `cancel_batch` began, or do as much of it as fits before `until` (event-loop time)."""
    batch, concerned = keys.BATCH + batch_id, 0
    first, last = await run(redis, Script.CANCEL_BATCH, [batch], ["look"])
    while first <= last:
        if asyncio.get_running_loop().time() >= until:
            return concerned
        end = min(first + _PAGE - 1, last)
        ids = [keys.job_id(batch_id, row) for row in range(first, end + 1)]
        concerned += (await cancel_jobs(redis, clock, ids, keep_ms))[0]
        first, last = await run(redis, Script.CANCEL_BATCH, [batch], [end])
    if last >= 0:
        # The submitter may be gone.
        await run(redis, Script.SEAL_BATCH, [batch], [])
        await run(redis, Script.CANCEL_BATCH, [batch], ["end"])
    return concerned


async def cancel_jobs(
    redis: ArqRedis, clock: RedisClock, ids: list[str], keep_ms: int, *, asked_before: bool = False
) -> tuple[int, int]:
    """Returns how many jobs were cancelled or told to stop, and how many do not exist.

    `asked_before`: the request was made earlier; jobs of other programs are left alone.
    """
    now = await clock.now()
    error = ErrorInfo(type="cancelled", message="cancelled before it ran")
    steps = []
    for job in await read_unended(redis, ids):
        result = encode_result(job.ended(JobState.CANCELLED, error, now), job.lane)
        end: list[Arg] = [job.job_id, result, keep_ms, int(asked_before), job.digest]
        steps.append(Step(Script.CANCEL, job.lanes, end))
    answers = await run_all(redis, steps)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return sum(answer in (b"cancelled", b"told") for answer in answers), answers.count(b"gone")
