"""Work that is due at a certain time: deadlines, and the end of retention.

Redis does nothing by itself at a deadline, so its clients do it: every worker every few seconds, and every producer
before it reads a batch or waits for a job. The same sweep finishes what another process began and did not complete:
cancelling or deleting a batch, moving parked jobs back, and ending a cancelled job whose worker is gone. Each step is
one script and may be repeated; two processes that sweep at once merely do some of the work twice.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from arq import ArqRedis
from redis.exceptions import ResponseError

from windfall import keys
from windfall.broker.clock import RedisClock
from windfall.broker.connection import REDIS_ERRORS, is_passing
from windfall.errors import ScriptsMissing
from windfall.queue.cancelling import cancel_jobs, go_on_cancelling
from windfall.queue.quarantine import answers, readable
from windfall.queue.unfinished import read_unended
from windfall.result import ErrorInfo, JobState
from windfall.scripts import Script, Step, run, run_all
from windfall.wire import encode_result

logger = logging.getLogger("windfall.queue.housekeeping")

_PAGE: Final = 500
#: Milliseconds after which a pending cancellation is looked into; arq forgets its own after the same time.
_ABORT_PATIENCE: Final = 60_000
#: Seconds between two clean-ups of the indexes by one process, and milliseconds that a lane without jobs stays.
_TIDY_PERIOD, _LANE_IDLE = 60.0, 24 * 3600 * 1000
#: Seconds between two sweeps of a worker, and at least between two of a producer.
_PERIOD, _PAUSE = 4.0, 0.5
#: Milliseconds after which another process may expire overdue jobs, in case the one doing it died mid-page.
_EXPIRING_MS: Final = 5000
#: Seconds that a producer spends on a sweep before it continues with the caller's request.
_PATIENCE: Final = 2.0
#: Seconds of a worker's sweep; the next one continues. No batch, however large, holds up the others.
_WORKERS_PATIENCE: Final = 60.0
#: Seconds until the next sweep of a producer that found no scripts and may not load them.
_WITHOUT_SCRIPTS: Final = 10.0
#: Seconds that one batch gets per sweep.
_EACH: Final = 2.0


class Housekeeping:
    """Expires overdue jobs and removes what is past its retention.

    `keep_ms` is how long the result of an overdue job without a batch is kept (0 = forever).
    """

    def __init__(self, redis: ArqRedis, clock: RedisClock, keep_ms: int) -> None:
        self._redis = redis
        self._clock = clock
        self._keep_ms = keep_ms
        self._next = 0.0
        self._next_tidy = 0.0
        self._name = secrets.token_hex(8).encode()

    async def run(self) -> None:
        """Sweep periodically until cancelled; an outage is waited out."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                await self.sweep(until=loop.time() + _WORKERS_PATIENCE)
            except REDIS_ERRORS as exc:
                logger.debug("no sweep: %s", exc)
            await asyncio.sleep(_PERIOD)

    async def maybe_sweep(self) -> None:
        """Sweep, unless one was done a moment ago; the next sweep continues a large one."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._next:
            return
        try:
            await self.sweep(until=loop.time() + _PATIENCE)
        except ScriptsMissing as exc:  # reading needs none of them, and workers sweep anyway
            logger.debug("no sweep: %s", exc)
            self._next = loop.time() + _WITHOUT_SCRIPTS
            return
        except REDIS_ERRORS as exc:
            if not is_passing(exc):
                raise
            logger.debug("no sweep: %s", exc)  # a Redis that rejects writes can still be read
        self._next = loop.time() + _PAUSE

    async def sweep(self, until: float = float("inf")) -> None:
        """Do everything that is due, or as much as fits before `until` (event-loop time)."""
        client: Any = self._redis
        now_ms = await self._clock.now_ms()
        async with client.pipeline(transaction=False) as pipe:
            pipe.zrangebyscore(keys.DEADLINES, "-inf", now_ms, start=0, num=_PAGE)
            pipe.zrangebyscore(keys.KEPT, "-inf", now_ms, start=0, num=_PAGE)
            pipe.srandmember(keys.RESUMING, _PAGE)
            pipe.srandmember(keys.CANCELLING, _PAGE)
            pipe.zrangebyscore(keys.ABORT, "-inf", now_ms - _ABORT_PATIENCE, start=0, num=_PAGE)
            overdue, forgotten, resuming, cancelling, aborted = await answers(self._redis, pipe, keys.SHARED)
        if overdue:
            await self._expire_all(until)
        for name in await readable(self._redis, keys.KEPT, forgotten):
            with self._told_of(name):
                await delete(self._redis, name, "kept", _no_longer_than(until))
        for name in await readable(self._redis, keys.RESUMING, resuming):
            with self._told_of(name):
                await go_on_with(self._redis, name, _no_longer_than(until))
        for name in await readable(self._redis, keys.CANCELLING, cancelling):
            with self._told_of(name):
                await go_on_cancelling(self._redis, self._clock, name, self._keep_ms, _no_longer_than(until))
        if ids := await readable(self._redis, keys.ABORT, aborted):
            await cancel_jobs(self._redis, self._clock, ids, self._keep_ms, asked_before=True)
        await self._tidy()

    async def _tidy(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() >= self._next_tidy:
            await run(self._redis, Script.TIDY, [], [_PAGE, _LANE_IDLE])
            self._next_tidy = loop.time() + _TIDY_PERIOD

    @contextmanager
    def _told_of(self, name: str) -> Iterator[None]:
        """Log what Redis refuses for one job or batch, and carry on with the others."""
        try:
            yield
        except ResponseError as exc:
            if is_passing(exc):
                raise
            logger.warning("%s could not be swept: %s", name, exc)

    async def _expire_all(self, until: float) -> None:
        """Expire overdue jobs, unless another process is doing so: all would work on the same rows at once."""
        client: Any = self._redis
        if not await client.set(keys.EXPIRING, self._name, nx=True, px=_EXPIRING_MS):
            if await client.pttl(keys.EXPIRING) == -1:  # ours always expire: another program wrote it
                await client.unlink(keys.EXPIRING)
            return
        try:
            await self._expire_pages(until)
        finally:
            # It may have expired and belong to another process; two at once for a moment do no harm.
            if await client.get(keys.EXPIRING) == self._name:
                await client.delete(keys.EXPIRING)

    async def _expire_pages(self, until: float) -> None:
        client: Any = self._redis
        passed = 0  # jobs that a worker still holds
        while asyncio.get_running_loop().time() < until:
            now_ms = await self._clock.now_ms()
            page = await client.zrangebyscore(keys.DEADLINES, "-inf", now_ms, start=passed, num=_PAGE)
            if not page:
                return
            names = await readable(self._redis, keys.DEADLINES, page)
            # Unreadable ones are quarantined if this user may do so, and skipped if not.
            passed += len(page) - len(names) + (await self._expire(names) if names else 0)
            await client.set(keys.EXPIRING, self._name, xx=True, px=_EXPIRING_MS)

    async def _expire(self, job_ids: list[str]) -> int:
        """Returns how many of them stay."""
        now = await self._clock.now()
        steps = []
        for job in await read_unended(self._redis, job_ids):
            deadline = job.message.request.deadline if job.message else None
            within = f" of {deadline:g} s" if deadline else ""
            error = ErrorInfo(type="deadline_exceeded", message=f"not done within its deadline{within}")
            result = encode_result(job.ended(JobState.EXPIRED, error, now), job.lane)
            steps.append(Step(Script.EXPIRE, job.lanes, [job.job_id, result, self._keep_ms, job.digest]))
        ended = await run_all(self._redis, steps)
        stay = 0
        for step, answer in zip(steps, ended, strict=True):
            with self._told_of(str(step.args[0])):
                stay += isinstance(answer, Exception) or answer in (b"held", b"early")
                if isinstance(answer, Exception):
                    raise answer
        return stay


def _no_longer_than(until: float) -> float:
    return min(until, asyncio.get_running_loop().time() + _EACH)


async def delete(redis: ArqRedis, batch_id: str, why: str, until: float = float("inf")) -> int:
    """Remove a batch by delete.lua, page by page; returns its last answer."""
    left = 1
    while left > 0 and asyncio.get_running_loop().time() < until:
        left = await run(redis, Script.DELETE, [keys.BATCHES], [batch_id, why, _PAGE])
    return left


async def go_on_with(redis: ArqRedis, batch_id: str, until: float = float("inf")) -> None:
    """Move the parked jobs of a resumed batch back to their lanes by resume_batch.lua."""
    left = 1
    while left > 0 and asyncio.get_running_loop().time() < until:
        left, _ = await run(redis, Script.RESUME_BATCH, [], [batch_id, _PAGE, 0])
