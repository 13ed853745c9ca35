"""Cancelling jobs and batches, running dead letters again, deleting batches."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

from arq import ArqRedis

from windfall import keys
from windfall.broker.clock import RedisClock
from windfall.errors import BatchCancelled, NotFound, Unfinished, WireError
from windfall.queue import reading
from windfall.queue.cancelling import cancel_batch, cancel_jobs
from windfall.queue.housekeeping import delete
from windfall.queue.quarantine import answers, rows_of
from windfall.queue.row_set import RowSet
from windfall.queue.submission import deadline_of
from windfall.result import Attempt
from windfall.scripts import Script, Step, run_all
from windfall.wire import RETRIED, decode_job, decode_result, encode_attempts, encode_job

_UNFINISHED: Final = -2  # an answer of delete.lua
_CANCELLING: Final = -1  # an answer of retry.lua
_PAGE: Final = 500


async def cancel(redis: ArqRedis, clock: RedisClock, name: str, keep_ms: int) -> int:
    """Cancel a job, or the unfinished jobs of a batch; returns how many were cancelled or told to stop."""
    if await reading.is_batch(redis, name):
        return await _cancel_batch(redis, clock, name, keep_ms)
    concerned, missing = await cancel_jobs(redis, clock, [name], keep_ms)
    if missing:
        raise NotFound(f"no job or batch {name!r}: not found, or expired")
    return concerned


async def _cancel_batch(redis: ArqRedis, clock: RedisClock, name: str, keep_ms: int) -> int:
    if (await reading.batch(redis, name)).done:
        return 0
    return await cancel_batch(redis, clock, name, keep_ms)


async def delete_batch(redis: ArqRedis, name: str, *, unfinished: bool) -> None:
    """Remove a batch and everything in it. Raises `NotFound`, and `Unfinished` unless `unfinished` is allowed."""
    # Check first: another process' sweep may finish a deletion once it has begun, and our last page finds nothing.
    if not await reading.is_batch(redis, name):
        raise NotFound(f"no batch {name!r}: not found, or expired")
    if await delete(redis, name, "any" if unfinished else "finished") == _UNFINISHED:
        raise Unfinished(
            f"batch {name} is unfinished: cancel it first, or delete it with --cancel (in Python: cancel=True)"
        )


async def retry(redis: ArqRedis, clock: RedisClock, name: str) -> int:
    """Retry a failed job, or the jobs of a batch that have failed so far; returns how many were queued again."""
    if await reading.is_batch(redis, name):
        await reading.batch(redis, name)  # raises if it is being deleted
        count = 0
        async for ids in _failed(redis, name):
            count += await _retry_jobs(redis, clock, ids)
        return count
    if await reading.result(redis, name) is None:
        return 0
    return await _retry_jobs(redis, clock, [name])


async def _failed(redis: ArqRedis, batch_id: str) -> AsyncIterator[list[str]]:
    """The rows that have failed so far, each once: one that fails again meanwhile is past the end we noted."""
    client: Any = redis
    stream, cursor = keys.BATCH + batch_id + keys.DONE_SUFFIX, "-"
    seen = RowSet()
    newest = await client.xrevrange(stream, count=1)
    while newest and (page := await client.xrange(stream, min=cursor, max=newest[0][0], count=_PAGE)):
        cursor = "(" + page[-1][0].decode()
        failed = rows_of(batch_id, [fields.get(b"i") for _, fields in page if fields.get(b"s") == b"failed"])
        if ids := [name for name in failed if seen.add(keys.row_of(name))]:
            yield ids


async def _retry_jobs(redis: ArqRedis, clock: RedisClock, ids: list[str]) -> int:
    client: Any = redis
    async with client.pipeline(transaction=False) as pipe:
        pipe.mget([keys.RESULT + name for name in ids])
        for name in ids:
            pipe.hget(keys.DEAD + name, "payload")
        results, *payloads = await answers(redis, pipe)
    now_ms = await clock.now_ms()
    steps = []
    for name, data, payload in zip(ids, results, payloads, strict=True):
        if payload is not None:
            attempts = _marked(decode_result(data).attempts if data else ())
            steps.append(Step(Script.RETRY, [], [name, *_anew(payload, now_ms, attempts)]))
    given = await run_all(redis, steps)
    for name, answer in zip(ids, given, strict=False):
        if isinstance(answer, Exception):
            raise answer
        if answer == _CANCELLING:
            batch = keys.batch_of(name)
            raise BatchCancelled(
                f"batch {batch} is being cancelled: run it again when windfall status {batch} shows none queued"
            )
    return sum(given)


def _marked(attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    if not attempts:
        return ()
    return (*attempts[:-1], attempts[-1].model_copy(update={"moved_on": RETRIED, "retried": True}))


def _anew(payload: bytes, now_ms: int, attempts: tuple[Attempt, ...]) -> tuple[bytes, bytes, int, int]:
    """Ledger, payload, deadline and class of a retried job; its deadline counts from now."""
    ledger = encode_attempts(attempts)
    try:
        message = decode_job(payload)
    except WireError:
        return ledger, payload, 0, 0  # of another contract version: its reader will report that
    request, interactive = message.request, message.interactive
    if request.deadline is None:
        return ledger, payload, 0, int(interactive)
    again = encode_job(request, now_ms, message.trace, interactive=interactive)
    return ledger, again, deadline_of(request, now_ms), int(interactive)
