"""The producer's side of the queue: enqueue, follow, read, cancel, run again."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from arq import ArqRedis

from windfall import dead, keys, reading, steering
from windfall.announcements import Announcements
from windfall.batch import BatchStatus
from windfall.clock import RedisClock
from windfall.connection import connect, disconnect, translated
from windfall.dead import DeadLetter
from windfall.errors import NotFound, WaitTimeout
from windfall.fleet import FleetStatus, read_fleet
from windfall.request import CompletionRequest
from windfall.result import CompletionResult, Delta, JobState
from windfall.row import Row
from windfall.scripts import Arg, Script, run
from windfall.submission import BatchCancelled, Submission, enqueue_one
from windfall.tasks import happens

#: Seconds for which results are kept where nobody says otherwise: 7 days.
KEEP = 7 * 86400.0

#: Seconds after which a waiter looks by itself, in case an announcement was lost with its connection.
_LOOK_AGAIN = 5.0


class Producer:
    """Enqueues requests and reads their results, from any machine that reaches the Redis.

    `redis` is a URL, or an `ArqRedis` of the caller's, who then also closes it. `keep` is for how many seconds results
    are kept (0 = for ever). Every method raises `BrokerUnavailable`, `BrokerDenied` or `BrokerFull` when Redis does not
    do its part.

        async with Producer("redis://mini.local:6379") as producer:
            job_id = await producer.enqueue(CompletionRequest(model="small", messages=[...]))
            result = await producer.wait(job_id, timeout=60)
    """

    def __init__(self, redis: str | ArqRedis, *, keep: float = KEEP) -> None:
        self._given = redis
        self._keep_ms = round(keep * 1000)
        self._connected: ArqRedis | None = None

    async def __aenter__(self) -> Self:
        self._connected = await connect(self._given) if isinstance(self._given, str) else self._given
        self._clock = RedisClock(self._connected)
        self._announcements = Announcements(self._connected)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._announcements.close()
        if isinstance(self._given, str):
            await disconnect(self._redis)
        self._connected = None

    @property
    def _redis(self) -> ArqRedis:
        if self._connected is None:
            raise RuntimeError("a Producer is used inside `async with Producer(…) as producer:`")
        return self._connected

    async def enqueue(self, request: CompletionRequest) -> str:
        """Enqueue one request; returns its job id."""
        name = secrets.token_hex(8)
        with translated():
            await enqueue_one(self._redis, self._clock, request, name)
        return name

    async def enqueue_batch(
        self,
        requests: Iterable[Row] | AsyncIterable[Row],
        *,
        batch_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        on_progress: Callable[[int], None] | None = None,
    ) -> BatchStatus:
        """Enqueue many requests as one batch, in constant memory.

        Row n (from 1) becomes job `<batch id>:<n>`. Submitting the same rows under the same `batch_id` again adds only
        what is missing. `on_progress` is called with the number of rows sent so far. Raises `BatchCancelled` when
        somebody cancels the batch meanwhile.
        """
        name = keys.checked_batch_id(batch_id or secrets.token_hex(6))
        opening: list[Arg] = [name, json.dumps(dict(metadata or {})), self._keep_ms]
        with translated():
            await run(self._redis, Script.OPEN_BATCH, [keys.BATCH + name, keys.BATCHES], opening)
        submission = Submission(self._redis, self._clock, name, self._keep_ms)
        try:
            await submission.add(requests, on_progress)
        except BatchCancelled:
            await self._seal(name)
            raise
        await self._seal(name)
        return await self.batch(name)

    async def _seal(self, batch_id: str) -> None:
        with translated():
            await run(self._redis, Script.SEAL_BATCH, [keys.BATCH + batch_id], [])

    async def result(self, job_id: str) -> CompletionResult | None:
        """A job's result, or None while it is unfinished. Raises `NotFound` for a job that is not there (any more)."""
        with translated():
            return await reading.result(self._redis, job_id)

    async def state(self, job_id: str) -> JobState:
        """Where in its life a job is. Raises `NotFound`."""
        with translated():
            return await reading.state(self._redis, job_id)

    async def wait(self, job_id: str, timeout: float | None = None) -> CompletionResult:
        """A job's result as soon as there is one: pushed, not polled.

        `timeout` is in seconds; None waits for ever. Raises `WaitTimeout` and `NotFound`.
        """
        try:
            async with asyncio.timeout(timeout):
                with translated():
                    return await self._wait(job_id)
        except TimeoutError as exc:
            raise WaitTimeout(f"job {job_id} has no result after {timeout:g} s; it goes on") from exc

    async def _wait(self, job_id: str) -> CompletionResult:
        async with self._announcements.listen(keys.CHANNEL_DONE + job_id) as announced:
            while True:
                announced.clear()
                result = await reading.result(self._redis, job_id)
                if result is not None:
                    return result
                await happens(announced, within=_LOOK_AGAIN)

    async def batch(self, batch_id: str) -> BatchStatus:
        """A batch at this instant. Raises `NotFound`."""
        with translated():
            return await reading.batch(self._redis, batch_id)

    async def results(self, batch_id: str, *, after: str = "0", follow: bool = True) -> AsyncIterator[CompletionResult]:
        """A batch's results in the order in which its jobs end; `follow` waits for those still to come."""
        async for _, result in self.results_with_cursor(batch_id, after=after, follow=follow):
            yield result

    async def results_with_cursor(
        self, batch_id: str, *, after: str = "0", follow: bool = True
    ) -> AsyncIterator[tuple[str, CompletionResult]]:
        """As `results`, each with the cursor that `after` takes to go on behind it. Raises `NotFound`."""
        with translated():
            async for cursor, result in reading.results(self._redis, batch_id, after, follow=follow):
                yield cursor, result

    async def stream(self, job_id: str) -> AsyncIterator[Delta]:
        """The pieces of a completion while it is written, from its beginning, for a job with `stream=true`.

        A delta with `attempt` set voids every piece before it. Ends when the job has its result.
        """
        with translated():
            async for delta in reading.deltas(self._redis, job_id):
                yield delta

    async def cancel(self, job_or_batch_id: str) -> int:
        """Cancel a job or what is unfinished of a batch; returns how many jobs that concerned. Raises `NotFound`.

        A queued job ends at once. A running one is stopped by its worker and may still complete.
        """
        with translated():
            return await steering.cancel(self._redis, self._clock, job_or_batch_id, self._keep_ms)

    async def retry(self, job_or_batch_id: str) -> int:
        """Run again what failed, and only that; returns how many jobs went back to their lane. Raises `NotFound`."""
        with translated():
            return await steering.retry(self._redis, job_or_batch_id)

    async def dead_letters(self) -> AsyncIterator[DeadLetter]:
        """Jobs that failed for good, with their requests, the oldest first."""
        with translated():
            async for letter in dead.dead_letters(self._redis):
                yield letter

    async def dead_letter(self, job_id: str) -> DeadLetter:
        """One dead letter. Raises `NotFound`."""
        with translated():
            return await dead.dead_letter(self._redis, job_id)

    async def purge(self, job_ids: list[str] | None = None) -> int:
        """Forget these dead letters, or all; their results stay. Returns how many there were."""
        with translated():
            return await dead.purge(self._redis, job_ids)

    async def fleet(self) -> FleetStatus:
        """The live workers and the lanes."""
        with translated():
            return await read_fleet(self._redis)

    @property
    def redis(self) -> ArqRedis:
        """The connection itself, for what this class does not do. Raises `RuntimeError` outside of `async with`."""
        return self._redis

    async def ping(self) -> dict[str, Any]:
        """What Redis says of itself (its INFO), for `doctor`."""
        with translated():
            info: dict[str, Any] = await self._redis.info()
            return info


__all__ = ["KEEP", "BatchCancelled", "NotFound", "Producer"]
