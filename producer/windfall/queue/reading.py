"""Reading results, batches and deltas out of Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from arq import ArqRedis
from pydantic import TypeAdapter, ValidationError

from windfall import keys
from windfall.batch import BatchStatus
from windfall.errors import NotFound
from windfall.queue.quarantine import MOST, answers, readable
from windfall.queue.quarantine import number as as_number
from windfall.result import CompletionResult, Delta, JobState, Usage
from windfall.wire import decode_result

#: Results fetched in one round trip.
_PAGE: Final = 200
#: How many recent batches are searched for unfinished ones.
_RECENT: Final = 1000
#: Milliseconds that one blocking read of a stream waits.
_BLOCK: Final = 1000

_described = TypeAdapter(dict[str, str])


async def result(redis: ArqRedis, job_id: str) -> CompletionResult | None:
    """A job's result, None while it is unfinished; raises `NotFound`."""
    client: Any = redis
    # The payload is read first: a job that ends between the two reads is found by its result.
    async with client.pipeline(transaction=False) as pipe:
        pipe.exists(keys.PAYLOAD + job_id, keys.HOLDER + job_id)
        pipe.get(keys.RESULT + job_id)
        unfinished, data = await pipe.execute()
    if data is not None:
        return decode_result(data)
    if not unfinished:
        raise _no_job(job_id)
    return None


async def state(redis: ArqRedis, job_id: str) -> JobState:
    """The state of a job; raises `NotFound`."""
    client: Any = redis
    async with client.pipeline(transaction=True) as pipe:
        pipe.get(keys.RESULT + job_id)
        pipe.exists(keys.HOLDER + job_id)
        pipe.exists(keys.PAYLOAD + job_id)
        data, running, known = await pipe.execute()
    if data is not None:
        return decode_result(data).state
    if not known and not running:
        raise _no_job(job_id)
    return JobState.RUNNING if running else JobState.QUEUED


def _no_job(job_id: str) -> NotFound:
    return NotFound(f"no job {job_id!r}: not found, or its result has expired")


async def is_batch(redis: ArqRedis, batch_id: str) -> bool:
    """Whether a batch with this id exists."""
    client: Any = redis
    return bool(await client.exists(keys.BATCH + batch_id))


async def batch(redis: ArqRedis, batch_id: str) -> BatchStatus:
    """A batch at one instant; raises `NotFound`."""
    client: Any = redis
    async with client.pipeline(transaction=False) as pipe:
        pipe.hgetall(keys.BATCH + batch_id)
        pipe.time()
        found, time = await answers(redis, pipe)
    return _found(batch_id, found, time)


async def batch_and_results(
    redis: ArqRedis, batch_id: str, job_ids: list[str]
) -> tuple[BatchStatus, list[bytes | None]]:
    """A batch, and the encoded results of these jobs, all at one instant; raises `NotFound`."""
    client: Any = redis
    async with client.pipeline(transaction=True) as pipe:
        pipe.hgetall(keys.BATCH + batch_id)
        pipe.time()
        if job_ids:
            pipe.mget([keys.RESULT + name for name in job_ids])
        fields, time, *found = await answers(redis, pipe)
    return _found(batch_id, fields, time), found[0] if found else []


def _found(batch_id: str, fields: dict[bytes, bytes] | None, time: tuple[int, int]) -> BatchStatus:
    if fields is None or not _is_kept(fields):
        raise NotFound(f"no batch {batch_id!r}: not found, or expired")
    seconds, micros = time
    return _status(batch_id, fields, seconds + micros / 1e6)


async def unfinished_batches(redis: ArqRedis, most: int) -> list[BatchStatus]:
    """The unfinished batches among the most recent ones, newest first.

    At most `_RECENT` are read: finished batches are kept for days, and there may be many.
    """
    client: Any = redis
    async with client.pipeline(transaction=False) as pipe:
        pipe.zrange(keys.BATCHES, -_RECENT, -1)
        (newest,) = await answers(redis, pipe, [keys.BATCHES])
    names = (await readable(redis, keys.BATCHES, newest))[::-1]
    found: list[BatchStatus] = []
    for page in _pages(names):
        async with client.pipeline(transaction=False) as pipe:
            pipe.time()
            for name in page:
                pipe.hgetall(keys.BATCH + name)
            (seconds, micros), *batches = await answers(redis, pipe)
        for name, fields in zip(page, batches, strict=True):
            if _is_kept(fields) and b"finished" not in fields:
                found.append(_status(name, fields, seconds + micros / 1e6))
        # Members that name no batch would stay at the front forever.
        if nothing := [name for name, fields in zip(page, batches, strict=True) if not fields]:
            await client.zrem(keys.BATCHES, *nothing)
        if len(found) >= most:
            break
    return found[:most]


