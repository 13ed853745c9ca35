"""Putting the rows of a batch into Redis: in chunks, in constant memory, idempotently."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field

from arq import ArqRedis

from windfall.clock import RedisClock
from windfall.connection import translated
from windfall.errors import BrokerUnavailable, InvalidRequest
from windfall.keys import job_id, lane_queue
from windfall.request import CompletionRequest
from windfall.result import CompletionResult, ErrorInfo, JobState, Timings
from windfall.row import InvalidRow, Row
from windfall.scripts import Script, Step, run_all
from windfall.wire import encode_job, encode_result

#: Rows and bytes of one round trip: large enough to hide its latency, small enough not to hold Redis up.
CHUNK_ROWS = 500
CHUNK_BYTES = 4 * 1024 * 1024

#: Seconds for which a submission outlasts an outage of Redis before it gives up; what was added stays added.
PATIENCE = 30.0


class BatchCancelled(InvalidRequest):
    """The batch was cancelled while rows were being added."""


@dataclass(slots=True)
class _Chunk:
    """Rows on their way, by lane."""

    jobs: dict[str, list[str | bytes | int]] = field(default_factory=dict)
    rejected: list[str | bytes] = field(default_factory=list)
    rows: int = 0
    size: int = 0

    @property
    def full(self) -> bool:
        return self.rows >= CHUNK_ROWS or self.size >= CHUNK_BYTES

    def steps(self, batch_id: str, keep_ms: int) -> list[Step]:
        steps = [Step(Script.ENQUEUE, [lane], [batch_id, *args]) for lane, args in self.jobs.items()]
        if self.rejected:
            steps.append(Step(Script.REJECT, [], [batch_id, keep_ms, *self.rejected]))
        return steps


class Submission:
    """Adds rows to one batch. A row that is there already is left alone, so that doing it again does no harm."""

    def __init__(self, redis: ArqRedis, clock: RedisClock, batch_id: str, keep_ms: int) -> None:
        self._redis = redis
        self._clock = clock
        self._batch_id = batch_id
        self._keep_ms = keep_ms
        self._chunk = _Chunk()
        self.rows = 0  #: rows read so far
        self.added = 0  #: rows that were not there before

    async def add(
        self, rows: Iterable[Row] | AsyncIterable[Row], on_progress: Callable[[int], None] | None = None
    ) -> None:
        """Add all rows. `on_progress` gets the number of rows added or found so far after every round trip."""
        async for row in _each(rows):
            self.rows += 1
            await self._take(row)
            if self._chunk.full:
                await self._send()
                if on_progress:
                    on_progress(self.rows)
        await self._send()
        if on_progress:
            on_progress(self.rows)

    async def _take(self, row: Row) -> None:
        name = job_id(self._batch_id, self.rows)
        chunk = self._chunk
        now_ms = await self._clock.now_ms()
        if isinstance(row, InvalidRow):
            rejected = encode_result(rejection(name, row, now_ms / 1000), "")
            chunk.rejected += [name, rejected]
            chunk.size += len(rejected)
        else:
            payload = encode_job(row, now_ms)
            chunk.jobs.setdefault(lane_queue(row.model, row.route), []).extend((name, row.priority, payload))
            chunk.size += len(payload)
        chunk.rows += 1

    async def _send(self) -> None:
        """Send what is gathered; an outage shorter than `PATIENCE` is only a delay, for every step can be repeated."""
        chunk, self._chunk = self._chunk, _Chunk()
        steps = chunk.steps(self._batch_id, self._keep_ms)
        if not steps:
            return
        loop = asyncio.get_running_loop()
        give_up = loop.time() + PATIENCE
        pause = 0.1
        while True:
            try:
                self.added += await self._try(steps)
            except BrokerUnavailable:
                if loop.time() > give_up:
                    raise
                await asyncio.sleep(pause)
                pause = min(2 * pause, 2.0)
            else:
                return

    async def _try(self, steps: list[Step]) -> int:
        with translated():
            answers = await run_all(self._redis, steps)
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
        if -1 in answers:
            raise BatchCancelled(f"batch {self._batch_id} was cancelled and takes no more rows")
        return sum(answers)


def rejection(name: str, row: InvalidRow, now: float) -> CompletionResult:
    """The result of a row that could not become a job. `now` is in Unix seconds."""
    return CompletionResult(
        job_id=name,
        state=JobState.FAILED,
        model="",
        custom_id=row.custom_id,
        error=ErrorInfo(type="invalid_request", message=str(row.error), param=row.error.field),
        timings=Timings(enqueued_at=now, finished_at=now),
    )


async def enqueue_one(redis: ArqRedis, clock: RedisClock, request: CompletionRequest, name: str) -> None:
    """Put one job, on its own, into its lane."""
    payload = encode_job(request, await clock.now_ms())
    step = Step(Script.ENQUEUE, [lane_queue(request.model, request.route)], ["", name, request.priority, payload])
    (answer,) = await run_all(redis, [step])
    if isinstance(answer, Exception):
        raise answer


async def _each(rows: Iterable[Row] | AsyncIterable[Row]) -> AsyncIterator[Row]:
    if isinstance(rows, AsyncIterable):
        async for row in rows:
            yield row
    else:
        for row in rows:
            yield row
