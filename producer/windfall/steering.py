"""Cancelling jobs and batches, and running dead letters again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from arq import ArqRedis

from windfall import keys, reading
from windfall.clock import RedisClock
from windfall.errors import NotFound, WireError
from windfall.result import CompletionResult, ErrorInfo, JobState, Timings
from windfall.scripts import Script, Step, run, run_all
from windfall.wire import JobMessage, decode_job, decode_result, encode_attempts, encode_result

_PAGE = 500

#: Marks the last attempt before a job was run again by hand; later decisions count attempts from there.
RETRIED = "run again by hand"


async def cancel(redis: ArqRedis, clock: RedisClock, name: str, keep_ms: int) -> int:
    """Cancel a job, or what is unfinished of a batch; returns how many jobs were cancelled or told to stop."""
    if await reading.is_batch(redis, name):
        return await _cancel_batch(redis, clock, name, keep_ms)
    concerned, missing = await _cancel_jobs(redis, clock, [name], keep_ms)
    if missing:
        raise NotFound(f"no job or batch {name!r}: it never was, or it was kept no longer")
    return concerned


async def _cancel_batch(redis: ArqRedis, clock: RedisClock, name: str, keep_ms: int) -> int:
    client: Any = redis
    if (await reading.batch(redis, name)).done:
        return 0
    # From here on enqueue.lua refuses rows, so the total no longer grows.
    await client.hset(keys.BATCH + name, "cancel", 1)
    total = (await reading.batch(redis, name)).total
    concerned = 0
    for first in range(1, total + 1, _PAGE):
        ids = [keys.job_id(name, row) for row in range(first, min(first + _PAGE, total + 1))]
        concerned += (await _cancel_jobs(redis, clock, ids, keep_ms))[0]
    # Whoever was submitting may be gone.
    await run(redis, Script.SEAL_BATCH, [keys.BATCH + name], [])
    return concerned


async def _cancel_jobs(redis: ArqRedis, clock: RedisClock, ids: list[str], keep_ms: int) -> tuple[int, int]:
    """Returns how many were cancelled or told to stop, and how many there are not."""
    client: Any = redis
    payloads = await client.mget([keys.PAYLOAD + name for name in ids])
    now = await clock.now()
    steps = []
    for name, payload in zip(ids, payloads, strict=True):
        message = _readable(payload)
        lane = keys.lane_queue(message.request.model, message.request.route) if message else ""
        steps.append(Step(Script.CANCEL, [lane], [name, encode_result(_cancelled(name, message, now), lane), keep_ms]))
    answers = await run_all(redis, steps)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return sum(answer in (b"cancelled", b"told") for answer in answers), answers.count(b"gone")


def _readable(payload: bytes | None) -> JobMessage | None:
    try:
        return decode_job(payload) if payload else None
    except WireError:
        return None


def _cancelled(name: str, message: JobMessage | None, now: float) -> CompletionResult:
    return CompletionResult(
        job_id=name,
        state=JobState.CANCELLED,
        model=message.request.model if message else "",
        custom_id=message.request.custom_id if message else None,
        metadata=message.request.metadata if message else None,
        error=ErrorInfo(type="cancelled", message="cancelled before it ran"),
        timings=Timings(enqueued_at=message.et / 1000 if message else now, finished_at=now),
    )


async def retry(redis: ArqRedis, name: str) -> int:
    """Run a failed job, or what failed of a batch, again; returns how many went back to their lane."""
    if await reading.is_batch(redis, name):
        count = 0
        async for ids in _failed(redis, name):
            count += await _retry_jobs(redis, ids)
        return count
    if await reading.result(redis, name) is None:
        return 0
    return await _retry_jobs(redis, [name])


async def _failed(redis: ArqRedis, batch_id: str) -> AsyncIterator[list[str]]:
    client: Any = redis
    stream, cursor = keys.BATCH + batch_id + keys.DONE_SUFFIX, "-"
    while page := await client.xrange(stream, min=cursor, count=_PAGE):
        cursor = "(" + page[-1][0].decode()
        if ids := [fields[b"i"].decode() for _, fields in page if fields[b"s"] == b"failed"]:
            yield ids


async def _retry_jobs(redis: ArqRedis, ids: list[str]) -> int:
    client: Any = redis
    results = await client.mget([keys.RESULT + name for name in ids])
    steps = []
    for name, data in zip(ids, results, strict=True):
        attempts = decode_result(data).attempts if data else ()
        if attempts:
            attempts = (*attempts[:-1], attempts[-1].model_copy(update={"moved_on": RETRIED}))
        steps.append(Step(Script.RETRY, [], [name, 0, encode_attempts(attempts)]))
    answers = await run_all(redis, steps)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return sum(answers)