async def finished_batches(redis: ArqRedis, most: int) -> list[BatchStatus]:
    """The batches that ended last, the newest end first, among the `MOST` newest batches."""
    client: Any = redis
    async with client.pipeline(transaction=False) as pipe:
        pipe.zrange(keys.BATCHES, -MOST, -1)
        (newest,) = await answers(redis, pipe, [keys.BATCHES])
    ended: list[tuple[int, str]] = []
    for page in _pages(await readable(redis, keys.BATCHES, newest)):
        async with client.pipeline(transaction=False) as pipe:
            for name in page:
                pipe.hmget(keys.BATCH + name, "finished", "deleted")
            found = await answers(redis, pipe)
        facts = zip(page, found, strict=True)
        ended += [(as_number(fact[0]), name) for name, fact in facts if fact and fact[0] and not fact[1]]
    batches: list[BatchStatus] = []
    for page in _pages([name for _, name in sorted(ended, reverse=True)[:most]]):
        async with client.pipeline(transaction=False) as pipe:
            pipe.time()
            for name in page:
                pipe.hgetall(keys.BATCH + name)
            (seconds, micros), *hashes = await answers(redis, pipe)
        now = seconds + micros / 1e6
        batches += [_status(name, fields, now) for name, fields in zip(page, hashes, strict=True) if _is_kept(fields)]
    return [batch for batch in batches if batch.finished_at is not None]  # a row may have been retried meanwhile


def _pages(names: list[str]) -> Iterator[list[str]]:
    return (names[first : first + _PAGE] for first in range(0, len(names), _PAGE))


def _is_kept(fields: dict[bytes, bytes] | None) -> bool:
    return fields is not None and b"created" in fields and b"deleted" not in fields


def _status(batch_id: str, found: dict[bytes, bytes], now: float) -> BatchStatus:
    fields = {name.decode(errors="replace"): value for name, value in found.items()}

    def number(name: str) -> int:
        return as_number(fields.get(name))

    def moment(name: str) -> float | None:
        return number(name) / 1000 if name in fields else None

    return BatchStatus(
        id=batch_id,
        total=number("total"),
        queued=number("queued"),
        running=number("running"),
        completed=number("completed"),
        failed=number("failed"),
        cancelled=number("cancelled"),
        expired=number("expired"),
        sealed=fields.get("sealed") == b"1",
        cancel_requested=fields.get("cancel") == b"1",
        paused="paused" in fields,
        metadata=_metadata(fields.get("meta", b"{}")),
        owner=keys.name_of(fields["owner"]) if "owner" in fields else None,
        priority=max(-9, min(9, number("priority"))),
        interactive=fields.get("class") == b"1",
        usage=Usage(
            prompt_tokens=number("prompt_tokens"),
            completion_tokens=number("completion_tokens"),
            cached_tokens=number("cached_tokens"),
            reasoning_tokens=number("reasoning_tokens"),
        ),
        last_row=number("rows"),
        created_at=moment("created") or now,
        first_started_at=moment("first"),
        finished_at=moment("finished"),
        deadline_at=moment("deadline"),
        keep=number("keep") / 1000,
        now=now,
    )


def _metadata(raw: bytes) -> dict[str, str]:
    try:
        return _described.validate_json(raw)
    except ValidationError:
        return {}


async def deltas(redis: ArqRedis, job_id: str) -> AsyncIterator[Delta]:
    """The pieces of a completion until its job ends; raises `NotFound`."""
    client: Any = redis
    cursor = "0"
    while True:
        # Again read first: a job that ends after this read has its end marker in the stream.
        ended = await result(redis, job_id) is not None
        block = {} if ended else {"block": _BLOCK}
        page = await client.xread({keys.DELTAS + job_id: cursor}, count=_PAGE, **block)
        if not page:
            if ended:
                return
            continue
        for entry, fields in page[0][1]:
            cursor = entry.decode()
            if b"end" in fields:
                return
            yield Delta.model_validate_json(fields[b"d"])
