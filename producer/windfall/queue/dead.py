"""Dead letters: jobs that failed for good, kept with their requests so that they can be run again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

from arq import ArqRedis

from windfall import keys
from windfall.errors import NotFound, WireError
from windfall.queue import reading
from windfall.queue.quarantine import answers, readable
from windfall.request import CompletionRequest
from windfall.result import CompletionResult
from windfall.shapes import Record
from windfall.wire import decode_job

_PAGE: Final = 200
#: The largest Unix time that is believed; anything larger is garbage.
_LATEST: Final = 1e11


class DeadLetter(Record):
    """A job that failed for good."""

    job_id: str
    died_at: float  #: Unix seconds on Redis' clock
    request: CompletionRequest
    result: CompletionResult


async def dead_letters(redis: ArqRedis) -> AsyncIterator[DeadLetter]:
    """All dead letters, oldest first; expired ones are removed from the index on the way."""
    client: Any = redis
    seen = 0
    while page := await _page(redis, seen):
        died = dict(page)
        gone = []
        for name in await readable(redis, keys.DEAD_INDEX, died):
            letter = await _read(redis, name, died[name.encode()] / 1000)
            if letter is not None:
                yield letter
            elif not await client.exists(keys.DEAD + name):
                gone.append(name)  # a dead letter that this version cannot read stays
        if gone:
            await client.zrem(keys.DEAD_INDEX, *gone)
        unreadable = sum(keys.name_of(name) is None for name in died)
        seen += len(page) - len(gone) - unreadable


async def _page(redis: ArqRedis, first: int) -> list[tuple[bytes, float]]:
    client: Any = redis
    async with client.pipeline(transaction=False) as pipe:
        pipe.zrange(keys.DEAD_INDEX, first, first + _PAGE - 1, withscores=True)
        (page,) = await answers(redis, pipe, [keys.DEAD_INDEX])
    return page or []


async def dead_letter(redis: ArqRedis, job_id: str) -> DeadLetter:
    """One dead letter; raises `NotFound`."""
    client: Any = redis
    died = await client.zscore(keys.DEAD_INDEX, job_id)
    letter = await _read(redis, job_id, died / 1000) if died is not None else None
    if letter is None:
        raise NotFound(f"no dead letter {job_id!r}: not found, already run again, or expired")
    return letter


async def purge(redis: ArqRedis, job_ids: list[str] | None = None) -> int:
    """Delete these dead letters, or all of them; their results stay. Returns how many there were."""
    client: Any = redis
    count = 0
    names: list[Any] = job_ids if job_ids is not None else await client.zrange(keys.DEAD_INDEX, 0, -1)
    for first in range(0, len(names), _PAGE):
        page = names[first : first + _PAGE]
        async with client.pipeline(transaction=True) as pipe:
            pipe.delete(*(keys.DEAD.encode() + (name.encode() if isinstance(name, str) else name) for name in page))
            pipe.zrem(keys.DEAD_INDEX, *page)
            pipe.zrem(keys.LETTERS, *page)
            deleted, *_ = await pipe.execute()
        count += deleted
    return count


async def _read(redis: ArqRedis, job_id: str, died_at: float) -> DeadLetter | None:
    client: Any = redis
    async with client.pipeline(transaction=False) as pipe:
        pipe.hget(keys.DEAD + job_id, "payload")
        (payload,) = await answers(redis, pipe, [keys.DEAD + job_id])
    if payload is None or not 0 <= died_at <= _LATEST:
        return None
    try:
        request = decode_job(payload).request
        result = await reading.result(redis, job_id)
    except (WireError, NotFound):
        return None
    return DeadLetter(job_id=job_id, died_at=died_at, request=request, result=result) if result else None
